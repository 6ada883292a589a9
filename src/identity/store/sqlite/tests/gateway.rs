//! A stand-in for the gateway: another process that has the database open, because SQLite's locks on Unix do not hold
//! between connections of one process.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rusqlite::Connection;
use tempfile::TempDir;

/// The pairing tables and the identities as 2026.9.6 creates them.
pub(in crate::identity) const SCHEMA: &str = "
CREATE TABLE device_pairing_pending (
  request_id TEXT NOT NULL PRIMARY KEY, device_id TEXT NOT NULL, public_key TEXT NOT NULL, display_name TEXT,
  platform TEXT, device_family TEXT, client_id TEXT, client_mode TEXT, browser_origin TEXT, role TEXT,
  roles_json TEXT, scopes_json TEXT, remote_ip TEXT, silent INTEGER, is_repair INTEGER, ts INTEGER NOT NULL,
  refreshed_at_ms INTEGER
) STRICT;
CREATE TABLE device_pairing_paired (
  device_id TEXT NOT NULL PRIMARY KEY, public_key TEXT NOT NULL, display_name TEXT, operator_label TEXT,
  platform TEXT, device_family TEXT, client_id TEXT, client_mode TEXT, browser_origin TEXT, role TEXT,
  roles_json TEXT, scopes_json TEXT, approved_scopes_json TEXT, remote_ip TEXT, tokens_json TEXT, approved_via TEXT,
  node_surface_json TEXT, pending_node_surface_json TEXT, created_at_ms INTEGER NOT NULL,
  approved_at_ms INTEGER NOT NULL, last_seen_at_ms INTEGER, last_seen_reason TEXT
) STRICT;
CREATE TABLE device_identities (
  identity_key TEXT NOT NULL PRIMARY KEY, device_id TEXT NOT NULL, public_key_pem TEXT NOT NULL,
  private_key_pem TEXT NOT NULL, created_at_ms INTEGER NOT NULL, updated_at_ms INTEGER NOT NULL
) STRICT;";

/// The statement that pairs a device.
pub(in crate::identity) fn pair(id: &str) -> String {
    format!(
        r#"INSERT INTO device_pairing_paired (device_id, public_key, role, scopes_json, created_at_ms, approved_at_ms)
           VALUES ('{id}', 'k', 'operator', '["operator.read"]', 1, 1);"#
    )
}

/// A process with `state/openclaw.sqlite` open in WAL mode.
pub(in crate::identity) struct Gateway {
    state: TempDir,
    process: Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl Gateway {
    pub(in crate::identity) fn start() -> Self {
        let state = tempfile::tempdir().unwrap();
        std::fs::create_dir(state.path().join("state")).unwrap();
        Self::start_on(state)
    }

    pub(in crate::identity) fn start_on(state: TempDir) -> Self {
        let mut process = Command::new(env::current_exe().unwrap())
            .args(["--exact", PROCESS, "--nocapture", "--test-threads=1"])
            .env(DATABASE, super::database_below(state.path()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap());
        let mut gateway = Self {
            state,
            process,
            answers,
        };
        gateway.commit("PRAGMA journal_mode = WAL");
        gateway
    }

    pub(in crate::identity) fn state(&self) -> &Path {
        self.state.path()
    }

    /// Runs statements, in one line, and waits until they are done.
    pub(in crate::identity) fn commit(&mut self, sql: &str) {
        let mut commands = self.process.stdin.as_ref().unwrap();
        writeln!(commands, "{}", sql.replace('\n', " ")).unwrap();
        let mut answer = String::new();
        while !answer.contains(DONE) {
            answer.clear();
            assert!(
                self.answers.read_line(&mut answer).unwrap() > 0,
                "the other process ended"
            );
        }
    }

    /// Ends it as a clean shutdown does.
    pub(in crate::identity) fn stop(mut self) -> TempDir {
        drop(self.process.stdin.take());
        self.process.wait().unwrap();
        self.state
    }

    /// Ends it as a power cut does.
    pub(in crate::identity) fn kill(mut self) -> TempDir {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.state
    }
}

/// Not a test: what [`Gateway`] runs in its process.
#[test]
fn acts_as_the_gateway() {
    let Some(path) = env::var_os(DATABASE) else {
        return;
    };
    let connection = Connection::open(path).unwrap();
    for sql in std::io::stdin().lines() {
        connection.execute_batch(&sql.unwrap()).unwrap();
        writeln!(std::io::stdout(), "{DONE}").unwrap();
    }
    connection.close().unwrap();
}

const PROCESS: &str = "identity::store::sqlite::tests::gateway::acts_as_the_gateway";
const DATABASE: &str = "SCOPE_SHIM_TEST_DATABASE";
const DONE: &str = "statements done";
