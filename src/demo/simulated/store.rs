//! Where the pairing state lives: two JSON files up to 2026.7, SQLite after.
//!
//! Like the real thing it is read for every decision: whoever edits it is believed at once.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, Row, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::profile::Profile;
use super::records::{Paired, Pending, State};

/// The pairing store of one gateway.
pub(super) enum Store {
    Files { directory: PathBuf },
    Database { connection: Connection },
}

impl Store {
    pub(super) fn open(profile: Profile, state_dir: &Path) -> io::Result<Self> {
        if profile != Profile::Latest {
            return Ok(Self::Files {
                directory: state_dir.join("devices"),
            });
        }
        let directory = state_dir.join("state");
        fs::create_dir_all(&directory)?;
        let connection =
            Connection::open(directory.join("openclaw.sqlite")).map_err(io::Error::other)?;
        connection
            .busy_timeout(Duration::from_secs(5))
            .map_err(io::Error::other)?;
        connection
            .pragma_update(None, "journal_mode", "WAL")
            .and_then(|()| connection.pragma_update(None, "user_version", 18))
            .and_then(|()| connection.execute_batch(SCHEMA))
            .map_err(io::Error::other)?;
        Ok(Self::Database { connection })
    }

    pub(super) fn load(&self, now: i64) -> io::Result<State> {
        let mut state = match self {
            Self::Files { directory } => State {
                pending: read(&directory.join("pending.json"))?,
                paired: read(&directory.join("paired.json"))?,
            },
            Self::Database { connection } => load_rows(connection).map_err(io::Error::other)?,
        };
        state.expire(now);
        Ok(state)
    }

    pub(super) fn save(&mut self, state: &State) -> io::Result<()> {
        match self {
            Self::Files { directory } => {
                fs::create_dir_all(&directory)?;
                write(&directory.join("pending.json"), &state.pending)?;
                write(&directory.join("paired.json"), &state.paired)
            }
            Self::Database { connection } => save_rows(connection, state).map_err(io::Error::other),
        }
    }

    /// The host's own device, where 2026.8 and later keep it.
    pub(super) fn save_host_identity(
        &self,
        device_id: &str,
        public_pem: &str,
        private_pem: &str,
        now: i64,
    ) -> io::Result<bool> {
        let Self::Database { connection } = self else {
            return Ok(false);
        };
        connection
            .execute(
                "INSERT OR REPLACE INTO device_identities VALUES ('primary', ?1, ?2, ?3, ?4, ?4)",
                params![device_id, public_pem, private_pem, now],
            )
            .map_err(io::Error::other)?;
        Ok(true)
    }
}

/// A missing file is an empty store; so is one that cannot be parsed, as in the real gateway.
fn read<T: DeserializeOwned + Default>(path: &Path) -> io::Result<T> {
    match fs::read(path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).unwrap_or_default()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(T::default()),
        Err(error) => Err(error),
    }
}

/// Written beside and renamed, so that a reader sees the old or the new file, never half of one.
pub(super) fn write<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    let mut bytes = serde_json::to_vec_pretty(value)?;
    bytes.push(b'\n');
    let beside = path.with_extension("json.tmp");
    fs::write(&beside, bytes)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(&beside, fs::Permissions::from_mode(0o600))?;
    }
    fs::rename(&beside, path)
}

fn load_rows(connection: &Connection) -> rusqlite::Result<State> {
    let mut state = State::default();
    let mut statement =
        connection.prepare(&format!("SELECT {PAIRED} FROM device_pairing_paired"))?;
    for device in statement.query_map([], paired)? {
        let device = device?;
        state.paired.insert(device.device_id.clone(), device);
    }
    let mut statement =
        connection.prepare(&format!("SELECT {PENDING} FROM device_pairing_pending"))?;
    for request in statement.query_map([], pending)? {
        let request = request?;
        state.pending.insert(request.request_id.clone(), request);
    }
    Ok(state)
}

fn paired(row: &Row<'_>) -> rusqlite::Result<Paired> {
    Ok(Paired {
        device_id: row.get(0)?,
        public_key: row.get(1)?,
        display_name: row.get(2)?,
        platform: row.get(3)?,
        device_family: row.get(4)?,
        client_id: row.get(5)?,
        client_mode: row.get(6)?,
        role: row.get(7)?,
        roles: json(row, 8)?,
        scopes: json(row, 9)?,
        approved_scopes: json(row, 10)?,
        remote_ip: row.get(11)?,
        tokens: json(row, 12)?.unwrap_or_default(),
        approved_via: row.get(13)?,
        created_at_ms: row.get(14)?,
        approved_at_ms: row.get(15)?,
        last_seen_at_ms: row.get(16)?,
        last_seen_reason: row.get(17)?,
        ..Paired::default()
    })
}

