//! The program `nft`, which reads and changes the kernel's rules.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use thiserror::Error;

use super::table::{InPlace, NAME};

/// Why the rules cannot be read or changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NftError {
    /// There is no such program.
    #[error("the program nft is needed: install the package nftables")]
    Missing,
    /// It cannot be run.
    #[error("nft cannot be run: {0}")]
    NotRun(#[from] io::Error),
    /// It was run and refused.
    #[error("nft refused: {0}")]
    Refused(String),
    /// A part of the kernel is missing.
    #[error(
        "the kernel lacks what a redirect needs (nf_tables with nat, redir and fib, from Linux 5.2 on): {0}"
    )]
    Kernel(String),
    /// The table belongs to a process, and only that one can change it.
    #[error(
        "the table inet scope_shim belongs to a process that cannot be found from here; end it (`nft list tables` names its \
         program), and the table goes with it"
    )]
    Owned,
}

/// Whether this process may change the rules: it has `CAP_NET_ADMIN`, as root has.
#[must_use]
pub fn may_change() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    effective
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & (1 << CAP_NET_ADMIN) != 0)
}

/// The table that is there, if one is.
pub(super) fn list() -> Result<Option<InPlace>, NftError> {
    let output = nft(&["-j", "list", "table", "inet", "scope_shim"]).output();
    let output = output.map_err(not_run)?;
    if output.status.success() {
        let listing = serde_json::from_slice(&output.stdout);
        let listing = listing.map_err(|error| NftError::Refused(error.to_string()))?;
        return Ok(Some(InPlace::parse(&listing)));
    }
    match said(&output) {
        text if text.contains(NO_SUCH_TABLE) => Ok(None),
        text => Err(NftError::Refused(text)),
    }
}

/// Whether a redirect is in place; `None` where this process may not know.
#[must_use]
pub fn is_in_place() -> Option<bool> {
    match list() {
        Ok(table) => Some(table.is_some()),
        Err(NftError::Missing) => Some(false),
        Err(_) => None,
    }
}

/// Runs commands that put a table in place, all or none.
pub(super) fn apply(script: &str) -> Result<(), NftError> {
    match run(script) {
        Err(NftError::Refused(why)) if why.contains(NO_SUCH_TABLE) => Err(NftError::Kernel(why)),
        done => done,
    }
}

/// Takes the table away, if one is there.
pub(super) fn delete() -> Result<(), NftError> {
    match run(&format!("delete table {NAME}")) {
        Err(NftError::Refused(why)) if why.contains(NO_SUCH_TABLE) => Ok(()),
        done => done,
    }
}

/// A table that is there as long as this value, and no longer than this process.
///
/// The kernel removes a table with `flags owner` when the socket that it was made over is closed (from Linux 5.12); an
/// interactive `nft` keeps its one open, and ends with the pipe that it reads.
#[derive(Debug)]
pub(super) struct Hold(Child);

impl Hold {
    /// Puts a table in place whose script has `flags owner`. Blocks for a moment.
    pub(super) fn put(script: &str) -> Result<Self, NftError> {
        // Nobody but its owner can replace a table that is owned; but one that is not may be there.
        delete()?;
        let child = nft(&["-i"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(not_run)?;
        let mut hold = Self(child);
        if let Some(stdin) = &mut hold.0.stdin {
            stdin.write_all(format!("{script}\n").as_bytes())?;
            stdin.flush()?;
        }
        let begun = Instant::now();
        while begun.elapsed() < TIME_TO_PUT {
            if list()?.is_some() {
                return Ok(hold);
            }
            thread::sleep(BETWEEN_LOOKS);
        }
        Err(NftError::Refused(hold.last_words()))
    }

    /// Whether the table is still held.
    pub(super) fn lasts(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }

    fn last_words(mut self) -> String {
        let stderr = self.0.stderr.take();
        drop(self);
        let mut text = String::new();
        if let Some(mut stderr) = stderr {
            let _ = stderr.read_to_string(&mut text);
        }
        printable(&text)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(script: &str) -> Result<(), NftError> {
    let output = nft(&[script]).output().map_err(not_run)?;
    if output.status.success() {
        return Ok(());
    }
    match said(&output) {
        why if why.contains(NOT_PERMITTED) => Err(NftError::Owned),
        why => Err(NftError::Refused(why)),
    }
}

fn nft(arguments: &[&str]) -> Command {
    let mut command = Command::new("nft");
    command
        .args(arguments)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C")
        .stdin(Stdio::null());
    command
}

fn not_run(error: io::Error) -> NftError {
    match error.kind() {
        io::ErrorKind::NotFound => NftError::Missing,
        _ => error.into(),
    }
}

fn said(output: &Output) -> String {
    printable(&String::from_utf8_lossy(&output.stderr))
}

/// The first line tells; what follows points at a column of what was asked.
fn printable(text: &str) -> String {
    let line = text.lines().find(|line| !line.trim().is_empty());
    line.unwrap_or("it did not say why")
        .trim()
        .escape_debug()
        .to_string()
}

/// `capabilities(7)`.
const CAP_NET_ADMIN: u32 = 12;

/// `ENOENT` and `EPERM`, as the C locale calls them.
const NO_SUCH_TABLE: &str = "No such file or directory";
const NOT_PERMITTED: &str = "Operation not permitted";

const TIME_TO_PUT: Duration = Duration::from_secs(3);
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);
