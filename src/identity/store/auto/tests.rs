#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::fs;

use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::device::DeviceId;
use crate::identity::store::sqlite::{
    self,
    tests::gateway::{Gateway, SCHEMA, pair},
};

/// A state directory, and the ids that are served from it.
struct State(TempDir);

impl State {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        for name in ["devices", "state"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        Self(directory)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join("devices").join(name)
    }

    fn write_json(&self, id: &str) {
        let text = format!(r#"{{"{id}":{{"publicKey":"k","role":"operator","scopes":[]}}}}"#);
        fs::write(self.file("paired.json"), text).unwrap();
    }

    fn sql(&self, sql: &str) {
        let connection = Connection::open(sqlite::database_below(self.0.path())).unwrap();
        connection
            .execute_batch(&format!("PRAGMA journal_mode = WAL; {sql}"))
            .unwrap();
        connection.close().unwrap();
    }

    fn store(&self) -> AutoStore {
        AutoStore::new(self.0.path())
    }
}

async fn serves(store: &AutoStore) -> Vec<String> {
    let snapshot = store.snapshot().await.unwrap();
    let mut ids: Vec<_> = snapshot.devices.keys().map(DeviceId::to_string).collect();
    ids.sort();
    ids
}

#[tokio::test]
async fn the_files_are_served_where_the_tables_are_empty_and_the_tables_where_there_are_no_files() {
    let state = State::new();
    let store = state.store();
    assert!(
        serves(&store).await.is_empty(),
        "a state directory in which nobody is paired"
    );
    state.sql(SCHEMA);
    state.write_json("in-the-file");
    assert_eq!(serves(&store).await, ["in-the-file"]);
    store.set_gateway_version(Some("2026.9.6"));
    assert_eq!(
        serves(&store).await,
        ["in-the-file"],
        "it has not imported the file yet"
    );
    fs::remove_file(state.file("paired.json")).unwrap();
    state.sql(&pair("in-the-table"));
    store.set_gateway_version(None);
    assert_eq!(serves(&store).await, ["in-the-table"]);
}

#[tokio::test]
async fn an_upgrade_moves_the_store_and_no_lookup_in_between_misses_a_device() {
    let state = State::new();
    state.write_json("d");
    state.sql(SCHEMA);
    let paired = state.file("paired.json");
    let store = Arc::new(state.store());
    assert_eq!(serves(&store).await, ["d"]);
    let mut gateway = Gateway::start_on(state.0);
    let upgrade = tokio::task::spawn_blocking(move || {
        gateway.commit(&pair("d"));
        fs::rename(&paired, paired.with_file_name("paired.json.migrated")).unwrap();
        gateway
    });
    while !upgrade.is_finished() {
        assert_eq!(serves(&store).await, ["d"]);
    }
    let mut gateway = upgrade.await.unwrap();
    assert!(store.describe().ends_with("openclaw.sqlite") || serves(&store).await == ["d"]);
    gateway.commit(&pair("later"));
    assert_eq!(serves(&store).await, ["d", "later"]);
    assert!(store.describe().ends_with("openclaw.sqlite"));
}

#[tokio::test]
async fn after_a_rollback_the_new_file_is_served_and_the_left_over_rows_are_not() {
    let state = State::new();
    state.sql(SCHEMA);
    state.sql(&pair("left-over"));
    let store = state.store();
    store.set_gateway_version(Some("2026.9.6"));
    assert_eq!(serves(&store).await, ["left-over"]);
    store.set_gateway_version(Some("2026.7.1"));
    assert!(
        serves(&store).await.is_empty(),
        "an older gateway has paired nobody yet"
    );
    state.write_json("new");
    for version in [None, Some("dev"), Some("2026.7.1"), Some("2026.2.19")] {
        store.set_gateway_version(version);
        assert_eq!(serves(&store).await, ["new"], "{version:?}");
    }
    for version in ["2026.8.2", "2026.8.0-beta.1", "2026.10.1", "2027.1.1"] {
        store.set_gateway_version(Some(version));
        assert_eq!(serves(&store).await, ["left-over"], "{version}");
    }
}

#[tokio::test]
async fn without_a_state_directory_the_store_is_missing() {
    let state = State::new();
    let store = AutoStore::new(state.0.path().join("nowhere"));
    for version in [None, Some("2026.7.1"), Some("2026.9.6")] {
        store.set_gateway_version(version);
        let error = store.snapshot().await.unwrap_err();
        assert!(matches!(error, StoreError::Missing { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_damaged_database_is_an_error_only_where_the_gateway_needs_it() {
    let state = State::new();
    fs::write(
        sqlite::database_below(state.0.path()),
        "damaged ".repeat(1_000),
    )
    .unwrap();
    let store = state.store();
    let error = store.snapshot().await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    state.write_json("d");
    assert_eq!(serves(&store).await, ["d"]);
}
