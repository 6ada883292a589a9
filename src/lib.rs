//! A transparent proxy that restores the operator scopes an OpenClaw gateway wrongly refuses.
//!
//! The way of a session is one straight line, and so is this list:
//!
//! [`listen`] → [`http`] → [`session`] → [`handshake`] → [`identity`] → [`decide`] → [`rewrite`] → [`relay`]

pub mod listen;

pub mod http;

pub mod session;

pub mod handshake;
pub mod ws;

pub mod device;
pub mod identity;
pub mod profile;
pub mod scope;
pub mod secret;

pub mod breaker;
pub mod decide;
pub mod engine;

pub mod degraded;
pub mod diagnosis;
pub mod doctor;
pub mod explain;
pub mod findings;

pub mod delegate;
pub mod delegation;
pub mod rewrite;

pub mod relay;

pub mod approval;
pub mod approver;
pub mod audit;
pub mod control;
pub mod dial;
pub mod repair;

pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod demo;
pub mod gateway;
pub mod log;

#[cfg(test)]
pub(crate) mod fixture;
