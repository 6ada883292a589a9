//! What a rewritten session sends and shows instead of the original.
//!
//! Towards the gateway: the delegate's device, its constant platform, and the shared secret where the client's own
//! device token was its credential. Towards the client: its scopes, and never the delegate's token. Everything else,
//! known or not, stays as and where it was.

use serde_json::{Map, Value, json};

use crate::delegate::{Delegate, PLATFORM};
use crate::handshake::message::{AuthClaims, Claims, Connect, DeviceProof};
use crate::secret::Secret;

/// The secret that everyone who may talk to the gateway shares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SharedSecret {
    /// `gateway.auth.token`.
    Token(Secret),
    /// `gateway.auth.password`.
    Password(Secret),
}

/// The same request, made by the delegate: the text of the message for the gateway.
///
/// `replace_auth` is the secret to send instead of the client's own device token, which belongs to its device alone.
#[must_use]
pub fn connect(
    original: &Connect,
    delegate: &Delegate,
    nonce: &str,
    now_ms: i64,
    replace_auth: Option<&SharedSecret>,
) -> Vec<u8> {
    let claims = delegated_claims(&original.claims, replace_auth);
    let device = delegate.prove(&claims, nonce, now_ms);
    let (mut message, mut params) = (original.message(), original.params());
    params.set("device", &device_json(&device));
    if let Some(mut client) = params.object("client") {
        client.set("platform", &PLATFORM);
        client.retain(|name| name != "deviceFamily");
        params.set("client", &client);
    }
    if let Some(secret) = replace_auth {
        params.set("auth", &auth_json(secret));
    }
    message.set("params", &params);
    message.to_text().into_bytes()
}

/// What the delegate claims: what the client claimed, with the fields that [`connect`] changes.
fn delegated_claims(original: &Claims, replace_auth: Option<&SharedSecret>) -> Claims {
    let mut claims = original.clone();
    PLATFORM.clone_into(&mut claims.platform);
    claims.device_family = None;
    if let Some(secret) = replace_auth {
        claims.auth = match secret {
            SharedSecret::Token(token) => AuthClaims {
                token: Some(token.reveal().to_owned()),
                ..AuthClaims::default()
            },
            SharedSecret::Password(_) => AuthClaims::default(),
        };
    }
    claims
}

/// `params.device` as gateways want it.
#[must_use]
pub fn device_json(device: &DeviceProof) -> Value {
    json!({
        "id": device.id,
        "publicKey": device.public_key,
        "signature": device.signature,
        "signedAt": device.signed_at_ms,
        "nonce": device.nonce,
    })
}

/// `params.auth` with the shared secret.
#[must_use]
pub fn auth_json(secret: &SharedSecret) -> Value {
    match secret {
        SharedSecret::Token(token) => json!({"token": token.reveal()}),
        SharedSecret::Password(password) => json!({"password": password.reveal()}),
    }
}

/// Makes the `hello-ok` of a delegated session the client's own: `auth` says the session's role and scopes, and
/// keeps nothing that was issued to the delegate, above all no token: the client would store it as its own.
pub fn hello(message: &mut Value, claims: &Claims) {
    let Some(auth) = message
        .get_mut("payload")
        .and_then(|payload| payload.get_mut("auth"))
        .and_then(Value::as_object_mut)
    else {
        return;
    };
    auth.retain(|key, _| HELLO_AUTH_OF_THE_SESSION.contains(&key.as_str()));
    set(auth, "role", json!(claims.role));
    set(auth, "scopes", json!(claims.scopes));
}

fn set(object: &mut Map<String, Value>, key: &str, value: Value) {
    object.insert(key.to_owned(), value);
}

