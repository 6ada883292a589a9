//! The store that a state directory has, whichever it is today.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};
use std::{fmt, io};

use std::sync::Arc;

use super::sqlite::{self, Holds};
use super::stamp;
use super::{BoxFuture, DeviceStore, JsonStore, Snapshot, SqliteStore, StoreError};

/// Picks between the pairing files and the database at every snapshot.
///
/// A gateway moves its store while the shim runs: 2026.8.2 and later import `devices/paired.json` into the database
/// and rename it to `paired.json.migrated`; an older one that is put back writes a new `paired.json` and never looks
/// at the rows that the newer one left. So `paired.json` wins where it is there, unless the gateway is known to be
/// one that no longer reads it.
#[derive(Debug)]
pub struct AutoStore {
    state: PathBuf,
    json: JsonStore,
    sqlite: SqliteStore,
    reads_sqlite: AtomicU8,
    served: Mutex<Option<Form>>,
}

/// One form that the store of a gateway takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    Sqlite,
}

/// What is known of the gateway's version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hint {
    Unknown,
    /// Up to 2026.7.1.
    ReadsJson,
    /// From 2026.8.
    ReadsSqlite,
}

impl AutoStore {
    /// The store below `state`, the directory that the gateway knows as `OPENCLAW_STATE_DIR`.
    #[must_use]
    pub fn new(state: impl Into<PathBuf>) -> Self {
        let state = state.into();
        Self {
            json: JsonStore::new(&state),
            sqlite: SqliteStore::new(&state),
            state,
            reads_sqlite: AtomicU8::new(Hint::Unknown as u8),
            served: Mutex::default(),
        }
    }

    /// Says which version the gateway is, as in the `server.version` of its `hello-ok`: `2026.9.6`.
    ///
    /// Without it, or with a version of another form (up to 2026.2.26 it is `dev`), the files decide alone.
    pub fn set_gateway_version(&self, version: Option<&str>) {
        let hint = version.map_or(Hint::Unknown, Hint::from_version);
        self.reads_sqlite.store(hint as u8, Ordering::Relaxed);
    }

    fn hint(&self) -> Hint {
        [Hint::ReadsJson, Hint::ReadsSqlite]
            .into_iter()
            .find(|hint| *hint as u8 == self.reads_sqlite.load(Ordering::Relaxed))
            .unwrap_or(Hint::Unknown)
    }

    async fn pick(&self) -> Result<Form, StoreError> {
        let (state, hint) = (self.state.clone(), self.hint());
        match tokio::task::spawn_blocking(move || pick(&state, hint)).await {
            Ok(picked) => picked,
            Err(stopped) => Err(StoreError::unreadable(
                &self.state,
                io::Error::other(stopped),
            )),
        }
    }

    fn log(&self, form: Form) {
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        if *served != Some(form) {
            *served = Some(form);
            let from = self.store(form).describe();
            tracing::info!(%form, from, "the gateway's pairing store");
        }
    }

    fn store(&self, form: Form) -> &dyn DeviceStore {
        match form {
            Form::Json => &self.json,
            Form::Sqlite => &self.sqlite,
        }
    }
}

impl DeviceStore for AutoStore {
    fn snapshot(&self) -> BoxFuture<'_, Result<Arc<Snapshot>, StoreError>> {
        Box::pin(async move {
            let form = self.pick().await?;
            let snapshot = self.store(form).snapshot().await?;
            // The store may have moved while it was read, and what is left of an old one looks empty.
            let now = self.pick().await?;
            let snapshot = if now == form {
                snapshot
            } else {
                self.store(now).snapshot().await?
            };
            self.log(now);
            Ok(snapshot)
        })
    }

    fn describe(&self) -> String {
        let served = *self.served.lock().unwrap_or_else(PoisonError::into_inner);
        served.map_or_else(
            || self.state.display().to_string(),
            |form| self.store(form).describe(),
        )
    }

    fn watched(&self) -> Vec<PathBuf> {
        [self.json.watched(), self.sqlite.watched()].concat()
    }
}

impl Hint {
    fn from_version(version: &str) -> Self {
        let mut numbers = version.split('.').map(|number| number.parse::<u32>().ok());
        match (numbers.next().flatten(), numbers.next().flatten()) {
            (Some(year), Some(month)) if (year, month) >= FIRST_WITH_SQLITE => Self::ReadsSqlite,
            (Some(_), Some(_)) => Self::ReadsJson,
            _ => Self::Unknown,
        }
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Json => "files",
            Self::Sqlite => "database",
        })
    }
}

/// Which form the gateway of this state directory reads. Blocks.
fn pick(state: &Path, hint: Hint) -> Result<Form, StoreError> {
    if hint == Hint::ReadsJson {
        return Ok(Form::Json);
    }
    let there = |name: &str| match state.join("devices").join(name).metadata() {
        Ok(_) => Ok(true),
        Err(error) if stamp::is_absence(&error) => Ok(false),
        Err(error) => Err(StoreError::unreadable(
            state.join("devices").join(name),
            error,
        )),
    };
    if there("paired.json")? && hint == Hint::Unknown {
        return Ok(Form::Json);
    }
    let holds = match sqlite::holds(state) {
        Err(StoreError::Missing { .. }) => Holds::NoTables,
        holds => holds?,
    };
    Ok(match holds {
        Holds::Rows => Form::Sqlite,
        Holds::NoTables => Form::Json,
        // 2026.6.11 and 2026.7.1 create the tables, and then keep to the files.
        Holds::NoRows if there("paired.json")? || there("pending.json")? => Form::Json,
        Holds::NoRows => Form::Sqlite,
    })
}

const FIRST_WITH_SQLITE: (u32, u32) = (2026, 8);

#[cfg(test)]
mod tests;
