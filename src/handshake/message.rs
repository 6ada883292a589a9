//! The three messages of a handshake: challenge, `connect` request, answer.
//!
//! Parsed for what the shim has to know; every field it does not know stays in the text, in its place.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod hello;
mod usual;

use serde_json::{Map, Value};
use thiserror::Error;

use super::object::Object;
use crate::scope::ScopeSet;

pub use hello::Hello;

/// A `connect` request: `{type:"req", id, method:"connect", params}`, the first frame of every client.
#[derive(Clone)]
pub struct Connect {
    /// The whole message as it came.
    text: String,
    /// What it claims.
    pub claims: Claims,
}

/// Without the message, which holds secrets.
impl std::fmt::Debug for Connect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connect")
            .field("claims", &self.claims)
            .finish_non_exhaustive()
    }
}

/// Who a client says it is and what it asks for.
#[derive(Clone, Debug, Default)]
#[cfg_attr(any(test, fuzzing), derive(PartialEq))]
pub struct Claims {
    /// The request's id; the answer carries the same.
    pub request_id: String,
    /// `params.minProtocol` and `params.maxProtocol`.
    pub protocol: (Option<i64>, Option<i64>),
    /// `params.role`; the gateway takes `operator` where it is missing.
    pub role: String,
    /// `params.scopes` in the order sent: the order is part of what is signed.
    pub scopes: Vec<String>,
    /// `params.client.id`, one of a closed list of names.
    pub client_id: String,
    /// `params.client.mode`.
    pub client_mode: String,
    /// `params.client.version`.
    pub client_version: Option<String>,
    /// `params.client.platform`.
    pub platform: String,
    /// `params.client.deviceFamily`.
    pub device_family: Option<String>,
    /// `params.device`: the proof of a device identity.
    pub device: Option<DeviceProof>,
    /// `params.auth`.
    pub auth: AuthClaims,
}

/// `params.device`.
#[derive(Clone, Debug)]
#[cfg_attr(any(test, fuzzing), derive(PartialEq))]
pub struct DeviceProof {
    /// The device id that is claimed.
    pub id: String,
    /// The public key, base64url or PEM.
    pub public_key: String,
    /// The signature, base64url.
    pub signature: String,
    /// When it was signed, in milliseconds since the epoch.
    pub signed_at_ms: i64,
    /// The challenge's nonce; optional up to 2026.2.21.
    pub nonce: Option<String>,
}

/// `params.auth`.
#[derive(Clone, Default)]
#[cfg_attr(any(test, fuzzing), derive(PartialEq))]
pub struct AuthClaims {
    /// The shared token; up to 2026.2.21 clients send a device token here too.
    pub token: Option<String>,
    /// The shared password.
    pub password: Option<String>,
    /// The device's own token (from 2026.2.26).
    pub device_token: Option<String>,
    /// A one-time token of a setup code (from 2026.3.13).
    pub bootstrap_token: Option<String>,
    /// Whether there is a credential that the shim does not know.
    pub has_unknown: bool,
}

impl AuthClaims {
    /// The token that a device signs: the first of shared, device and bootstrap token, else nothing.
    #[must_use]
    pub fn signed_token(&self) -> &str {
        self.token
            .as_deref()
            .or(self.device_token.as_deref())
            .or(self.bootstrap_token.as_deref())
            .unwrap_or_default()
    }
}

/// Shows which credentials are there, never what they are.
impl std::fmt::Debug for AuthClaims {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthClaims")
            .field("token", &self.token.is_some())
            .field("password", &self.password.is_some())
            .field("device_token", &self.device_token.is_some())
            .field("bootstrap_token", &self.bootstrap_token.is_some())
            .field("has_unknown", &self.has_unknown)
            .finish()
    }
}

/// Why a client's first message is none of the shim's business; the gateway answers it as it likes.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum NotConnect {
    /// Not JSON, or JSON that only a more lenient parser takes.
    #[error("the first message is not JSON")]
    NotJson,
    /// Another request, or no request at all.
    #[error("the first message is not a connect request")]
    OtherMessage,
    /// A field that the gateway's schema refuses.
    #[error("the connect request has a field of the wrong type")]
    Malformed,
}

impl Connect {
    /// Reads a client's first message.
    ///
    /// # Errors
    ///
    /// When it is not a well-formed `connect` request; then it belongs to the gateway, untouched.
    pub fn parse(payload: &[u8]) -> Result<Self, NotConnect> {
        let text = std::str::from_utf8(payload).map_err(|_| NotConnect::NotJson)?;
        let claims = usual::connect(text).map_or_else(|| unusual(text), Ok)?;
        Ok(Self {
            text: text.to_owned(),
            claims,
        })
    }

