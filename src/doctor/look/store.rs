//! The pairing store: which one there is, what is in it, and what is left of another.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::OptionalExtension as _;
use serde::Serialize;

use crate::config::{Config, StoreKind};
use crate::device::DeviceId;
use crate::doctor::known::{FIRST_WITH_DATABASE, LAST_WITH_FILES};
use crate::identity::store::provenance::{self, Provenance};
use crate::identity::store::{
    AutoStore, DeviceStore, JsonStore, Snapshot, SqliteStore, read_database,
};
use crate::profile::Version;

/// Which form a store has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// `devices/paired.json`, up to 2026.7.1.
    Files,
    /// `state/openclaw.sqlite`, from 2026.8.2.
    Database,
}

/// What is left of a store that moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Migration {
    /// Whether `devices/paired.json` is there.
    pub files: bool,
    /// Whether `devices/paired.json.migrated` is there.
    pub migrated_files: bool,
    /// How many devices the database holds; `None` where it has no pairing tables.
    pub rows: Option<usize>,
}

/// The pairing store.
#[derive(Debug, Default)]
pub struct StoreLook {
    /// The gateway's state directory.
    pub state: Option<PathBuf>,
    /// Which form was read.
    pub form: Option<Form>,
    /// The file that was read, or tried.
    pub path: String,
    /// What it holds.
    pub snapshot: Option<Arc<Snapshot>>,
    /// Why it could not be read.
    pub unreadable: Option<String>,
    /// Whether that is how it was meant to be.
    pub is_untold: bool,
    /// How each device came to be paired.
    pub provenance: HashMap<DeviceId, Provenance>,
    /// What is left of another form.
    pub migration: Migration,
    /// The version that opened the database last.
    pub app_version: Option<Version>,
}

impl StoreLook {
    /// Whether there are records to speak of.
    #[must_use]
    pub const fn is_readable(&self) -> bool {
        self.snapshot.is_some()
    }

    /// The latest version that could read this store, for a gateway that cannot be asked.
    pub(super) fn latest_reader(&self, answers: bool) -> Option<Version> {
        let by_files = self.form == Some(Form::Files)
            && self.migration.files
            && self
                .app_version
                .is_none_or(|version| version < FIRST_WITH_DATABASE);
        (!answers && by_files).then_some(LAST_WITH_FILES)
    }
}

/// Reads the store below the gateway's state directory.
pub(super) async fn look(config: &Config, seen: Option<Version>) -> StoreLook {
    let Some(state) = config.gateway.state.clone() else {
        return StoreLook {
            unreadable: Some("no state directory is known".to_owned()),
            ..StoreLook::default()
        };
    };
    if config.gateway.store == StoreKind::Control {
        return StoreLook {
            unreadable: Some(
                "gateway.store = \"control\": only the gateway itself can tell".to_owned(),
            ),
            is_untold: true,
            state: Some(state),
            ..StoreLook::default()
        };
    }
    let version = match seen {
        Some(version) => Some(version),
        None => blocking(state.clone(), app_version).await.flatten(),
    };
    let store = open(config, &state, version);
    let outcome = store.snapshot().await;
    let path = store.describe();
    let form = if path.ends_with(".sqlite") {
        Form::Database
    } else {
        Form::Files
    };
    let mut look = StoreLook {
        state: Some(state.clone()),
        form: outcome.is_ok().then_some(form),
        path,
        ..StoreLook::default()
    };
    match outcome {
        Ok(snapshot) => look.snapshot = Some(snapshot),
        Err(error) => look.unreadable = Some(error.to_string()),
    }
    let rest = blocking(state, move |state| {
        let provenance = match form {
            Form::Files => provenance::of_files(state),
            Form::Database => provenance::of_database(state),
        };
        (provenance, migration(state), app_version(state))
    });
    if let Some((provenance, migration, app_version)) = rest.await {
        look.provenance = provenance;
        look.migration = migration;
        look.app_version = app_version;
    }
    look
}

fn open(config: &Config, state: &Path, version: Option<Version>) -> Box<dyn DeviceStore> {
    match config.gateway.store {
        StoreKind::Json => Box::new(JsonStore::new(state)),
        StoreKind::Sqlite => Box::new(SqliteStore::new(state)),
        StoreKind::Auto | StoreKind::Control => {
            let store = AutoStore::new(state);
            store.set_gateway_version(version.map(|version| version.to_string()).as_deref());
            Box::new(store)
        }
    }
}

async fn blocking<T: Send + 'static>(
    state: PathBuf,
    work: impl FnOnce(&Path) -> T + Send + 'static,
) -> Option<T> {
    tokio::task::spawn_blocking(move || work(&state)).await.ok()
}

fn migration(state: &Path) -> Migration {
    let devices = state.join("devices");
    let rows = read_database(state, |connection| {
        let sql = "SELECT count(*) FROM device_pairing_paired";
        connection.query_row(sql, [], |row| row.get::<_, i64>(0))
    });
    Migration {
        files: devices.join("paired.json").exists(),
        migrated_files: devices.join("paired.json.migrated").exists(),
        rows: rows.ok().and_then(|rows| usize::try_from(rows).ok()),
    }
}

/// `schema_meta.app_version` of the row `primary`.
fn app_version(state: &Path) -> Option<Version> {
    let found = read_database(state, |connection| {
        let sql = "SELECT app_version FROM schema_meta WHERE meta_key = 'primary'";
        connection
            .query_row(sql, [], |row| row.get::<_, Option<String>>(0))
            .optional()
    });
    Version::parse(&found.ok()??.unwrap_or_default())
}
