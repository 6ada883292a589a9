//! `scope-shim doctor`: what is wrong, or about to go wrong, between a gateway and its clients.
//!
//! [`look`] reads and asks, and changes nothing; [`findings()`] is a pure function of what was seen; [`render`] and
//! [`json`] say it to people and to machines.

pub mod asks;
pub mod findings;
pub mod json;
pub mod known;
pub mod look;
pub mod render;
pub mod subject;
pub mod table;

pub use findings::{Finding, findings};
pub use look::Look;