    /// The whole message.
    #[must_use]
    pub fn message(&self) -> Object<'_> {
        Object::parse(&self.text).unwrap_or_default()
    }

    /// The `params` object.
    #[must_use]
    pub fn params(&self) -> Object<'_> {
        self.message().object("params").unwrap_or_default()
    }

    /// The same request for these scopes.
    #[must_use]
    pub fn for_scopes(&self, scopes: Vec<String>) -> Self {
        let (mut message, mut params) = (self.message(), self.params());
        params.set("scopes", &scopes);
        message.set("params", &params);
        Self {
            text: message.to_text(),
            claims: Claims {
                scopes,
                ..self.claims.clone()
            },
        }
    }
}

/// The claims of a request that is not written as usual.
fn unusual(message: &str) -> Result<Claims, NotConnect> {
    let message: Value = serde_json::from_str(message).map_err(|_| NotConnect::NotJson)?;
    if text(&message, "type") != Some("req") || text(&message, "method") != Some("connect") {
        return Err(NotConnect::OtherMessage);
    }
    claims(&message).ok_or(NotConnect::Malformed)
}

impl Claims {
    /// The requested scopes as a set.
    #[must_use]
    pub fn requested(&self) -> ScopeSet {
        self.scopes.iter().map(String::as_str).collect()
    }

    /// Whether the client wants to be an operator.
    #[must_use]
    pub fn is_operator(&self) -> bool {
        self.role == OPERATOR
    }
}

/// `None` where a field has another type than the gateway's schema allows.
fn claims(message: &Value) -> Option<Claims> {
    let params = message.get("params")?.as_object()?;
    let client = params.get("client")?.as_object()?;
    Some(Claims {
        request_id: message.get("id")?.as_str()?.to_owned(),
        protocol: (number(params, "minProtocol"), number(params, "maxProtocol")),
        role: optional_text(params, "role")?.unwrap_or_else(|| OPERATOR.to_owned()),
        scopes: texts(params.get("scopes"))?,
        client_id: optional_text(client, "id")??,
        client_mode: optional_text(client, "mode")??,
        client_version: optional_text(client, "version")?,
        platform: optional_text(client, "platform")??,
        device_family: optional_text(client, "deviceFamily")?,
        device: match params.get("device") {
            None => None,
            Some(device) => Some(device_proof(device.as_object()?)?),
        },
        auth: match params.get("auth") {
            None => AuthClaims::default(),
            Some(auth) => auth_claims(auth.as_object()?)?,
        },
    })
}

fn device_proof(device: &Map<String, Value>) -> Option<DeviceProof> {
    Some(DeviceProof {
        id: optional_text(device, "id")??,
        public_key: optional_text(device, "publicKey")??,
        signature: optional_text(device, "signature")??,
        signed_at_ms: device.get("signedAt")?.as_i64()?,
        nonce: optional_text(device, "nonce")?,
    })
}

fn auth_claims(auth: &Map<String, Value>) -> Option<AuthClaims> {
    const KNOWN: [&str; 4] = ["token", "password", "deviceToken", "bootstrapToken"];
    Some(AuthClaims {
        token: optional_text(auth, "token")?,
        password: optional_text(auth, "password")?,
        device_token: optional_text(auth, "deviceToken")?,
        bootstrap_token: optional_text(auth, "bootstrapToken")?,
        has_unknown: auth.keys().any(|key| !KNOWN.contains(&key.as_str())),
    })
}

/// `Some(None)` where there is no such field, `None` where it is not text.
#[expect(
    clippy::option_option,
    reason = "absent and wrong are two things, and `?` tells them apart"
)]
fn optional_text(object: &Map<String, Value>, key: &str) -> Option<Option<String>> {
    match object.get(key) {
        None => Some(None),
        Some(value) => Some(Some(value.as_str()?.to_owned())),
    }
}

fn number(object: &Map<String, Value>, key: &str) -> Option<i64> {
    object.get(key)?.as_i64()
}

fn texts(list: Option<&Value>) -> Option<Vec<String>> {
    let Some(list) = list else {
        return Some(Vec::new());
    };
    list.as_array()?
        .iter()
        .map(|item| item.as_str().map(str::to_owned))
        .collect()
}

