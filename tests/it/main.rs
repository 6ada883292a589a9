//! The shim in front of a simulated gateway: what it promises, on real sockets.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    unreachable_pub,
    reason = "a failed unwrap is a failed test, and a test program exports nothing"
)]

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "shared with the other test programs")]
mod support;

/// Documents held to the schemas that document them.
#[path = "../support/schema.rs"]
mod schema;

/// A gateway, the shim in front of it, and devices.
mod stage;

/// Certificates, and what speaks TLS for somebody who does not.
mod certified;

/// A client that writes bytes, not messages.
mod wire;

/// Untouched means byte for byte, whatever the pieces.
mod transparency;

/// The two reports, healed; and what a rewritten session looks like from both ends.
mod healing;

/// A gateway that surprises.
mod retry;

/// Attacks: through the shim they yield what they yield without it.
mod attacks;

/// Requests that mean one thing to the shim and another to the gateway.
mod smuggling;

/// What the gateway is told about where a client is.
mod attribution;

/// Proxies that name their clients before the first byte.
mod proxy_protocol;

/// Users whom a proxy names.
mod users;

/// The log, and whoever reads it.
mod log;

/// A delegated session ends when its grounds do.
mod policing;

/// A gateway that is down, slow, or talks nonsense.
mod faults;

/// A gateway that fails at each step of a handshake, and a shim that ends there.
mod steps;

/// What befalls the gateway's store, and how soon that is over.
#[cfg(unix)]
mod store;

/// Peers that stop in the middle of something, and stay.
mod stalls;

/// What a shim holds for its clients.
mod held;

/// No descriptor and no memory left, a full disk, a store that never rests.
mod strain;

/// Clients behind a bad line, or one that is cut.
#[cfg(target_os = "linux")]
mod far;
#[cfg(target_os = "linux")]
#[expect(clippy::print_stderr, reason = "what is skipped is said")]
mod line;
#[cfg(target_os = "linux")]
#[path = "../support/network.rs"]
mod network;
#[cfg(target_os = "linux")]
#[path = "../support/packages.rs"]
#[expect(clippy::print_stdout, reason = "what is installed is said")]
mod packages;

/// Requests that widen nothing are approved, others are not.
mod approving;

/// A device that asks for more than was approved for it.
mod upgrades;

/// A client that never stops asking is answered without the gateway.
mod breaker;

/// The program as a command that asks the gateway once.
mod command;

/// `approve`: what was shown is approved, and nothing else.
mod approve;

/// `repair`: what is too narrow is widened, and nothing is narrowed.
mod repair;

/// A bare command where the shim runs with settings of its own.
#[cfg(target_os = "linux")]
mod elsewhere;

/// `unpair`: the delegate leaves.
mod unpair;

/// The delegate: its pairing, its loss, and what could get in its way.
mod delegate;

/// A session that stays without its scopes is told why; no other session's frames are looked at.
mod degraded;

/// Sessions leave what `explain` needs, and nothing that is secret.
mod explain;

/// What a refused client is told.
mod refusals;

/// Nobody gets more than a share.
mod limits;

/// Plain HTTP and other upgrades.
mod http;

/// Secrets stay secret.
mod secrets;

/// Modes.
mod modes;

/// Several gateways behind one shim.
mod fleet;

/// TLS before the shim and behind it.
mod tls;

/// The program itself, as a service manager runs it.
mod program;

/// What the process gives up: to write elsewhere, to be anybody in particular, to leave its memory behind.
#[cfg(target_os = "linux")]
#[expect(clippy::print_stderr, reason = "what is skipped is said")]
mod confined;

/// A configuration that is read again while sessions run.
mod reload;

/// The same, with gateways and doors that come and go.
#[cfg(unix)]
mod reshaping;

/// An end that takes leave of everybody.
mod stopping;

/// The admin surface.
#[cfg(unix)]
mod admin;
/// A new version that takes over.
mod succession;

/// What the status page asks for.
#[cfg(unix)]
mod page;