/// The keys of `hello-ok.auth` that speak of the session and not of the device: what gateways from 2026.4.21 send to
/// a session without a device.
const HELLO_AUTH_OF_THE_SESSION: [&str; 3] = ["method", "role", "scopes"];

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;
    use crate::identity::proof::{PayloadVersion, ProofRules, verify};

    const RULES: ProofRules = ProofRules {
        skew_ms: 0,
        allow_v1: false,
        allow_v3: true,
    };

    fn delegate() -> (tempfile::TempDir, Delegate) {
        let dir = tempfile::tempdir().unwrap();
        let delegate = Delegate::load_or_create(dir.path()).unwrap();
        (dir, delegate)
    }

    fn original() -> Value {
        json!({"type": "req", "zeta": 1, "id": "c1", "method": "connect", "params": {
            "minProtocol": 3, "maxProtocol": 3, "ütopia": [1.5, null],
            "client": {"id": "cli", "buildId": "b", "platform": "darwin", "deviceFamily": "mac", "mode": "cli"},
            "device": {"id": "x", "publicKey": "y", "signature": "z", "signedAt": 1, "nonce": "n"},
            "role": "operator", "scopes": ["operator.write", "operator.read"],
            "auth": {"token": "shared"}, "locale": "de"}})
    }

    fn rewritten(message: &Value, secret: Option<&SharedSecret>) -> Value {
        let (_dir, delegate) = delegate();
        let connect_message = Connect::parse(message.to_string().as_bytes()).unwrap();
        serde_json::from_slice(&connect(&connect_message, &delegate, "nonce", 5, secret)).unwrap()
    }

    /// The paths at which two values differ, and the order of keys wherever it does.
    fn differences(path: &str, left: &Value, right: &Value, found: &mut Vec<String>) {
        let (Some(a), Some(b)) = (left.as_object(), right.as_object()) else {
            if left != right {
                found.push(path.to_owned());
            }
            return;
        };
        let common: Vec<_> = a.keys().filter(|key| b.contains_key(*key)).collect();
        let order: Vec<_> = b.keys().filter(|key| a.contains_key(*key)).collect();
        assert_eq!(common, order, "order of keys at {path}");
        for key in a.keys().chain(b.keys().filter(|key| !a.contains_key(*key))) {
            let null = Value::Null;
            let inner = (a.get(key).unwrap_or(&null), b.get(key).unwrap_or(&null));
            differences(&format!("{path}/{key}"), inner.0, inner.1, found);
        }
    }

    #[test]
    fn only_device_platform_and_family_change() {
        let message = original();
        let mut found = Vec::new();
        differences("", &message, &rewritten(&message, None), &mut found);
        assert_eq!(
            found,
            [
                "/params/client/platform",
                "/params/client/deviceFamily",
                "/params/device/id",
                "/params/device/publicKey",
                "/params/device/signature",
                "/params/device/signedAt",
                "/params/device/nonce",
            ]
        );
    }

    #[test]
    fn a_device_token_is_replaced_by_the_shared_secret() {
        let mut message = original();
        message["params"]["auth"] = json!({"deviceToken": "its own"});
        let token = rewritten(&message, Some(&SharedSecret::Token(Secret::new("shared"))));
        assert_eq!(token["params"]["auth"], json!({"token": "shared"}));
        let password = rewritten(&message, Some(&SharedSecret::Password(Secret::new("pw"))));
        assert_eq!(password["params"]["auth"], json!({"password": "pw"}));
    }

    #[test]
    fn the_signature_covers_what_is_really_sent() {
        let mut message = original();
        for secret in [None, Some(SharedSecret::Token(Secret::new("other")))] {
            let sent = Connect::parse(rewritten(&message, secret.as_ref()).to_string().as_bytes())
                .unwrap();
            let device = sent.claims.device.clone().unwrap();
            assert_eq!(
                verify(&sent.claims, &device, "nonce", 5, RULES),
                Ok(PayloadVersion::V2)
            );
        }
        message["params"]
            .as_object_mut()
            .unwrap()
            .shift_remove("device");
        let sent = Connect::parse(rewritten(&message, None).to_string().as_bytes()).unwrap();
        assert!(
            sent.claims.device.is_some(),
            "a session without a device gets the delegate's"
        );
    }

    #[test]
    fn a_client_never_sees_what_was_issued_to_the_delegate() {
        let claims = Connect::parse(original().to_string().as_bytes())
            .unwrap()
            .claims;
        let mut message = json!({"type": "res", "id": "c1", "ok": true, "payload": {"type": "hello-ok", "auth": {
            "deviceToken": "secret", "deviceTokens": [{"deviceToken": "secret"}], "method": "token",
            "role": "operator", "scopes": ["operator.admin"], "issuedAtMs": 1, "recoveryScope": "r"}}});
        hello(&mut message, &claims);
        assert_eq!(
            message["payload"]["auth"],
            json!({"method": "token", "role": "operator", "scopes": ["operator.write", "operator.read"]})
        );
    }
}
