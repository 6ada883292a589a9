//! Real gateways of any version, installed with npm into a cache and run beside each other.
//!
//! A gateway is a Node package with strong opinions about the Node it runs on, about where its state lives and about
//! what it installs at start. This module holds those opinions in one place: [`install()`] brings a version and its Node
//! into the cache, [`RealGateway`] runs it in a home of its own, and [`RealGateway::cli`] asks that version's own
//! command line. `scope-shim demo --gateway VERSION` and the tests against real gateways share it.
//!
//! Everything here blocks; call it from a thread that may wait.

mod cache;
mod error;
mod gateway;
mod install;
mod node;
pub mod process;
mod text;
mod version;

pub use cache::Cache;
pub use error::Error;
pub use gateway::{Credential, GatewayOptions, RealGateway};
pub use install::{Installed, install};
pub use version::Version;
