//! From a configuration to a running shim, and to its end.

mod assemble;
mod doors;
mod embedded;
mod fleet;
mod hand_over;
pub mod older;
mod opening;
mod reload;
mod run;
pub mod saved;
mod sessions;
mod shim;
mod signals;
mod sockets;
mod stop;
mod succession;
mod systemd;

use std::error::Error;

pub use embedded::{serve, serve_all, serve_reloading};
pub use fleet::Fleet;
pub use reload::{Change, Effect, History, Loader, Meant, Refused, Reloaded, Reloads, Waiting};
pub use run::run;
pub use sessions::{Circle, Sessions};
pub use shim::Shim;
pub use sockets::Sockets;
pub use succession::Start;

/// What ends a run.
pub type Failure = Box<dyn Error + Send + Sync>;
