use std::sync::OnceLock;

use serde_json::Value;

use super::Choices;
use crate::delegate::Delegate;
use crate::handshake::message::fuzz::{any_claims, usual_claims};
use crate::handshake::message::{Answer, Claims, Connect, Hello, challenge};
use crate::handshake::object::Object;
use crate::identity::proof::{PayloadVersion, ProofRules, verify};
use crate::rewrite::{self, SharedSecret};
use crate::secret::Secret;

/// A client's first message, rewritten: it says what it said, but for what a delegated session has to say otherwise, and
/// its new signature holds. Read as the gateway's answer, it keeps nothing that was issued to the delegate. Either is
/// read the same whether it is written as usual or not.
pub fn connect(data: &[u8]) {
    let mut choices = Choices(data);
    let how = choices.byte();
    let secret = match how & 3 {
        1 => Some(SharedSecret::Token(Secret::new("the shared token"))),
        2 => Some(SharedSecret::Password(Secret::new("the shared password"))),
        _ => None,
    };
    let text = choices.0;
    let _ = challenge(text);
    assert_read_alike(text);
    assert_no_token_is_shown(text);
    let Ok(mut original) = Connect::parse(text) else {
        return;
    };
    if how & 4 != 0 {
        original = narrowed(&original);
    }
    let rewritten = rewrite::connect(&original, delegate(), NONCE, NOW, secret.as_ref());
    let sent = Connect::parse(&rewritten).unwrap();

    let device = sent.claims.device.clone().unwrap();
    let proven = verify(&sent.claims, &device, NONCE, NOW, RULES);
    assert_eq!(proven, Ok(PayloadVersion::V2));
    assert_eq!(device.id, delegate().device_id().as_str());
    // What is no number for this side, as 1e999, is one for a gateway, and goes on as it is.
    if let Ok(mut before) = serde_json::from_slice::<Value>(text) {
        if how & 4 != 0 {
            before["params"]["scopes"] = serde_json::json!(original.claims.scopes);
        }
        let after = serde_json::from_slice(&rewritten).unwrap();
        assert_same_but(&before, &after, secret.is_some(), "");
        answer(&original, &before);
    }

    assert_eq!(sent.claims.request_id, original.claims.request_id);
    assert_eq!(sent.claims.scopes, original.claims.scopes);
    assert_eq!(sent.claims.role, original.claims.role);
}

/// The request for fewer scopes, which is the same in everything else.
fn narrowed(original: &Connect) -> Connect {
    let fewer: Vec<String> = original.claims.scopes.iter().skip(1).cloned().collect();
    let narrowed = original.for_scopes(fewer);
    let read = Connect::parse(narrowed.message().to_text().as_bytes()).unwrap();
    assert!(read.claims == narrowed.claims);
    narrowed
}

/// What is read of a message without looking at all of it is what a look at all of it finds.
fn assert_read_alike(text: &[u8]) {
    let (Ok(text), Ok(message)) = (
        std::str::from_utf8(text),
        serde_json::from_slice::<Value>(text),
    ) else {
        return;
    };
    if let Some(usual) = usual_claims(text) {
        assert!(any_claims(text).as_ref() == Ok(&usual));
    }
    let id = message.get("id").and_then(Value::as_str);
    let id = id.unwrap_or_default();
    if let Some(usual) = Hello::parse(text.as_bytes(), id) {
        let Some(Answer::Hello(whole)) = Answer::parse(text.as_bytes(), id) else {
            unreachable!("it is a hello-ok for one reader, and none for the other")
        };
        for part in ["/payload/server", "/payload/auth"] {
            let told = |value: &Value| value.pointer(part).filter(|part| !part.is_null()).cloned();
            assert_eq!(told(usual.told()), told(&whole));
        }
        let claims = Claims::default();
        let shown =
            |hello: Hello| -> Value { serde_json::from_str(&hello.of_delegated(&claims)).unwrap() };
        assert_eq!(shown(usual), shown(Hello::from(whole)));
    }
}

/// Whatever else an answer says, and whether that can be read or not.
fn assert_no_token_is_shown(text: &[u8]) {
    let id = std::str::from_utf8(text).ok().and_then(|text| {
        let id = Object::parse(text)?.get("id")?.to_owned();
        serde_json::from_str::<String>(&id).ok()
    });
    let Some(hello) = id.and_then(|id| Hello::parse(text, &id)) else {
        return;
    };
    let shown = hello.of_delegated(&Claims::default());
    let payload = Object::parse(&shown).unwrap().object("payload").unwrap();
    if let Some(auth) = payload.object("auth") {
        assert_eq!(auth.get("deviceToken"), None);
        assert_eq!(auth.get("scopes"), Some("[]"));
    }
}

/// The same message as what a gateway might answer: shown to the client, it holds no token.
fn answer(original: &Connect, message: &Value) {
    let params = message.get("params").cloned().unwrap_or_default();
    let mut hello = serde_json::json!({
        "type": "res", "id": original.claims.request_id, "ok": true, "payload": params,
    });
    let before = hello.clone();
    rewrite::hello(&mut hello, &original.claims);
    let bytes = hello.to_string();
    let Some(Answer::Hello(shown)) = Answer::parse(bytes.as_bytes(), &original.claims.request_id)
    else {
        unreachable!("it is still the answer")
    };
    let auth = |message: &Value| message.pointer("/payload/auth").cloned();
    if let Some(Value::Object(auth)) = auth(&shown) {
        let allowed = ["method", "role", "scopes"];
        assert!(auth.keys().all(|key| allowed.contains(&key.as_str())));
    }
    let without = |mut message: Value| {
        if let Some(payload) = message.get_mut("payload").and_then(Value::as_object_mut) {
            payload.shift_remove("auth");
        }
        message
    };
    assert_eq!(without(before), without(shown));
}

/// Whether two messages differ in what a rewriting changes and in nothing else, not even in the order of keys.
fn assert_same_but(before: &Value, after: &Value, auth: bool, path: &str) {
    let changes = match path {
        "/params/device" | "/params/client/platform" => true,
        "/params/auth" => auth,
        _ => false,
    };
    if changes {
        return;
    }
    let (Value::Object(before), Value::Object(after)) = (before, after) else {
        assert_eq!(before, after, "{path}");
        return;
    };
    let named = |key: &&String| {
        let added = match path {
            "/params" => *key == "device" || (auth && *key == "auth"),
            "/params/client" => *key == "deviceFamily",
            _ => false,
        };
        !added
    };
    let keys: Vec<_> = before.keys().filter(named).collect();
    assert_eq!(
        keys,
        after.keys().filter(named).collect::<Vec<_>>(),
        "{path}"
    );
    if path == "/params/client" {
        assert!(!after.contains_key("deviceFamily"));
    }
    for (key, value) in before {
        if let Some(other) = after.get(key) {
            // A key with a slash in it is another path, whatever it imitates.
            let path = match key.contains('/') {
                true => "?".to_owned(),
                false => format!("{path}/{key}"),
            };
            assert_same_but(value, other, auth, &path);
        }
    }
}

fn delegate() -> &'static Delegate {
    static DELEGATE: OnceLock<Delegate> = OnceLock::new();
    DELEGATE.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        Delegate::load_or_create(directory.path()).unwrap()
    })
}

const NONCE: &str = "the nonce";
const NOW: i64 = 1_795_354_637_845;
const RULES: ProofRules = ProofRules {
    skew_ms: 0,
    allow_v1: false,
    allow_v3: true,
};
