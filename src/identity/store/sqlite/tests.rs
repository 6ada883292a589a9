#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod beside;
pub(in crate::identity) mod gateway;

use std::fs;

use gateway::Gateway;
use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::device::{DeviceId, OperatorToken};

/// A state directory with a database that no gateway has open.
fn at_rest(sql: &str) -> (TempDir, PathBuf) {
    let state = tempfile::tempdir().unwrap();
    let path = database_below(state.path());
    fs::create_dir(state.path().join("state")).unwrap();
    let connection = Connection::open(&path).unwrap();
    connection
        .execute_batch(&format!("PRAGMA journal_mode = WAL; {sql}"))
        .unwrap();
    connection.close().unwrap();
    (state, path)
}

async fn snapshot_of(sql: &str) -> Result<Arc<Snapshot>, StoreError> {
    let (state, _) = at_rest(sql);
    SqliteStore::new(state.path()).snapshot().await
}

#[tokio::test]
async fn a_row_of_2026_9_6_is_read_whole() {
    let sql = format!(
        r#"{}
        INSERT INTO device_pairing_paired VALUES ('d1', 'JP3V', 'lab', NULL, 'linux', NULL, 'test', 'test', NULL,
          'operator', '["operator"]', '["operator.admin"]', '["operator.admin","operator.read"]', NULL,
          '{{"operator":{{"token":"tok-1","role":"operator","scopes":["operator.read"],"createdAtMs":1795355656852}}}}',
          'silent', NULL, NULL, 1795355656851, 1795355656852, 1795355656814, 'connect');
        INSERT INTO device_pairing_pending VALUES ('r1', 'd2', 'k', NULL, 'linux', NULL, 'cli', 'cli', NULL,
          'operator', '["operator"]', '["operator.read"]', '203.0.113.9', 0, 1, 7, NULL);"#,
        gateway::SCHEMA
    );
    let snapshot = snapshot_of(&sql).await.unwrap();
    let record = &snapshot.devices[&DeviceId::new("d1")];
    assert_eq!(
        (record.public_key.as_str(), record.display_name.as_deref()),
        ("JP3V", Some("lab"))
    );
    assert_eq!(
        (record.platform.as_deref(), record.device_family.as_deref()),
        (Some("linux"), None)
    );
    assert_eq!(record.approved_scopes.to_string(), "admin, read");
    assert_eq!(record.approved_at_ms, Some(1_795_355_656_852));
    assert!(record.is_operator());
    let OperatorToken::Live { token, scopes } = &record.operator_token else {
        unreachable!("the token is live")
    };
    assert!(token.matches("tok-1"));
    assert_eq!(scopes.to_string(), "read");
    let pending = &snapshot.pending[0];
    assert_eq!(
        (pending.request_id.as_str(), pending.device_id.as_str()),
        ("r1", "d2")
    );
    assert_eq!(
        (pending.silent, pending.is_repair, pending.ts_ms),
        (false, true, Some(7))
    );
    assert_eq!(pending.remote_ip.as_deref(), Some("203.0.113.9"));
}

#[tokio::test]
async fn columns_of_later_versions_are_passed_over_and_missing_ones_count_as_absent() {
    let sql = r#"CREATE TABLE device_pairing_paired (later BLOB, device_id TEXT, public_key TEXT, scopes_json TEXT);
        INSERT INTO device_pairing_paired VALUES (x'00', 'd1', 'k', '["operator.read"]');"#;
    let snapshot = snapshot_of(sql).await.unwrap();
    let record = &snapshot.devices[&DeviceId::new("d1")];
    assert!(record.approved_scopes.names("operator.read"));
    assert!(matches!(record.operator_token, OperatorToken::None));
    assert!(snapshot.pending.is_empty());
}

#[test]
fn a_row_that_lies_about_a_type_is_left_out_alone_and_told_without_its_content() {
    let lies = [
        ("public_key", "7"),
        ("public_key", "NULL"),
        ("device_id", "NULL"),
        ("scopes_json", "'secret'"),
        ("approved_scopes_json", "'{}'"),
        ("roles_json", "x'ff'"),
        ("tokens_json", "'[\"secret\"]'"),
        ("platform", "CAST(x'ff' AS TEXT)"),
    ];
    for (column, lie) in lies {
        let columns = "device_id, public_key, platform, roles_json, scopes_json, approved_scopes_json, tokens_json";
        let (_state, path) = at_rest(&format!(
            "CREATE TABLE device_pairing_paired ({columns});
             INSERT INTO device_pairing_paired (device_id, public_key) VALUES ('0123456789abcdef', 'k'), ('d', 'k');
             UPDATE device_pairing_paired SET {column} = {lie} WHERE device_id = '0123456789abcdef';"
        ));
        let (snapshot, problems) = read(&path, rows::snapshot).unwrap().unwrap();
        assert!(
            snapshot.devices.contains_key(&DeviceId::new("d")),
            "{column}"
        );
        assert_eq!(
            (snapshot.devices.len(), problems.len()),
            (1, 1),
            "{column} = {lie}"
        );
        assert!(!problems[0].contains("secret"), "{problems:?}");
    }
}

#[tokio::test]
async fn each_damage_is_named_by_who_has_to_act() {
    let error = snapshot_of("CREATE TABLE other (id)").await.unwrap_err();
    assert!(matches!(error, StoreError::Unsupported { .. }), "{error}");

    let (state, path) = at_rest(gateway::SCHEMA);
    let store = SqliteStore::new(state.path());
    fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(4096)
        .unwrap();
    let error = store.snapshot().await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    fs::write(&path, "secret ".repeat(2_000)).unwrap();
    let error = store.snapshot().await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    assert!(!error.to_string().contains("secret"));
    fs::remove_file(&path).unwrap();
    let error = store.snapshot().await.unwrap_err();
    assert!(matches!(error, StoreError::Missing { .. }), "{error}");
    fs::create_dir(&path).unwrap();
    let error = store.snapshot().await.unwrap_err();
    assert!(matches!(error, StoreError::Unreadable { .. }), "{error}");
}

#[tokio::test]
async fn an_unchanged_database_is_read_once_and_every_commit_is_seen() {
    let mut gateway = Gateway::start();
    gateway.commit(gateway::SCHEMA);
    let store = SqliteStore::new(gateway.state());
    for round in 0..50 {
        gateway.commit(&gateway::pair(&format!("d{round}")));
        assert_eq!(store.snapshot().await.unwrap().devices.len(), round + 1);
    }
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
    let mut before = store.snapshot().await.unwrap();
    loop {
        let again = store.snapshot().await.unwrap();
        if Arc::ptr_eq(&before, &again) {
            break;
        }
        assert!(
            std::time::Instant::now() < deadline,
            "the database never settled"
        );
        before = again;
    }
    // A checkpoint moves everything into the database and starts the -wal over, at the same size.
    gateway.commit("PRAGMA wal_checkpoint(RESTART)");
    gateway.commit("UPDATE device_pairing_paired SET public_key = 'new'");
    let snapshot = store.snapshot().await.unwrap();
    assert!(
        snapshot
            .devices
            .values()
            .all(|record| record.public_key == "new")
    );
}
