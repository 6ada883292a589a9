//! State directories as gateways leave them, with everything in them that may be wrong.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::Connection;
use serde_json::{Value, json};

/// Every secret in these directories.
pub(super) const SECRETS: [&str; 6] = [
    "shared-secret-1",
    "shared-secret-2",
    "device-token-1",
    "device-token-2",
    "private-key-1",
    "shared-secret-3",
];

/// The host's own device, another one, and a node.
const HOST: &str = "bb4c5c37727c31716ea86097c78a3cb6423064caa988e973c7a141faf9651b2b";
const OTHER: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
// Of a client that nobody knows.
const STRANGER: &str = "89abcdef0123456789abcdef0123456789abcdef0123456789abcdef01234567";
const NODE: &str = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210";

/// A home directory with a gateway's state below it.
pub(super) struct State {
    home: PathBuf,
    state: PathBuf,
}

impl State {
    pub(super) fn below(home: &Path) -> Self {
        let state = home.join(".openclaw");
        Self {
            home: home.to_owned(),
            state,
        }
    }

    /// 2026.2.19, with a service that has another secret, an upgrade that waits and a node that does.
    pub(super) fn legacy(&self) {
        let three = ["operator.admin", "operator.approvals", "operator.pairing"];
        self.config(json!({"gateway": {"port": 1, "auth": {"token": SECRETS[0]}}}));
        let mut host = self.device(HOST, "cli", "cli", &three);
        host["tokens"]["operator"]["scopes"] = json!(["operator.read"]);
        let mut hostile = self.device(OTHER, "test", "test", &three);
        hostile["displayName"] = json!("\u{1b}[2J\u{1b}]0;x\u{7}\r\n\u{202e}gnp.exe\u{200b}");
        hostile["platform"] = json!("li\tnux\n");
        hostile["remoteIp"] = json!("203.0.113.9");
        self.write("devices/paired.json", &json!({HOST: host, OTHER: hostile}));
        let upgrade = request(
            "6c1f0ef8",
            HOST,
            "gateway-client",
            "backend",
            "operator",
            &["operator.read"],
        );
        let node = request("9a8b7c6d\u{1b}[2J", NODE, "node-host", "node", "node", &[]);
        let pending = json!({"6c1f0ef8": upgrade, "9a8b7c6d": node});
        self.write("devices/pending.json", &pending);
        self.identity(SECRETS[2]);
        self.unit(&format!(
            "[Service]\nEnvironment=OPENCLAW_SERVICE_VERSION=2026.2.19\nEnvironment=\"OPENCLAW_GATEWAY_TOKEN={}\"\n",
            SECRETS[5]
        ));
    }

    /// 2026.4.21, its command line pinned by its first `status`, and its upgrade waiting.
    pub(super) fn pinned(&self) {
        self.config(json!({
            "meta": {"lastTouchedVersion": "2026.4.21"},
            "gateway": {"port": 1, "bind": "lan", "auth": {"token": SECRETS[0]}, "trustedProxies": ["10.0.0.5"]},
        }));
        let host = self.device(HOST, "cli", "cli", &["operator.read"]);
        self.write("devices/paired.json", &json!({HOST: host}));
        let upgrade = request(
            "6c1f0ef8",
            HOST,
            "cli",
            "cli",
            "operator",
            &["operator.read", "operator.admin"],
        );
        self.write("devices/pending.json", &json!({"6c1f0ef8": upgrade}));
        self.identity(SECRETS[2]);
    }

    /// A database that this version opened last, with devices that were approved silently.
    pub(super) fn database(&self, version: &str) {
        self.config(json!({"gateway": {"port": 1, "auth": {"token": SECRETS[0]}}}));
        let database = self.open_database();
        let meta = "INSERT INTO schema_meta VALUES ('primary', ?1), ('startup-migrations', 'x')";
        database.execute(meta, [version]).unwrap();
        let insert = "INSERT INTO device_pairing_paired VALUES (?1, 'JP3V', 'phone', 'linux', 'openclaw-control-ui', \
                      'webchat', 'operator', '[\"operator\"]', '[\"operator.admin\"]', '[\"operator.admin\"]', NULL, ?2, \
                      'silent', ?3, ?3, ?3)";
        let tokens =
            json!({"operator": {"token": SECRETS[2], "scopes": ["operator.admin"]}}).to_string();
        let then = days_ago(3);
        database
            .execute(insert, rusqlite::params![OTHER, tokens, then])
            .unwrap();
        let unknown = "INSERT INTO device_pairing_paired VALUES (?1, 'JP3V', 'tablet', 'linux', 'some-dashboard', 'app', \
                       'operator', '[\"operator\"]', '[\"operator.admin\"]', '[\"operator.admin\"]', NULL, '{}', 'silent', \
                       ?2, ?2, ?2)";
        database
            .execute(unknown, rusqlite::params![STRANGER, then])
            .unwrap();
        let own = "INSERT INTO device_identities VALUES ('primary', ?1, 'P', ?2)";
        database.execute(own, [HOST, SECRETS[4]]).unwrap();
        let token =
            "INSERT INTO device_auth_tokens VALUES (?1, 'operator', ?2, '[\"operator.admin\"]', 1)";
        database.execute(token, [OTHER, SECRETS[3]]).unwrap();
        database.close().unwrap();
    }

