//! `scope-shim demo`: the failure and its cure, on a gateway of its own.

pub mod npm;
pub mod simulated;
