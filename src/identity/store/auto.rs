//! The store that a state directory has, whichever it is today.

use super::stamp;
use super::{BoxFuture, DeviceStore, JsonStore, Snapshot, SqliteStore, StoreError};
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

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
    hint: AtomicU8,
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
            hint: AtomicU8::new(Hint::Unknown as u8),
            served: Mutex::default(),
        }
    }

    /// Says which version the gateway is, as in the `server.version` of its `hello-ok`: `2026.9.6`.
    ///
    /// Without it, or with a version of another form (up to 2026.2.26 it is `dev`), the files decide alone.
    pub fn set_gateway_version(&self, version: Option<&str>) {
        let hint = version.map_or(Hint::Unknown, Hint::from_version);
        self.hint.store(hint as u8, Ordering::Relaxed);
    }

    fn hint(&self) -> Hint {
        [Hint::ReadsJson, Hint::ReadsSqlite]
            .into_iter()
            .find(|hint| *hint as u8 == self.hint.load(Ordering::Relaxed))
            .unwrap_or(Hint::Unknown)
    }

    /// The form that the gateway reads, and what it holds.
    async fn pick(&self) -> Result<(Form, Arc<Snapshot>), StoreError> {
        let hint = self.hint();
        if hint == Hint::ReadsJson
            || (hint == Hint::Unknown && self.is_any_there(&["paired.json"]).await?)
        {
            return Ok((Form::Json, self.json.snapshot().await?));
        }
        let tables = match self.sqlite.tables().await {
            Err(StoreError::Missing { .. }) => None,
            tables => tables?,
        };
        match tables {
            // 2026.6.11 and 2026.7.1 create the tables, and then keep to the files.
            Some(tables) if tables.is_empty() && self.is_any_there(&FILES).await? => {}
            Some(tables) => return Ok((Form::Sqlite, tables)),
            None => {}
        }
        Ok((Form::Json, self.json.snapshot().await?))
    }

    /// Whether one of the files is there. Asked where nobody is held up: a file system on the network may not answer.
    async fn is_any_there(&self, names: &'static [&'static str]) -> Result<bool, StoreError> {
        let devices = self.state.join("devices");
        let look = {
            let devices = devices.clone();
            move || {
                for path in names.iter().map(|name| devices.join(name)) {
                    match path.metadata() {
                        Ok(_) => return Ok(true),
                        Err(error) if stamp::is_absence(&error) => {}
                        Err(error) => return Err(StoreError::unreadable(path, error)),
                    }
                }
                Ok(false)
            }
        };
        let looked = tokio::task::spawn_blocking(look).await;
        looked.unwrap_or_else(|stopped| {
            Err(StoreError::unreadable(
                devices,
                std::io::Error::other(stopped),
            ))
        })
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
            let (mut form, mut snapshot) = self.pick().await?;
            // Without its file the older store looks empty: if the gateway moved it just now, the database has it.
            if form == Form::Json && snapshot.devices.is_empty() {
                (form, snapshot) = self.pick().await?;
            }
            // The tables are there on 2026.6.11 and 2026.7.1, too, which keep to the files once there is a device.
            let told = self.hint() != Hint::Unknown;
            if told || form == Form::Json || !snapshot.devices.is_empty() {
                self.log(form);
            }
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

/// The files of the older form.
const FILES: [&str; 2] = ["paired.json", "pending.json"];
const FIRST_WITH_SQLITE: (u32, u32) = (2026, 8);

#[cfg(test)]
mod tests;
