//! A transparent proxy that restores the operator scopes an OpenClaw gateway wrongly refuses.

pub mod app;
pub mod cli;
pub mod config;
pub mod demo;
pub mod device;
pub mod gateway;
pub mod identity;
pub mod log;
pub mod scope;
pub mod secret;
