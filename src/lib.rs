//! A transparent proxy that restores the operator scopes an OpenClaw gateway wrongly refuses.

pub mod demo;
pub mod device;
pub mod handshake;
pub mod identity;
pub mod scope;
pub mod secret;
pub mod ws;
