//! `scope-shim demo`: the failure and its cure, on a gateway of its own.
//!
//! The story is told from what happens while it is told: every outcome that is printed was just observed, and one that
//! is not as it should be makes the program end with 1.

mod client;
mod farewell;
mod invitation;
pub mod npm;
mod page;
mod real;
mod shim;
pub mod simulated;
mod story;
mod verdict;

use std::error::Error;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};

use aws_lc_rs::rand;
use tempfile::TempDir;

use crate::cli::{self, Style};
use crate::config::{Log, LogFormat, LogLevel, SessionLog};
use crate::log;
use page::Page;

/// What ends a demo before its time.
type Failure = Box<dyn Error + Send + Sync>;

/// Shows the failure and its cure, then stays up until it is told to stop.
///
/// # Errors
///
/// When it cannot start, is stopped before the story is told, or something does not come out as it should.
pub async fn run(options: cli::Demo, no_color: bool) -> Result<(), Failure> {
    let style = Style::of(&io::stdout(), no_color);
    log::init(
        Log {
            format: LogFormat::Text,
            level: LogLevel::Info,
            sessions: SessionLog::Off,
        },
        no_color,
    );
    let mut page = Page::new(io::stdout(), style);
    let told = match &options.gateway {
        None => story::tell(&mut page, &options).await,
        Some(version) => real::tell(&mut page, &options, version).await,
    };
    match told {
        Err(failure) if reader_left(failure.as_ref()) => Ok(()),
        told => told,
    }
}

/// Where the demo's shim listens, when nothing else is asked for: where `scope-shim run` would.
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 18780);

/// A reader that stopped reading, as `head` does, is no failure.
fn reader_left(failure: &(dyn Error + Send + Sync + 'static)) -> bool {
    let error = failure.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// A directory that only this user can look into, and that is gone when the demo is.
fn scratch() -> Result<TempDir, Failure> {
    let made = tempfile::Builder::new()
        .prefix("scope-shim-demo-")
        .tempdir();
    made.map_err(|error| {
        format!("cannot make a temporary directory: {error}; TMPDIR says where they are made")
            .into()
    })
}

/// The secret that clients and gateway of one demo share.
fn fresh_token() -> Result<String, Failure> {
    let mut bytes = [0; 12];
    rand::fill(&mut bytes).map_err(|_| "this system gave no random bytes for a token")?;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("demo-{hex}"))
}

/// What the demo ends with, once everything was shown.
fn conclude<W: Write>(page: &mut Page<W>) -> Result<(), Failure> {
    match page.surprises() {
        [] => Ok(()),
        surprises => Err(format!(
            "this did not come out as it should: {}",
            surprises.join("; ")
        )
        .into()),
    }
}
