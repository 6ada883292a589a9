//! `state/openclaw.sqlite`: the store of every gateway from 2026.8.2.

mod open;
pub(super) mod rows;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::findings::Findings;
use super::shared::Shared;
use super::stamp::{self, Stamp};
use super::{BoxFuture, DeviceStore, Snapshot, StoreError};

pub(in crate::identity) use open::read;

/// The pairing tables of one gateway's state database.
///
/// The database is opened for each read and closed again; nothing beside it is created, changed or kept.
#[derive(Debug)]
pub struct SqliteStore {
    database: PathBuf,
    reads: Shared<Reading>,
    findings: Mutex<Findings>,
}

/// What one read found, and what the files looked like before it.
#[derive(Clone, Debug)]
struct Reading {
    database: Option<Stamp>,
    wal: Option<Stamp>,
    snapshot: Option<Arc<Snapshot>>,
    problems: Arc<[String]>,
}

impl SqliteStore {
    /// The database below `state`, the directory that the gateway knows as `OPENCLAW_STATE_DIR`.
    #[must_use]
    pub fn new(state: impl AsRef<Path>) -> Self {
        Self {
            database: database_below(state.as_ref()),
            reads: Shared::new(),
            findings: Mutex::default(),
        }
    }

    /// What the pairing tables hold; `None` where the database has no such tables.
    pub(super) async fn tables(&self) -> Result<Option<Arc<Snapshot>>, StoreError> {
        let database = self.database.clone();
        let work = move |previous| reading(&database, previous);
        let reading = self.reads.read(&self.database, work).await?;
        let mut findings = self.findings.lock().unwrap_or_else(PoisonError::into_inner);
        findings.tell(reading.problems.iter());
        Ok(reading.snapshot)
    }
}

impl DeviceStore for SqliteStore {
    fn snapshot(&self) -> BoxFuture<'_, Result<Arc<Snapshot>, StoreError>> {
        Box::pin(async move {
            self.tables().await?.ok_or_else(|| StoreError::Unsupported {
                path: self.database.clone(),
                what: "it has no table of paired devices".to_owned(),
            })
        })
    }

    fn describe(&self) -> String {
        self.database.display().to_string()
    }

    fn watched(&self) -> Vec<PathBuf> {
        vec![self.database.clone(), open::wal_of(&self.database)]
    }
}

/// The database below a state directory.
pub(in crate::identity) fn database_below(state: &Path) -> PathBuf {
    state.join("state").join("openclaw.sqlite")
}

fn reading(path: &Path, previous: Option<Reading>) -> Result<Reading, StoreError> {
    let look = |path: &Path| Stamp::of(path).map_err(|source| StoreError::unreadable(path, source));
    // Looked at before the read: what is written during it shows in the next look.
    let database = look(path)?;
    let wal = look(&open::wal_of(path))?.map(Stamp::without_change_time);
    if let Some(previous) = previous
        && database.is_some()
        && stamp::unchanged(previous.database.as_ref(), database.as_ref())
        && stamp::unchanged(previous.wal.as_ref(), wal.as_ref())
    {
        return Ok(previous);
    }
    let (snapshot, problems) = match open::read(path, rows::snapshot)? {
        Some((snapshot, problems)) => (Some(Arc::new(snapshot)), problems),
        None => (None, Vec::new()),
    };
    Ok(Reading {
        database,
        wal,
        snapshot,
        problems: problems.into(),
    })
}

#[cfg(test)]
pub(in crate::identity) mod tests;
