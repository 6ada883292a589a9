//! A transparent proxy that restores the operator scopes an OpenClaw gateway wrongly refuses.

pub mod decide;
pub mod delegate;
pub mod demo;
pub mod device;
pub mod handshake;
pub mod identity;
pub mod policy;
pub mod profile;
pub mod rewrite;
pub mod scope;
pub mod secret;
pub mod ws;