    /// A service of 2026.7.1 on a state directory that 2026.8.2 had imported.
    pub(super) fn put_back(&self) {
        self.database("2026.8.2");
        let host = self.device(HOST, "cli", "cli", &["operator.read"]);
        self.write("devices/paired.json.migrated", &json!({HOST: host}));
        self.write("devices/paired.json", &json!({}));
        self.unit("[Service]\nEnvironment=OPENCLAW_SERVICE_VERSION=2026.7.1\n");
    }

    fn open_database(&self) -> Connection {
        fs::create_dir_all(self.state.join("state")).unwrap();
        let database = Connection::open(self.state.join("state/openclaw.sqlite")).unwrap();
        database.execute_batch(SCHEMA).unwrap();
        database
    }

    fn config(&self, config: Value) {
        self.write("openclaw.json", &config);
    }

    fn identity(&self, token: &str) {
        let device = json!({"deviceId": HOST, "publicKeyPem": "P", "privateKeyPem": SECRETS[4]});
        self.write("identity/device.json", &device);
        let operator = json!({"token": token, "role": "operator", "scopes": ["operator.read"]});
        let auth = json!({"version": 1, "deviceId": HOST, "tokens": {"operator": operator}});
        self.write("identity/device-auth.json", &auth);
    }

    fn unit(&self, text: &str) {
        let units = self.home.join(".config/systemd/user");
        fs::create_dir_all(&units).unwrap();
        fs::write(units.join("openclaw-gateway.service"), text).unwrap();
    }

    fn device(&self, id: &str, client: &str, mode: &str, scopes: &[&str]) -> Value {
        let token = if id == HOST { SECRETS[2] } else { SECRETS[3] };
        json!({
            "deviceId": id, "publicKey": "JP3V", "platform": "linux", "clientId": client, "clientMode": mode,
            "role": "operator", "roles": ["operator"], "scopes": scopes,
            "tokens": {"operator": {"token": token, "role": "operator", "scopes": scopes}},
            "createdAtMs": days_ago(5), "approvedAtMs": days_ago(5),
        })
    }

    fn write(&self, name: &str, value: &Value) {
        let path = self.state.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, value.to_string()).unwrap();
    }
}

fn request(id: &str, device: &str, client: &str, mode: &str, role: &str, scopes: &[&str]) -> Value {
    json!({
        "requestId": id, "deviceId": device, "publicKey": "JP3V", "clientId": client, "clientMode": mode,
        "role": role, "roles": [role], "scopes": scopes, "silent": false, "isRepair": device == HOST,
        "ts": now_ms() - 180_500,
    })
}

/// The same for all records, so that those of one age are of one age.
fn now_ms() -> i64 {
    static NOW: OnceLock<i64> = OnceLock::new();
    *NOW.get_or_init(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        i64::try_from(now.as_millis()).unwrap()
    })
}

fn days_ago(days: i64) -> i64 {
    now_ms() - days * 86_400_000 - 1_000
}

/// What these tests need of the tables of 2026.9.6.
const SCHEMA: &str = "
CREATE TABLE schema_meta (meta_key TEXT PRIMARY KEY, app_version TEXT);
CREATE TABLE device_pairing_paired (
  device_id TEXT PRIMARY KEY, public_key TEXT, display_name TEXT, platform TEXT, client_id TEXT, client_mode TEXT,
  role TEXT, roles_json TEXT, scopes_json TEXT, approved_scopes_json TEXT, remote_ip TEXT, tokens_json TEXT,
  approved_via TEXT, created_at_ms INTEGER, approved_at_ms INTEGER, last_seen_at_ms INTEGER
);
CREATE TABLE device_pairing_pending (request_id TEXT PRIMARY KEY, device_id TEXT);
CREATE TABLE device_identities (identity_key TEXT, device_id TEXT, public_key_pem TEXT, private_key_pem TEXT);
CREATE TABLE device_auth_tokens (device_id TEXT, role TEXT, token TEXT, scopes_json TEXT, updated_at_ms INTEGER);";
