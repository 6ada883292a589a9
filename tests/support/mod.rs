//! Helpers for tests that speak to a gateway, simulated or real, directly or through the shim.

pub mod client;
pub mod device;
pub mod outcome;
pub mod session;
