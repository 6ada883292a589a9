//! The `connect` parameters, once the schema has let them through.

use serde_json::Value;

/// What a client says about itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Claims {
    pub(super) min_protocol: i64,
    pub(super) max_protocol: i64,
    pub(super) client_id: String,
    pub(super) client_mode: String,
    pub(super) client_version: String,
    pub(super) display_name: Option<String>,
    pub(super) platform: Option<String>,
    pub(super) device_family: Option<String>,
    pub(super) role: String,
    pub(super) scopes: Vec<String>,
    pub(super) device: Option<Device>,
    pub(super) token: Option<String>,
    pub(super) password: Option<String>,
    pub(super) device_token: Option<String>,
    pub(super) bootstrap_token: Option<String>,
}

/// The device a client says it is.
#[derive(Clone, Debug, Default)]
pub(super) struct Device {
    pub(super) id: String,
    pub(super) public_key: String,
    pub(super) signature: String,
    pub(super) signed_at: i64,
    pub(super) nonce: Option<String>,
}

impl Claims {
    pub(super) fn from_params(params: &Value) -> Self {
        let client = &params["client"];
        let auth = &params["auth"];
        Self {
            min_protocol: params["minProtocol"].as_i64().unwrap_or_default(),
            max_protocol: params["maxProtocol"].as_i64().unwrap_or_default(),
            client_id: text(client, "id").unwrap_or_default(),
            client_mode: text(client, "mode").unwrap_or_default(),
            client_version: text(client, "version").unwrap_or_default(),
            display_name: text(client, "displayName"),
            platform: text(client, "platform"),
            device_family: text(client, "deviceFamily"),
            role: text(params, "role").unwrap_or_else(|| "operator".to_owned()),
            scopes: texts(&params["scopes"]),
            device: params.get("device").map(Device::from_value),
            token: secret(auth, "token"),
            password: secret(auth, "password"),
            device_token: secret(auth, "deviceToken"),
            bootstrap_token: secret(auth, "bootstrapToken"),
        }
    }

    pub(super) fn is(&self, id: &str, mode: &str) -> bool {
        self.client_id == id && self.client_mode == mode
    }

    pub(super) fn is_webchat(&self) -> bool {
        self.client_mode == "webchat" || self.client_id == "webchat-ui"
    }
}

impl Device {
    fn from_value(value: &Value) -> Self {
        Self {
            id: text(value, "id").unwrap_or_default(),
            public_key: text(value, "publicKey").unwrap_or_default(),
            signature: text(value, "signature").unwrap_or_default(),
            signed_at: value["signedAt"].as_i64().unwrap_or_default(),
            nonce: text(value, "nonce"),
        }
    }
}

fn text(value: &Value, key: &str) -> Option<String> {
    value.get(key)?.as_str().map(str::to_owned)
}

/// An empty credential counts as none.
fn secret(value: &Value, key: &str) -> Option<String> {
    text(value, key).filter(|secret| !secret.trim().is_empty())
}

fn texts(value: &Value) -> Vec<String> {
    let items = value.as_array().into_iter().flatten();
    items.filter_map(Value::as_str).map(str::to_owned).collect()
}
