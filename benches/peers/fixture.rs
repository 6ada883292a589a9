//! What the gateway and its clients know of each other: the state directory, devices, and the messages of a handshake.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// The gateway's shared token.
pub const TOKEN: &str = "token-of-the-bench";
/// The nonce of every challenge: one, so that a client can sign before the clock runs.
pub const NONCE: &str = "8f14e45f-ceea-467f-9a36-dcd3b4a5c6d7";
/// What stands in the prepared `hello-ok` for the id of the request.
pub const ID: &str = "REQUEST-ID";
/// How many devices are paired.
pub const DEVICES: u8 = 64;

/// A paired device.
pub struct Device {
    key: Ed25519KeyPair,
}

/// What becomes of a handshake.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The gateway accepts it as it is.
    Pass,
    /// The device's platform is not the pinned one: the gateway would refuse it.
    Rewrite,
}

impl Device {
    /// The same device for the same number, in every process.
    pub fn nth(number: u8) -> Self {
        let key = Ed25519KeyPair::from_seed_unchecked(&[number; 32]).unwrap();
        Self { key }
    }

    fn public(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.key.public_key())
    }

    pub fn id(&self) -> String {
        let hash = digest(&SHA256, self.key.public_key().as_ref());
        hash.as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// The `connect` request that this device makes now, signed in the way of payload version 3.
    pub fn connect(&self, way: Way) -> String {
        let platform = match way {
            Way::Pass => "linux",
            Way::Rewrite => "darwin",
        };
        let (id, signed_at) = (self.id(), now_ms());
        let scopes = SCOPES.join(",");
        let text =
            format!("v3|{id}|cli|cli|operator|{scopes}|{signed_at}|{TOKEN}|{NONCE}|{platform}|");
        let signature = URL_SAFE_NO_PAD.encode(self.key.sign(text.as_bytes()));
        let message = json!({"type": "req", "id": "c1", "method": "connect", "params": {
            "minProtocol": 3, "maxProtocol": 4,
            "client": {
                "id": "cli", "displayName": "bench", "version": "2026.7.1", "platform": platform, "mode": "cli",
            },
            "caps": [], "role": "operator", "scopes": SCOPES, "auth": {"token": TOKEN},
            "device": {
                "id": id, "publicKey": self.public(), "signature": signature, "signedAt": signed_at, "nonce": NONCE,
            },
            "userAgent": "bench", "locale": "en-GB",
        }});
        message.to_string()
    }
}

/// A record of `paired.json`, as gateways up to 2026.7.1 write it.
fn paired(id: &str, public_key: &str, token: &str, scopes: &[&str]) -> Value {
    json!({
        "deviceId": id, "publicKey": public_key, "displayName": "bench", "platform": "linux",
        "clientId": "cli", "clientMode": "cli", "role": "operator", "roles": ["operator"],
        "scopes": scopes, "approvedScopes": scopes,
        "tokens": {"operator": {
            "token": token, "role": "operator", "scopes": scopes, "createdAtMs": 1_760_000_000_000_i64,
        }},
        "createdAtMs": 1_760_000_000_000_i64, "approvedAtMs": 1_760_000_000_000_i64,
    })
}

/// Writes the gateway's state directory: its settings, and the devices with the delegates that are paired.
pub fn write_state(state: &Path, port: u16, delegates: &[(String, String)]) {
    fs::create_dir_all(state.join("devices")).unwrap();
    let settings = json!({"gateway": {
        "mode": "local", "port": port, "bind": "loopback", "auth": {"mode": "token", "token": TOKEN},
    }});
    fs::write(state.join("openclaw.json"), settings.to_string()).unwrap();
    let devices = (0..DEVICES)
        .map(Device::nth)
        .map(|device| (device.id(), device.public()));
    let everybody = devices.chain(delegates.iter().cloned());
    save(state, everybody, &SCOPES);
}

/// Writes a pairing store of so many devices, which nobody has the keys of.
pub fn write_paired(state: &Path, devices: usize) {
    fs::create_dir_all(state.join("devices")).unwrap();
    let key = Device::nth(0).public();
    let devices = (0..devices).map(|number| (device_id(number), key.clone()));
    save(state, devices, &SCOPES[..3]);
}

/// The id of such a device.
pub fn device_id(number: usize) -> String {
    format!("{number:064x}")
}

fn save(state: &Path, devices: impl Iterator<Item = (String, String)>, scopes: &[&str]) {
    let paired: BTreeMap<_, _> = devices
        .map(|(id, key)| {
            let record = paired(&id, &key, &format!("token-of-{id}"), scopes);
            (id, record)
        })
        .collect();
    let text = serde_json::to_string_pretty(&paired).unwrap();
    fs::write(state.join("devices/paired.json"), text).unwrap();
    fs::write(state.join("devices/pending.json"), "{}").unwrap();
}

/// The answer to a `connect` request, with [`ID`] for the id of the request. As long as the one of a gateway in use.
pub fn hello_ok() -> String {
    let methods: Vec<_> = (0..120)
        .map(|number| format!("bench.method.number{number}"))
        .collect();
    let events: Vec<_> = (0..20)
        .map(|number| format!("bench.event{number}"))
        .collect();
    let hello = json!({"type": "res", "id": ID, "ok": true, "payload": {
        "type": "hello-ok", "protocol": 3,
        "server": {"version": "2026.7.1", "connId": "b0b1c2d3-0000-4000-8000-000000000000"},
        "features": {"methods": methods, "events": events},
        "snapshot": {
            "presence": [], "health": {"ok": true, "ts": 1, "durationMs": 0, "channels": {}},
            "stateVersion": {"presence": 1, "health": 1}, "uptimeMs": 1, "stateDir": "/home/bench/.openclaw",
            "sessionDefaults": {
                "defaultAgentId": "main", "mainKey": "main", "mainSessionKey": "agent:main:main", "scope": "per-sender",
            },
            "authMode": "token",
        },
        "auth": {
            "role": "operator", "scopes": SCOPES, "deviceToken": "token-of-the-session", "issuedAtMs": 1,
        },
        "policy": {"maxPayload": 26_214_400, "maxBufferedBytes": 52_428_800, "tickIntervalMs": 30_000},
    }});
    hello.to_string()
}

fn now_ms() -> u128 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_millis()
}

/// Every scope, because the delegate is to be paired for all of them.
const SCOPES: [&str; 10] = [
    "operator.admin",
    "operator.read",
    "operator.write",
    "operator.approvals",
    "operator.pairing",
    "operator.questions",
    "operator.talk",
    "operator.talk.secrets",
    "operator.sessions.read",
    "operator.sessions.write",
];
