//! A transparent proxy that restores the operator scopes an OpenClaw gateway wrongly refuses.

pub mod demo;