fn text<'a>(message: &'a Value, key: &str) -> Option<&'a str> {
    message.get(key)?.as_str()
}

/// The challenge, if `payload` is a `connect.challenge` event: `{type:"event", event:"connect.challenge",
/// payload:{nonce, ts}}`, the first message of every gateway from 2026.2.17 to 2026.9.6.
#[must_use]
pub fn challenge(payload: &[u8]) -> Option<Challenge> {
    let message: Value = serde_json::from_slice(payload).ok()?;
    let is_challenge = text(&message, "type") == Some("event")
        && text(&message, "event") == Some("connect.challenge");
    is_challenge.then_some(())?;
    let payload = message.get("payload")?;
    Some(Challenge {
        nonce: payload.get("nonce")?.as_str()?.to_owned(),
        ts_ms: payload.get("ts").and_then(Value::as_i64),
    })
}

/// A `connect.challenge`.
#[derive(Clone, PartialEq, Eq)]
pub struct Challenge {
    /// What the client has to sign.
    pub nonce: String,
    /// The gateway's clock, in milliseconds since the epoch.
    pub ts_ms: Option<i64>,
}

/// Without the nonce.
impl std::fmt::Debug for Challenge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Challenge")
            .field("ts_ms", &self.ts_ms)
            .finish_non_exhaustive()
    }
}

/// The gateway's answer to a `connect` request.
#[derive(Clone, Debug)]
pub enum Answer {
    /// `hello-ok`: the whole message.
    Hello(Value),
    /// The whole message of a refusal.
    Refused {
        /// The whole message.
        message: Value,
        /// What it says.
        refusal: Refusal,
    },
}

/// `error` of a refused handshake.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    /// `error.code`, such as `NOT_PAIRED`.
    pub code: String,
    /// `error.message`.
    pub message: String,
    /// `error.details.code` (from 2026.2.26), such as `PAIRING_REQUIRED`.
    pub details_code: Option<String>,
    /// `error.details.reason`, such as `scope-upgrade`.
    pub reason: Option<String>,
    /// `error.details.requestId`: the pairing request that waits for approval.
    pub request_id: Option<String>,
}

impl Answer {
    /// Reads a gateway's message, if it is the answer to the request `request_id`.
    #[must_use]
    pub fn parse(payload: &[u8], request_id: &str) -> Option<Self> {
        let message: Value = serde_json::from_slice(payload).ok()?;
        if text(&message, "type") != Some("res") || text(&message, "id") != Some(request_id) {
            return None;
        }
        if message.get("ok").and_then(Value::as_bool) == Some(true) {
            return Some(Self::Hello(message));
        }
        let refusal = refusal(message.get("error").unwrap_or(&Value::Null));
        Some(Self::Refused { message, refusal })
    }
}

/// Reads `error` of a refused handshake.
pub(crate) fn refusal(error: &Value) -> Refusal {
    let details = error.get("details").unwrap_or(&Value::Null);
    let owned = |value: &Value, key: &str| text(value, key).map(str::to_owned);
    Refusal {
        code: owned(error, "code").unwrap_or_default(),
        message: owned(error, "message").unwrap_or_default(),
        details_code: owned(details, "code"),
        reason: owned(details, "reason"),
        request_id: owned(details, "requestId"),
    }
}

impl Refusal {
    /// Whether the gateway wants a human to approve something.
    ///
    /// Up to 2026.2.21 only `error.code` says so, from 2026.2.26 `details.code` too.
    #[must_use]
    pub fn wants_pairing(&self) -> bool {
        match self.details_code.as_deref() {
            Some(code) => code == "PAIRING_REQUIRED",
            None => self.code == "NOT_PAIRED" && self.message.starts_with("pairing required"),
        }
    }

    /// Whether the device's own token was found too narrow, and to hold otherwise.
    #[must_use]
    pub fn says_token_is_narrow(&self) -> bool {
        self.details_code.as_deref() == Some("AUTH_SCOPE_MISMATCH")
    }

    /// Whether the device's own token was found too narrow: said as such from 2026.6.11, before that as a mismatch.
    #[must_use]
    pub fn blames_device_token(&self) -> bool {
        match self.details_code.as_deref() {
            Some("AUTH_SCOPE_MISMATCH" | "AUTH_DEVICE_TOKEN_MISMATCH" | "AUTH_TOKEN_MISMATCH") => {
                true
            }
            Some(_) => false,
            None => self.message.contains("token mismatch"),
        }
    }
}

