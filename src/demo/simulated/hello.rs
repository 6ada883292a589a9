//! The frames the gateway speaks of its own accord: challenge, `hello-ok`, goodbye.

use serde_json::{Value, json};

use super::handshake::Admission;
use super::profile::{MESSAGE_LIMIT, Profile};

/// `connect.challenge`, sent as soon as the socket is open.
pub(super) fn challenge(profile: Profile, nonce: &str, now_ms: i64) -> Value {
    let mut payload = json!({ "nonce": nonce, "ts": now_ms });
    if profile == Profile::Latest {
        payload["capabilities"] = json!(["model-catalog-snapshot"]);
    }
    json!({ "type": "event", "event": "connect.challenge", "payload": payload })
}

/// What sessions are told before a gateway that stops closes them with 1012.
pub(super) fn shutdown(profile: Profile) -> Value {
    let mut payload = json!({ "reason": "gateway stopping" });
    if profile != Profile::Latest {
        payload["restartExpectedMs"] = Value::Null;
    }
    json!({ "type": "event", "event": "shutdown", "payload": payload })
}

/// What the gateway knows when it says hello.
pub(super) struct Hello<'a> {
    pub(super) profile: Profile,
    /// A version to announce instead of the profile's own.
    pub(super) announced: Option<&'a str>,
    pub(super) admission: &'a Admission,
    pub(super) connection_id: &'a str,
    pub(super) presence: &'a [Value],
    pub(super) state_dir: &'a str,
    pub(super) auth_mode: &'a str,
    pub(super) now_ms: i64,
}

impl Hello<'_> {
    /// The payload of the successful answer to `connect`.
    pub(super) fn payload(&self) -> Value {
        let profile = self.profile;
        let mut out = json!({
            "type": "hello-ok",
            "protocol": profile.protocol(),
            "server": self.server(),
            "features": { "methods": METHODS, "events": EVENTS },
            "snapshot": {
                "presence": self.presence,
                "health": { "ok": true, "ts": self.now_ms, "durationMs": 0, "channels": {} },
                "stateVersion": { "presence": 1, "health": 1 },
                "uptimeMs": 0,
                "stateDir": self.state_dir,
                "sessionDefaults": {
                    "defaultAgentId": "main",
                    "mainKey": "main",
                    "mainSessionKey": "agent:main:main",
                    "scope": "per-sender",
                },
                "authMode": self.auth_mode,
            },
        });
        if let Some(auth) = &self.admission.hello_auth {
            out["auth"] = auth.clone();
        }
        out["policy"] = json!({
            "maxPayload": MESSAGE_LIMIT,
            "maxBufferedBytes": 2 * MESSAGE_LIMIT,
            "tickIntervalMs": 30_000,
        });
        out
    }

    fn server(&self) -> Value {
        if let Some(version) = self.announced {
            return json!({ "version": version, "connId": self.connection_id });
        }
        let version = self.profile.announced_version();
        match self.profile {
            Profile::Literal => {
                json!({ "version": version, "host": "simulated", "connId": self.connection_id })
            }
            Profile::Clearing | Profile::Pending => {
                json!({ "version": version, "connId": self.connection_id })
            }
            Profile::Latest => json!({
                "version": version,
                "buildId": format!("{version}-simulated"),
                "bootId": "00000000-0000-4000-8000-000000000000",
                "controlUiBuildSource": "bundled",
                "connId": self.connection_id,
            }),
        }
    }
}

const METHODS: &[&str] = &[
    "health",
    "status",
    "system-presence",
    "sessions.list",
    "sessions.patch",
    "cron.list",
    "models.list",
    "chat.abort",
    "exec.approval.resolve",
    "device.pair.list",
    "device.pair.approve",
    "device.pair.reject",
    "device.pair.remove",
    "device.token.rotate",
    "device.token.revoke",
];

const EVENTS: &[&str] = &[
    "connect.challenge",
    "presence",
    "health",
    "device.pair.requested",
    "device.pair.resolved",
];
