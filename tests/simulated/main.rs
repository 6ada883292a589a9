//! The simulated gateway, held to what real gateways do.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    missing_docs,
    reason = "tests"
)]
#![allow(
    unreachable_pub,
    dead_code,
    reason = "helpers are shared between test binaries"
)]

#[path = "../scenarios/mod.rs"]
mod scenarios;
#[path = "../support/mod.rs"]
mod support;

mod elsewhere;
mod http;
mod store;
mod table;
mod wire;
