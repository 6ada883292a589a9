//! A transparent proxy that restores the operator scopes an OpenClaw gateway wrongly refuses.

pub mod config;
pub mod demo;
pub mod device;
pub mod gateway;
pub mod identity;
pub mod scope;
pub mod secret;
