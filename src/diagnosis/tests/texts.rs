//! Whatever a client or a gateway writes, no diagnosis is misled by it.

use proptest::prelude::*;
use serde_json::json;

use super::scene::{Scene, scene};
use crate::identity::Unidentified;
use crate::ws::close::MAX_REASON;

const CODES: [&str; 28] = [
    "",
    "PAIRING_REQUIRED",
    "AUTH_REQUIRED",
    "AUTH_TOKEN_MISSING",
    "AUTH_TOKEN_MISMATCH",
    "AUTH_PASSWORD_MISMATCH",
    "AUTH_DEVICE_TOKEN_MISMATCH",
    "AUTH_SCOPE_MISMATCH",
    "AUTH_BOOTSTRAP_TOKEN_INVALID",
    "AUTH_RATE_LIMITED",
    "AUTH_IDENTITY_HEADER_REQUIRED",
    "AUTH_VERIFIED_USER_REQUIRED",
    "AUTHENTICATED_PROFILE_UNAVAILABLE",
    "AUTH_TOKEN_NOT_CONFIGURED",
    "AUTH_TAILSCALE_PROXY_MISSING",
    "CONTROL_UI_DEVICE_IDENTITY_REQUIRED",
    "DEVICE_IDENTITY_REQUIRED",
    "CONTROL_UI_ORIGIN_NOT_ALLOWED",
    "CONTROL_UI_BUILD_MISMATCH",
    "DEVICE_AUTH_SIGNATURE_EXPIRED",
    "DEVICE_AUTH_SIGNATURE_INVALID",
    "DEVICE_AUTH_NONCE_REQUIRED",
    "DEVICE_AUTH_NONCE_MISMATCH",
    "DEVICE_AUTH_DEVICE_ID_MISMATCH",
    "DEVICE_AUTH_PUBLIC_KEY_INVALID",
    "PROTOCOL_MISMATCH",
    "CLIENT_VERSION_MISMATCH",
    "SOMETHING_NEW",
];

/// Text as an attacker would write it: control characters, the fatal words, credentials.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        ".{0,300}",
        Just("device token mismatch".to_owned()),
        Just("DEVICE TOKEN".to_owned()),
        Just("mismatch".to_owned()),
        Just("device to\u{212a}en mismatch".to_owned()),
        Just("\u{1b}]0;x\u{7}\r\n\u{202e}".to_owned()),
        Just("x a-secret-token-9f8e a-secret-password-9f8e y".to_owned()),
        Just("a-secret-device-token-9f8e".to_owned()),
    ]
}

const SECRETS: [&str; 6] = [
    "a-secret-token-9f8e",
    "a-secret-password-9f8e",
    "a-secret-device-token-9f8e",
    "a-secret-setup-code-9f8e",
    "a-secret-signature-9f8e",
    "a-secret-nonce-9f8e",
];

fn arrange(texts: &[String], code: &str, reason: &str, unknown: bool) -> Scene {
    let [
        id,
        mode,
        version,
        platform,
        scope,
        message,
        origin,
        device,
        request,
        role,
    ] = texts
    else {
        unreachable!("there are ten")
    };
    let error = json!({"code": message, "message": message, "retryAfterMs": 1, "details": {
        "code": (!code.is_empty()).then_some(code), "reason": reason, "requestId": request,
        "approvedScopes": [scope], "approvedRoles": [role], "authReason": message}});
    let scene = scene("2026.9.6", error);
    let scene = if unknown {
        scene.unknown(Unidentified::NotPaired)
    } else {
        scene
    };
    scene.with(|s| {
        s.claims.client_id.clone_from(id);
        s.claims.client_mode.clone_from(mode);
        s.claims.client_version = Some(version.clone());
        s.claims.platform.clone_from(platform);
        s.claims.scopes = vec![scope.clone(); 1000];
        s.claims.scopes.push(role.clone());
        s.claims.role.clone_from(role);
        s.visit.origin = Some(origin.clone());
        s.claims.auth.token = Some(SECRETS[0].to_owned());
        s.claims.auth.password = Some(SECRETS[1].to_owned());
        s.claims.auth.device_token = Some(SECRETS[2].to_owned());
        s.claims.auth.bootstrap_token = Some(SECRETS[3].to_owned());
        let proof = s.claims.device.as_mut().unwrap();
        proof.id.clone_from(device);
        proof.signature = SECRETS[4].to_owned();
        proof.nonce = Some(SECRETS[5].to_owned());
    })
}

proptest! {
    #[test]
    fn no_text_of_a_client_or_gateway_does_harm(
        texts in prop::collection::vec(text(), 10),
        code in prop::sample::select(&CODES[..]),
        reason in prop::sample::select(&["", "not-paired", "scope-upgrade", "role-upgrade", "metadata-upgrade"][..]),
        unknown: bool,
        delegated: bool,
    ) {
        let mut scene = arrange(&texts, code, reason, unknown);
        scene.delegated = delegated;
        let diagnosis = scene.diagnose();
        prop_assert!(diagnosis.short.len() <= MAX_REASON, "{}", diagnosis.short);
        prop_assert!(diagnosis.sentence.len() <= 4096, "{}", diagnosis.sentence.len());
        let data = serde_json::Value::Object(diagnosis.data.clone()).to_string();
        let command = diagnosis.command.clone().unwrap_or_default();
        for text in [&diagnosis.sentence, &diagnosis.short, &command, &data] {
            prop_assert!(!text.chars().any(char::is_control), "{text:?}");
            prop_assert!(!text.to_lowercase().contains("device token mismatch"), "{text}");
            for secret in SECRETS {
                prop_assert!(!text.contains(secret), "{text}");
            }
        }
        if code == "PAIRING_REQUIRED" {
            prop_assert!(diagnosis.short.starts_with("pairing required"));
        }
        // Nothing of the client's may end the quotes of a command, or add another one.
        prop_assert!(!command.contains([';', '$', '`', '|', '&', '\\']), "{command}");
    }
}