fn pending(row: &Row<'_>) -> rusqlite::Result<Pending> {
    Ok(Pending {
        request_id: row.get(0)?,
        device_id: row.get(1)?,
        public_key: row.get(2)?,
        display_name: row.get(3)?,
        platform: row.get(4)?,
        device_family: row.get(5)?,
        client_id: row.get(6)?,
        client_mode: row.get(7)?,
        role: row.get(8)?,
        roles: json(row, 9)?,
        scopes: json(row, 10)?,
        remote_ip: row.get(11)?,
        silent: row.get::<_, Option<bool>>(12)?.unwrap_or_default(),
        is_repair: row.get::<_, Option<bool>>(13)?.unwrap_or_default(),
        ts: row.get(14)?,
        refreshed_at_ms: row.get(15)?,
    })
}

fn json<T: DeserializeOwned>(row: &Row<'_>, index: usize) -> rusqlite::Result<Option<T>> {
    let text: Option<String> = row.get(index)?;
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
}

fn text<T: Serialize>(value: &Option<T>) -> Option<String> {
    value
        .as_ref()
        .and_then(|value| serde_json::to_string(value).ok())
}

fn save_rows(connection: &mut Connection, state: &State) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    transaction.execute("DELETE FROM device_pairing_paired", [])?;
    transaction.execute("DELETE FROM device_pairing_pending", [])?;
    for device in state.paired.values() {
        transaction.execute(
            &format!(
                "INSERT INTO device_pairing_paired ({PAIRED}) VALUES ({})",
                marks(18)
            ),
            params![
                device.device_id,
                device.public_key,
                device.display_name,
                device.platform,
                device.device_family,
                device.client_id,
                device.client_mode,
                device.role,
                text(&device.roles),
                text(&device.scopes),
                text(&device.approved_scopes),
                device.remote_ip,
                serde_json::to_string(&device.tokens).ok(),
                device.approved_via,
                device.created_at_ms,
                device.approved_at_ms,
                device.last_seen_at_ms,
                device.last_seen_reason,
            ],
        )?;
    }
    for request in state.pending.values() {
        transaction.execute(
            &format!(
                "INSERT INTO device_pairing_pending ({PENDING}) VALUES ({})",
                marks(16)
            ),
            params![
                request.request_id,
                request.device_id,
                request.public_key,
                request.display_name,
                request.platform,
                request.device_family,
                request.client_id,
                request.client_mode,
                request.role,
                text(&request.roles),
                text(&request.scopes),
                request.remote_ip,
                request.silent,
                request.is_repair,
                request.ts,
                request.refreshed_at_ms,
            ],
        )?;
    }
    transaction.commit()
}

fn marks(count: usize) -> String {
    vec!["?"; count].join(",")
}

const PAIRED: &str = "device_id, public_key, display_name, platform, device_family, client_id, \
    client_mode, role, roles_json, scopes_json, approved_scopes_json, remote_ip, tokens_json, \
    approved_via, created_at_ms, approved_at_ms, last_seen_at_ms, last_seen_reason";

const PENDING: &str = "request_id, device_id, public_key, display_name, platform, device_family, \
    client_id, client_mode, role, roles_json, scopes_json, remote_ip, silent, is_repair, ts, \
    refreshed_at_ms";

/// The tables of 2026.9.6 that have to do with devices.
const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS device_pairing_pending (
  request_id TEXT NOT NULL PRIMARY KEY, device_id TEXT NOT NULL, public_key TEXT NOT NULL,
  display_name TEXT, platform TEXT, device_family TEXT, client_id TEXT, client_mode TEXT,
  browser_origin TEXT, role TEXT, roles_json TEXT, scopes_json TEXT, remote_ip TEXT,
  silent INTEGER, is_repair INTEGER, ts INTEGER NOT NULL, refreshed_at_ms INTEGER
) STRICT;
CREATE TABLE IF NOT EXISTS device_pairing_paired (
  device_id TEXT NOT NULL PRIMARY KEY, public_key TEXT NOT NULL, display_name TEXT,
  operator_label TEXT, platform TEXT, device_family TEXT, client_id TEXT, client_mode TEXT,
  browser_origin TEXT, role TEXT, roles_json TEXT, scopes_json TEXT, approved_scopes_json TEXT,
  remote_ip TEXT, tokens_json TEXT, approved_via TEXT, node_surface_json TEXT,
  pending_node_surface_json TEXT, created_at_ms INTEGER NOT NULL, approved_at_ms INTEGER NOT NULL,
  last_seen_at_ms INTEGER, last_seen_reason TEXT
) STRICT;
CREATE TABLE IF NOT EXISTS device_identities (
  identity_key TEXT NOT NULL PRIMARY KEY, device_id TEXT NOT NULL, public_key_pem TEXT NOT NULL,
  private_key_pem TEXT NOT NULL, created_at_ms INTEGER NOT NULL, updated_at_ms INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS device_auth_tokens (
  device_id TEXT NOT NULL, role TEXT NOT NULL, token TEXT NOT NULL, scopes_json TEXT NOT NULL,
  updated_at_ms INTEGER NOT NULL, PRIMARY KEY (device_id, role)
) STRICT;";
