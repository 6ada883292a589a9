//! The shim beside what would stand there instead: HAProxy, nginx, Caddy, a proxy under Node, and nothing.
//!
//! `cargo bench --bench peers` starts a gateway that computes nothing, every proxy in front of it, and clients that count.
//! Rounds are interleaved: each work goes through every proxy before the next round begins, so that what disturbs the
//! machine disturbs all. CPU is the proxy's own with its children, as the kernel accounts for it. Nothing is pinned to a
//! processor: a proxy with a worker each would be held back by it, and the scheduler is part of what a user gets.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    unreachable_pub,
    reason = "a bench that fails has nothing to say, and its output is for people"
)]

#[cfg(target_os = "linux")]
#[allow(dead_code, reason = "shared with the bench of the parts")]
mod fixture;
#[cfg(target_os = "linux")]
mod gateway;
#[cfg(target_os = "linux")]
mod instructions;
#[cfg(target_os = "linux")]
mod load;
#[cfg(target_os = "linux")]
mod process;
#[cfg(target_os = "linux")]
mod proxies;
#[cfg(target_os = "linux")]
mod rounds;
#[cfg(target_os = "linux")]
mod start;
#[cfg(target_os = "linux")]
mod table;
#[cfg(target_os = "linux")]
mod tls;
#[cfg(target_os = "linux")]
mod wire;
#[cfg(target_os = "linux")]
mod works;

#[cfg(target_os = "linux")]
fn main() {
    rounds::main();
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("this bench reads CPU time and memory in /proc: it runs on Linux");
}