/// The role of everyone who is not a node.
pub const OPERATOR: &str = "operator";

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use serde_json::json;

    use super::*;

    fn parse(message: &Value) -> Result<Connect, NotConnect> {
        Connect::parse(message.to_string().as_bytes())
    }

    fn minimal() -> Value {
        json!({"type": "req", "id": "1", "method": "connect", "params": {
            "minProtocol": 3, "maxProtocol": 3,
            "client": {"id": "cli", "version": "1", "platform": "linux", "mode": "cli"}}})
    }

    #[test]
    fn what_is_missing_is_what_the_gateway_takes_for_it() {
        let claims = parse(&minimal()).unwrap().claims;
        assert_eq!(claims.role, "operator");
        assert!(claims.scopes.is_empty());
        assert!(claims.device.is_none());
        assert_eq!(claims.auth.signed_token(), "");
    }

    #[test]
    fn fields_of_the_wrong_type_leave_the_message_to_the_gateway() {
        for (pointer, wrong) in [
            ("/params/scopes", json!("operator.admin")),
            ("/params/scopes", json!(["operator.admin", 1])),
            ("/params/role", json!(null)),
            ("/params/client/id", json!(7)),
            ("/params/device", json!([])),
            ("/params/auth", json!("token")),
            ("/id", json!(1)),
        ] {
            let mut message = minimal();
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            message.pointer_mut(parent).unwrap()[key] = wrong.clone();
            assert_eq!(
                parse(&message).unwrap_err(),
                NotConnect::Malformed,
                "{pointer} = {wrong}"
            );
        }
    }

    #[test]
    fn other_messages_are_not_taken_for_a_connect() {
        assert_eq!(Connect::parse(b"hello").unwrap_err(), NotConnect::NotJson);
        assert_eq!(parse(&json!([])).unwrap_err(), NotConnect::OtherMessage);
        assert_eq!(
            parse(&json!({"type": "req", "id": "1", "method": "health"})).unwrap_err(),
            NotConnect::OtherMessage
        );
    }

    #[test]
    fn the_signed_token_is_the_first_that_is_sent() {
        let mut message = minimal();
        message["params"]["auth"] = json!({"deviceToken": "d", "bootstrapToken": "b"});
        assert_eq!(parse(&message).unwrap().claims.auth.signed_token(), "d");
        message["params"]["auth"]["token"] = json!("t");
        assert_eq!(parse(&message).unwrap().claims.auth.signed_token(), "t");
    }

    #[test]
    fn credentials_never_show_in_debug_output() {
        let mut message = minimal();
        message["params"]["auth"] = json!({"token": "hush", "password": "hush"});
        assert!(!format!("{:?}", parse(&message).unwrap().claims).contains("hush"));
    }

    #[test]
    fn only_the_answer_to_this_request_is_an_answer() {
        let hello = json!({"type": "res", "id": "1", "ok": true, "payload": {"type": "hello-ok"}})
            .to_string();
        assert!(matches!(
            Answer::parse(hello.as_bytes(), "1"),
            Some(Answer::Hello(_))
        ));
        assert!(Answer::parse(hello.as_bytes(), "2").is_none());
        assert!(Answer::parse(br#"{"type":"event","event":"tick"}"#, "1").is_none());
    }

    #[test]
    fn a_pairing_refusal_is_known_in_the_shape_of_every_generation() {
        let old = refusal(
            &json!({"code": "NOT_PAIRED", "message": "pairing required", "details": {"requestId": "r"}}),
        );
        assert!(old.wants_pairing());
        assert_eq!(old.request_id.as_deref(), Some("r"));
        let new = refusal(
            &json!({"code": "NOT_PAIRED", "message": "pairing required: device is asking for more scopes",
            "details": {"code": "PAIRING_REQUIRED", "reason": "scope-upgrade"}}),
        );
        assert!(new.wants_pairing());
        assert_eq!(new.reason.as_deref(), Some("scope-upgrade"));
        let identity =
            refusal(&json!({"code": "NOT_PAIRED", "message": "device identity required"}));
        assert!(!identity.wants_pairing());
    }

    #[test]
    fn the_nonce_is_read_from_a_challenge_alone() {
        let challenge =
            br#"{"type":"event","event":"connect.challenge","payload":{"nonce":"n","ts":1}}"#;
        assert_eq!(super::challenge(challenge).unwrap().nonce, "n");
        assert_eq!(
            super::challenge(br#"{"type":"event","event":"tick","payload":{"nonce":"n"}}"#),
            None
        );
    }
}
