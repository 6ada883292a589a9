//! A transparent proxy that restores the operator scopes an OpenClaw gateway wrongly refuses.
//!
//! The way of a session is one straight line, and so is this list:
//!
//! [`listen`] → [`http`] → [`session`] → [`handshake`] → [`identity`] → [`decide`] → [`rewrite`] → [`relay`]
//!
//! Beside the line stands what helps a session that the gateway refuses all the same: [`breaker`] answers it when it
//! asks again, [`diagnosis`] says why, in the words of [`findings`], and [`approver`] has its request approved where the
//! operator's policy says so.
//!
//! The shim's own session with the gateway is [`control`]; everything that changes a device goes through it, by
//! [`approval`] and [`repair`], and into the [`audit`] log first. [`doctor`] and [`explain`] look and tell, and change
//! nothing.

pub mod listen;
pub mod workers;

pub mod http;

pub mod session;

pub mod handshake;
pub mod ws;

pub mod device;
pub mod identity;
pub mod profile;
pub mod scope;
pub mod secret;

pub mod decide;
pub mod engine;

pub mod delegate;
pub mod delegation;
pub mod rewrite;

pub mod relay;

pub mod breaker;

pub mod diagnosis;
pub mod findings;

pub mod approval;
pub mod approver;
pub mod audit;
pub mod control;
pub mod dial;
pub mod repair;
pub mod stream;

pub mod doctor;
pub mod explain;

#[cfg(target_os = "linux")]
pub mod intercept;

pub mod admin;
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod confine;
pub mod demo;
pub mod descriptors;

pub mod gateway;
pub mod invocation;
pub mod log;
pub mod private;
pub mod served;
pub mod telemetry;
pub mod text;
pub mod tls;

#[cfg(test)]
pub(crate) mod fixture;

#[cfg(any(test, fuzzing))]
pub mod fuzz;
