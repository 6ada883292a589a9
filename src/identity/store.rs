//! The gateway's pairing store, read and never written.
//!
//! Up to 2026.7.1 the gateway keeps it in `devices/paired.json` and `devices/pending.json`, from 2026.8.2 in
//! `state/openclaw.sqlite`. Where no state directory can be read, `device.pair.list` says the same, less the tokens.

mod auto;
mod findings;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod json;
mod last_good;
mod pair_list;
pub mod provenance;
mod shared;
pub(in crate::identity) mod sqlite;
mod stamp;
mod standing;
mod wire;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use crate::device::{DeviceId, DeviceRecord};
use crate::handshake::message::OPERATOR;
use crate::scope::ScopeSet;

pub use auto::AutoStore;
pub use json::JsonStore;
pub use last_good::LastGood;
pub use sqlite::SqliteStore;

pub(in crate::identity) use stamp::{Stamp, is_absence};

/// A future that a store hands out.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A place where the pairing records of one gateway can be read.
pub trait DeviceStore: Send + Sync {
    /// The whole store as it is now.
    ///
    /// A store that did not change since the last call may hand out the same snapshot again.
    ///
    /// # Errors
    ///
    /// A [`StoreError`] when the store as a whole cannot be read. A single malformed record is left out instead.
    fn snapshot(&self) -> BoxFuture<'_, Result<Arc<Snapshot>, StoreError>>;

    /// Where the records come from, for a log line.
    fn describe(&self) -> String;

    /// The files whose change means that a new snapshot is worth taking. They need not exist.
    fn watched(&self) -> Vec<PathBuf>;

    /// Whether it has no files, so that nothing tells of a change: the gateway has to be asked.
    fn is_asked(&self) -> bool {
        self.watched().is_empty()
    }
}

/// Runs `work` on the database below `state`, as carefully as the store itself is read. Blocks.
///
/// # Errors
///
/// As for the store itself.
pub(crate) fn read_database<T>(
    state: &Path,
    work: impl Fn(&rusqlite::Connection) -> rusqlite::Result<T>,
) -> Result<T, StoreError> {
    sqlite::read(&sqlite::database_below(state), work)
}

/// Every paired device and every pending request at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The paired devices.
    pub devices: HashMap<DeviceId, Arc<DeviceRecord>>,
    /// The requests that wait for an approval.
    pub pending: Vec<PendingRequest>,
}

impl Snapshot {
    /// Whether there is neither a device nor a request.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.devices.is_empty() && self.pending.is_empty()
    }
}

/// A pairing request that waits for an approval.
///
/// Fields as in `devices/pending.json`, `device_pairing_pending` and `device.pair.list`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingRequest {
    /// What `openclaw devices approve` takes.
    pub request_id: String,
    /// The device that asks.
    pub device_id: DeviceId,
    /// Its key, as the store writes it.
    pub public_key: Option<String>,
    /// What it calls itself.
    pub display_name: Option<String>,
    /// The roles it asks for.
    pub roles: Vec<String>,
    /// The scopes it asks for.
    pub scopes: ScopeSet,
    /// The client that asked.
    pub client_id: Option<String>,
    /// That client's mode.
    pub client_mode: Option<String>,
    /// The platform that the client named.
    pub platform: Option<String>,
    /// Whether the device is paired already and asks for more.
    pub is_repair: bool,
    /// Whether the gateway would approve it by itself; `false` blocks that until the request is gone.
    pub silent: bool,
    /// When it was filed, in milliseconds since the epoch.
    pub ts_ms: Option<u64>,
    /// The address it came from, where the gateway took it for remote.
    pub remote_ip: Option<String>,
}

impl PendingRequest {
    /// Whether it asks as an operator and nothing else: a gateway puts requests of one device for several roles together.
    #[must_use]
    pub fn is_operator(&self) -> bool {
        !self.roles.is_empty() && self.roles.iter().all(|role| role == OPERATOR)
    }
}

/// Why a store cannot be read, by who has to act.
///
/// No message holds anything of the store's contents.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The gateway's answer to `device.pair.list` has another shape than in every known version.
    #[error(
        "the gateway's answer to device.pair.list is not understood ({what}); name the gateway's state directory instead (gateway.state, --gateway-state)"
    )]
    Answer {
        /// What is wrong with it.
        what: &'static str,
    },
    /// The file is there but damaged or half-written.
    #[error("{} is damaged or only half written ({what}); let the gateway write it again, or restore it from a backup", path.display())]
    Corrupt {
        /// The damaged file.
        path: PathBuf,
        /// What is wrong with it, and where.
        what: String,
    },
    /// Another process keeps the store locked.
    #[error("{} is locked by another process; see which one holds it if this does not pass by itself", path.display())]
    Locked {
        /// The locked file.
        path: PathBuf,
    },
    /// There is no store and no state directory where one should be.
    #[error("{} does not exist; name the gateway's state directory: gateway.state, --gateway-state", path.display())]
    Missing {
        /// What was looked for.
        path: PathBuf,
    },
    /// The operating system refuses to read it.
    #[error("{} cannot be read ({source}); run scope-shim as the user that runs the gateway", path.display())]
    Unreadable {
        /// The unreadable file.
        path: PathBuf,
        /// What the operating system said.
        source: Arc<io::Error>,
    },
    /// The gateway could not be asked.
    #[error("the gateway could not be asked for its devices: {why}")]
    Unanswered {
        /// Why not.
        why: String,
    },
    /// It is readable, but no form that this program knows.
    #[error("{} is of a form that this version does not know ({what}); update scope-shim", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What is not known.
        what: String,
    },
}

impl StoreError {
    /// Whether it is only this user that may not read it.
    fn is_forbidden(&self) -> bool {
        matches!(self, Self::Unreadable { source, .. } if source.kind() == io::ErrorKind::PermissionDenied)
    }

    pub(in crate::identity) fn unreadable(path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::Unreadable {
            path: path.into(),
            source: Arc::new(source),
        }
    }
}

#[cfg(test)]
mod a_pipe {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use std::fs;
    use std::process::Command;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    /// Where a store's file should be is a pipe that nobody writes to: whoever opened it would wait for ever.
    async fn in_its_place(
        store: impl DeviceStore,
        path: &Path,
    ) -> Result<Arc<Snapshot>, StoreError> {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let made = Command::new("mkfifo").arg(path).status().unwrap();
        assert!(made.success());
        let read = timeout(Duration::from_secs(20), store.snapshot());
        read.await.unwrap()
    }

    #[tokio::test]
    async fn in_the_place_of_a_pairing_file_is_told_and_not_waited_for() {
        let state = tempfile::tempdir().unwrap();
        let paired = state.path().join("devices/paired.json");
        let found = in_its_place(JsonStore::new(state.path()), &paired).await;
        assert!(matches!(found, Err(StoreError::Unreadable { .. })));
    }

    #[tokio::test]
    async fn in_the_place_of_a_database_is_told_and_not_waited_for() {
        let state = tempfile::tempdir().unwrap();
        let database = sqlite::database_below(state.path());
        let found = in_its_place(SqliteStore::new(state.path()), &database).await;
        assert!(matches!(found, Err(StoreError::Unreadable { .. })));
    }
}
