//! What the store says of a device besides what a decision needs: for reports to people.
//!
//! It is read apart from the records, which every session looks up.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read as _};
use std::path::Path;

use rusqlite::{Connection, Row};
use serde::Deserialize;

use super::sqlite;
use super::wire::Loose;
use crate::device::DeviceId;

/// How a device came to be paired. `None` where this store does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", from = "Entry")]
pub struct Provenance {
    /// `approvedVia`: `silent`, `owner` and the like (from 2026.8.2).
    pub approved_via: Option<String>,
    /// The address it paired from, where the gateway took it for remote.
    pub remote_ip: Option<String>,
    /// When it was paired first, in milliseconds since the epoch.
    pub created_at_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    #[serde(default)]
    approved_via: Loose<String>,
    #[serde(default)]
    remote_ip: Loose<String>,
    #[serde(default)]
    created_at_ms: Loose<u64>,
}

impl From<Entry> for Provenance {
    fn from(entry: Entry) -> Self {
        Self {
            approved_via: entry.approved_via.0,
            remote_ip: entry.remote_ip.0,
            created_at_ms: entry.created_at_ms.0,
        }
    }
}

/// The provenance of every device in `devices/paired.json`. Blocks.
///
/// Empty where the file cannot be read: the snapshot of the same store says why.
#[must_use]
pub fn of_files(state: &Path) -> HashMap<DeviceId, Provenance> {
    let path = state.join("devices").join("paired.json");
    if !path.is_file() {
        return HashMap::new();
    }
    let Ok(file) = File::open(path) else {
        return HashMap::new();
    };
    let reader = BufReader::new(file.take(MAX_BYTES));
    let entries: HashMap<String, Provenance> = serde_json::from_reader(reader).unwrap_or_default();
    entries
        .into_iter()
        .map(|(id, provenance)| (DeviceId::new(id), provenance))
        .collect()
}

/// The provenance of every device in `state/openclaw.sqlite`. Blocks.
///
/// Empty where the database cannot be read, or has other columns: the snapshot of the same store says why.
#[must_use]
pub fn of_database(state: &Path) -> HashMap<DeviceId, Provenance> {
    sqlite::read(&sqlite::database_below(state), rows).unwrap_or_default()
}

fn rows(connection: &Connection) -> rusqlite::Result<HashMap<DeviceId, Provenance>> {
    let sql = "SELECT device_id, approved_via, remote_ip, created_at_ms FROM device_pairing_paired";
    let mut statement = connection.prepare(sql)?;
    let entries = statement.query_map([], row)?;
    Ok(entries.filter_map(Result::ok).collect())
}

fn row(row: &Row<'_>) -> rusqlite::Result<(DeviceId, Provenance)> {
    let id: String = row.get("device_id")?;
    let provenance = Provenance {
        approved_via: row.get("approved_via").unwrap_or_default(),
        remote_ip: row.get("remote_ip").unwrap_or_default(),
        created_at_ms: row
            .get::<_, i64>("created_at_ms")
            .ok()
            .and_then(|ms| u64::try_from(ms).ok()),
    };
    Ok((DeviceId::new(id), provenance))
}

/// As much as is read of the records themselves.
const MAX_BYTES: u64 = 128 << 20;

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use super::*;
    use crate::identity::store::sqlite::tests::gateway::{Gateway, SCHEMA, pair};

    #[test]
    fn the_files_tell_where_a_device_came_from_and_lies_cost_one_field() {
        let state = tempfile::tempdir().unwrap();
        assert!(of_files(state.path()).is_empty());
        std::fs::create_dir(state.path().join("devices")).unwrap();
        let text = r#"{"a": {"remoteIp": "10.0.0.9", "createdAtMs": 7, "tokens": {}}, "b": {"approvedVia": 1}}"#;
        std::fs::write(state.path().join("devices/paired.json"), text).unwrap();
        let read = of_files(state.path());
        let a = &read[&DeviceId::new("a")];
        assert_eq!(
            (a.remote_ip.as_deref(), a.created_at_ms),
            (Some("10.0.0.9"), Some(7))
        );
        assert_eq!(read[&DeviceId::new("b")], Provenance::default());
    }

    #[test]
    fn the_database_tells_how_a_device_was_approved() {
        let mut gateway = Gateway::start();
        assert!(of_database(gateway.state()).is_empty());
        gateway.commit(SCHEMA);
        gateway.commit(&pair("d1"));
        gateway.commit("UPDATE device_pairing_paired SET approved_via = 'silent'");
        let read = of_database(gateway.state());
        let device = &read[&DeviceId::new("d1")];
        assert_eq!(device.approved_via.as_deref(), Some("silent"));
        assert_eq!(device.created_at_ms, Some(1));
    }
}
