//! Every family, in the words of every generation.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::scene::{DEVICE, NOW_MS, REQUEST, Scene, live, scene};
use crate::device::OperatorToken;
use crate::diagnosis::{Diagnosis, Reached, Silence, no_answer};
use crate::findings::Code;
use crate::gateway::GatewayAuth;
use crate::identity::Unidentified;
use crate::invocation::Invocation;
use crate::scope::WRITE;
use crate::secret::Secret;
use crate::ws::Close;

/// A pairing refusal as the generations send it.
fn pairing(version: &str, reason: &str) -> Value {
    let words = match reason {
        "not-paired" => "device is not approved yet",
        "role-upgrade" => "device is asking for a higher role than currently approved",
        "scope-upgrade" => "device is asking for more scopes than currently approved",
        _ => "device identity changed and must be re-approved",
    };
    if version < "2026.2.22" {
        return json!({"code": "NOT_PAIRED", "message": "pairing required", "details": {"requestId": REQUEST}});
    }
    let mut details = json!({"code": "PAIRING_REQUIRED", "reason": reason, "requestId": REQUEST});
    if version < "2026.4" {
        return json!({"code": "NOT_PAIRED", "message": "pairing required", "details": details});
    }
    details["deviceId"] = DEVICE.into();
    details["approvedRoles"] = json!(["operator"]);
    details["approvedScopes"] = json!(["operator.read"]);
    json!({"code": "NOT_PAIRED", "message": format!("pairing required: {words}"), "details": details})
}

fn refused(message: &str, details: Value) -> Value {
    let mut error = json!({"code": "INVALID_REQUEST", "message": message});
    if !details.is_null() {
        error["details"] = details;
    }
    error
}

fn code(code: &str) -> Value {
    json!({"code": code})
}

const DEVICE_TOKEN: &str = "unauthorized: device token mismatch (rotate/reissue device token)";
const TOKEN: &str = "unauthorized: gateway token mismatch (provide gateway auth token)";
const MISSING: &str = "unauthorized: gateway token missing (provide gateway auth token)";
const ORIGIN: &str = "origin not allowed (open the Control UI from the gateway host or allow it in gateway.controlUi.allowedOrigins)";
const EXTENSION: &str = "chrome-extension://abcdefghijklmnopabcdefghijklmnop";
const NO_DEVICE: &str =
    "control ui requires device identity (use HTTPS or localhost secure context)";

fn wrong_token(scene: Scene) -> Scene {
    scene
        .unknown(Unidentified::Credential)
        .with(|s| s.claims.auth.token = Some("an-old-shared-secret".to_owned()))
}

/// A client of this machine at a gateway that wants a proxy to name its user.
fn past_the_proxy(version: &str, reason: &str) -> Scene {
    let details = match reason {
        "" => Value::Null,
        reason => json!({"code": "AUTH_UNAUTHORIZED", "authReason": reason}),
    };
    scene(version, refused("unauthorized", details))
        .with(|s| s.auth = GatewayAuth::trusted_proxy("x-forwarded-user"))
}

fn bad_setup_code(version: &str) -> Scene {
    let words = "unauthorized: bootstrap token invalid or expired (scan a fresh setup code)";
    scene(
        version,
        refused(words, code("AUTH_BOOTSTRAP_TOKEN_INVALID")),
    )
    .unknown(Unidentified::Credential)
    .with(|s| s.claims.auth.bootstrap_token = Some("a-setup-code".to_owned()))
}

/// The gateway's configuration was read, and holds no token.
fn of_this_run(scene: &mut Scene) {
    scene.auth = GatewayAuth::Unknown;
    scene.facts.auth_from = String::new();
    scene.facts.lacks_token = true;
}

#[expect(clippy::too_many_lines, reason = "it is a table")]
fn table() -> Vec<(&'static str, Scene)> {
    let node = |s: &mut Scene| {
        s.claims.role = "node".to_owned();
        s.claims.scopes = Vec::new();
        s.claims.client_id = "node-host".to_owned();
        s.claims.client_mode = "node".to_owned();
    };
    let proof = |fault: &str, reason: &str| json!({"code": fault, "reason": reason});
    vec![
        (
            "F3, 2026.2.19: a known device asks for more",
            scene("2026.2.19", pairing("2026.2.19", "")),
        ),
        (
            "F3, 2026.2.19: covered, but not by name, and the delegate is away",
            scene("2026.2.19", pairing("2026.2.19", ""))
                .paired(&["operator.admin"], live(&["operator.admin"]))
                .with(|s| s.approver = false),
        ),
        (
            "F3, 2026.3.13: scope-upgrade from afar",
            scene("2026.3.13", pairing("2026.3.13", "scope-upgrade")).afar(),
        ),
        (
            "F3, 2026.5.7: scope-upgrade",
            scene("2026.5.7", pairing("2026.5.7", "scope-upgrade")),
        ),
        (
            "F3, 2026.9.6: scope-upgrade of a device whose credential is the gateway's to judge",
            scene("2026.9.6", pairing("2026.9.6", "scope-upgrade"))
                .unknown(Unidentified::NoChallenge),
        ),
        (
            "not paired, 2026.2.19",
            scene("2026.2.19", pairing("2026.2.19", "")).unknown(Unidentified::NotPaired),
        ),
        (
            "not paired, 2026.9.6",
            scene("2026.9.6", pairing("2026.9.6", "not-paired"))
                .unknown(Unidentified::NotPaired)
                .afar(),
        ),
        (
            "not paired, without a request id that can be shown",
            scene(
                "2026.5.7",
                json!({"code": "NOT_PAIRED", "message": "pairing required", "details":
                    {"code": "PAIRING_REQUIRED", "reason": "not-paired", "requestId": "$(reboot)"}}),
            )
            .unknown(Unidentified::NotPaired),
        ),
        (
            "not paired: the delegate itself",
            scene("2026.9.6", pairing("2026.9.6", "not-paired")).with(|s| s.delegated = true),
        ),
        (
            "role-upgrade, 2026.6.11",
            scene("2026.6.11", pairing("2026.6.11", "role-upgrade")).with(node),
        ),
        (
            "role-upgrade, 2026.2.19",
            scene("2026.2.19", pairing("2026.2.19", "")).with(node),
        ),
        (
            "F12, 2026.9.6: metadata-upgrade",
            scene("2026.9.6", pairing("2026.9.6", "metadata-upgrade"))
                .with(|s| s.claims.platform = "darwin".to_owned()),
        ),
        (
            "F13: many new devices",
            scene("2026.7.1", pairing("2026.7.1", "not-paired"))
                .unknown(Unidentified::NotPaired)
                .with(|s| s.newcomers = 4),
        ),
        (
            "F14: a node",
            scene("2026.3.13", pairing("2026.3.13", "not-paired"))
                .unknown(Unidentified::NotPaired)
                .with(node),
        ),
        (
            "F18: the store has it, the gateway does not",
            scene("2026.7.1", pairing("2026.7.1", "not-paired")),
        ),
        (
            "F18: the gateway has it, the store does not",
            scene("2026.7.1", pairing("2026.7.1", "scope-upgrade"))
                .unknown(Unidentified::NotPaired),
        ),
        (
            "F18: the store cannot be read",
            scene("2026.7.1", pairing("2026.3.13", "scope-upgrade"))
                .unknown(Unidentified::StoreUnreadable),
        ),
        (
            "F1, 2026.6.11: a narrow device token",
            scene(
                "2026.6.11",
                refused("unauthorized: scope mismatch", code("AUTH_SCOPE_MISMATCH")),
            )
            .paired(&["operator.admin"], live(&["operator.read"]))
            .by_device_token(),
        ),
        (
            "F1, 2026.2.19: a narrow device token, called a mismatch",
            scene("2026.2.19", refused(DEVICE_TOKEN, Value::Null)).by_device_token(),
        ),
        (
            "F6, 2026.2.19: a stale token with a device",
            wrong_token(scene("2026.2.19", refused(DEVICE_TOKEN, Value::Null))),
        ),
        (
            "F6, 2026.3.13: a rotated device token",
            scene(
                "2026.3.13",
                refused(DEVICE_TOKEN, code("AUTH_DEVICE_TOKEN_MISMATCH")),
            )
            .by_device_token()
            .unknown(Unidentified::Credential),
        ),
        (
            "F6, 2026.5.7: a revoked device token",
            scene(
                "2026.5.7",
                refused(DEVICE_TOKEN, code("AUTH_DEVICE_TOKEN_MISMATCH")),
            )
            .paired(&["operator.read"], OperatorToken::Revoked)
            .by_device_token()
            .unknown(Unidentified::Credential),
        ),
        (
            "F6, 2026.5.7: a cleared device token",
            scene(
                "2026.5.7",
                refused(DEVICE_TOKEN, code("AUTH_DEVICE_TOKEN_MISMATCH")),
            )
            .paired(&["operator.read"], OperatorToken::None)
            .by_device_token()
            .unknown(Unidentified::Credential),
        ),
        (
            "F6, 2026.9.6: the token on record, under an earlier secret",
            scene(
                "2026.9.6",
                refused(DEVICE_TOKEN, code("AUTH_DEVICE_TOKEN_MISMATCH")),
            )
            .paired(&["operator.admin"], live(&["operator.admin"]))
            .by_device_token(),
        ),
        (
            "F7, 2026.9.6: a wrong token on this machine",
            wrong_token(scene("2026.9.6", refused(TOKEN, code("AUTH_TOKEN_MISMATCH")))),
        ),
        (
            "F7, 2026.9.6: a wrong token in a page",
            wrong_token(scene("2026.9.6", refused(TOKEN, code("AUTH_TOKEN_MISMATCH"))))
                .page("https://chat.example"),
        ),
        (
            "F7, 2026.2.19: a wrong token without a device",
            wrong_token(scene("2026.2.19", refused(TOKEN, Value::Null)))
                .without_device()
                .afar(),
        ),
        (
            "F7: the right token with a line end",
            scene("2026.3.13", refused(TOKEN, code("AUTH_TOKEN_MISMATCH")))
                .unknown(Unidentified::Credential)
                .with(|s| s.claims.auth.token = Some("the-gateways-secret\n".to_owned())),
        ),
        (
            "F7: no credential",
            scene("2026.3.13", refused(MISSING, code("AUTH_TOKEN_MISSING")))
                .unknown(Unidentified::Credential)
                .with(|s| s.claims.auth.token = None),
        ),
        (
            "F7: a password where a token is asked for",
            scene("2026.9.6", refused(TOKEN, code("AUTH_TOKEN_MISMATCH")))
                .unknown(Unidentified::Credential)
                .with(|s| {
                    s.claims.auth.token = None;
                    s.claims.auth.password = Some("a-password".to_owned());
                }),
        ),
        (
            "F7: a wrong password",
            scene(
                "2026.5.7",
                refused(
                    "unauthorized: gateway password mismatch (provide gateway auth password)",
                    code("AUTH_PASSWORD_MISMATCH"),
                ),
            )
            .unknown(Unidentified::Credential)
            .with(|s| {
                s.auth = GatewayAuth::Password(Secret::new("right-password"));
                s.facts.auth_from = "OPENCLAW_GATEWAY_PASSWORD".to_owned();
                s.claims.auth.token = None;
                s.claims.auth.password = Some("wrong-password".to_owned());
            }),
        ),
        (
            "F7: the configured token, and the gateway runs with another",
            scene("2026.3.13", refused(TOKEN, code("AUTH_TOKEN_MISMATCH"))),
        ),
        (
            "F7: the shim's own secret is old",
            scene("2026.3.13", refused(TOKEN, code("AUTH_TOKEN_MISMATCH")))
                .by_device_token()
                .with(|s| s.delegated = true),
        ),
        (
            "F7, 2026.3.13: a setup code",
            scene(
                "2026.3.13",
                refused(
                    "unauthorized: bootstrap token invalid or expired (scan a fresh setup code)",
                    code("AUTH_BOOTSTRAP_TOKEN_INVALID"),
                ),
            )
            .unknown(Unidentified::Credential)
            .with(|s| s.claims.auth.bootstrap_token = Some("a-setup-code".to_owned())),
        ),
        (
            "F7, 2026.9.6: a join code of a node",
            bad_setup_code("2026.9.6").with(node),
        ),
        ("F7, 2026.7.35: a node with a setup code", bad_setup_code("2026.7.35").with(node)),
        (
            "F6, 2026.7.35: an app that pairs with a code",
            scene(
                "2026.7.35",
                refused(DEVICE_TOKEN, code("AUTH_DEVICE_TOKEN_MISMATCH")),
            )
            .by_device_token()
            .unknown(Unidentified::Credential)
            .with(|s| s.claims.client_id = "openclaw-ios".to_owned()),
        ),
        (
            "F1, 2026.7.35: an app with a narrow device token",
            scene(
                "2026.7.35",
                refused("unauthorized: scope mismatch", code("AUTH_SCOPE_MISMATCH")),
            )
            .by_device_token()
            .with(|s| s.claims.client_id = "openclaw-android".to_owned()),
        ),
        (
            "F7, 2026.2.19: a node without a token",
            scene("2026.2.19", refused(MISSING, Value::Null))
                .unknown(Unidentified::Credential)
                .with(node)
                .with(|s| {
                    s.claims.auth.token = None;
                    s.claims.client_version = Some("dev".to_owned());
                }),
        ),
        (
            "F7, 2026.3.13: a node without a token",
            scene("2026.3.13", refused(MISSING, code("AUTH_TOKEN_MISSING")))
                .unknown(Unidentified::Credential)
                .with(node)
                .with(|s| s.claims.auth.token = None),
        ),
        (
            "F7: a gateway without a token of its own",
            scene(
                "2026.9.6",
                refused(
                    "unauthorized: gateway token not configured on gateway (set gateway.auth.token)",
                    code("AUTH_TOKEN_NOT_CONFIGURED"),
                ),
            ),
        ),
        (
            "F7, 2026.2.19: a gateway without a password of its own",
            scene(
                "2026.2.19",
                refused(
                    "unauthorized: gateway password not configured on gateway (set gateway.auth.password)",
                    Value::Null,
                ),
            ),
        ),
        (
            "F7, 2026.9.6: Tailscale vouches for nobody",
            scene(
                "2026.9.6",
                refused(
                    "unauthorized: tailscale identity missing (use Tailscale Serve auth or gateway token/password)",
                    code("AUTH_TAILSCALE_IDENTITY_MISSING"),
                ),
            )
            .unknown(Unidentified::Credential)
            .afar()
            .with(|s| s.claims.auth.token = None),
        ),
        (
            "F7, 2026.9.6: no token, and the gateway made itself one",
            scene("2026.9.6", refused(MISSING, code("AUTH_TOKEN_MISSING")))
                .unknown(Unidentified::Credential)
                .with(|s| s.claims.auth.token = None)
                .with(of_this_run),
        ),
        (
            "F7: a wrong token, and the gateway made itself one",
            wrong_token(scene("2026.9.6", refused(TOKEN, code("AUTH_TOKEN_MISMATCH"))))
                .with(of_this_run)
                .with(|s| s.profile = crate::profile::Profile::default()),
        ),
        (
            "F7, 2026.3.24: no token, and the gateway has written down the one that it made",
            scene("2026.3.24", refused(MISSING, code("AUTH_TOKEN_MISSING")))
                .unknown(Unidentified::Credential)
                .with(|s| s.claims.auth.token = None)
                .with(of_this_run),
        ),
        (
            "F7, 2026.9.6: locked out",
            scene("2026.9.6", {
                let mut error = refused(
                    "unauthorized: too many failed authentication attempts (retry later)",
                    code("AUTH_RATE_LIMITED"),
                );
                error["retryable"] = true.into();
                error["retryAfterMs"] = 299_001.into();
                error
            })
            .afar(),
        ),
        (
            "F7, 2026.5.7: locked out, no time given",
            scene(
                "2026.5.7",
                refused(
                    "unauthorized: too many failed authentication attempts (retry later)",
                    code("AUTH_RATE_LIMITED"),
                ),
            )
            .page("http://localhost:18780")
            .with(|s| s.visit.circumstances.direct_local = true),
        ),
        (
            "F8, 2026.2.19: a page on plain HTTP",
            scene(
                "2026.2.19",
                refused("control ui requires HTTPS or localhost (secure context)", Value::Null),
            )
            .without_device()
            .page("http://192.168.1.5:18789"),
        ),
        (
            "F8, 2026.5.7: a page on plain HTTP",
            scene(
                "2026.5.7",
                refused(NO_DEVICE, code("CONTROL_UI_DEVICE_IDENTITY_REQUIRED")),
            )
            .without_device()
            .page("http://box.lan"),
        ),
        (
            "F8: a page that could",
            scene(
                "2026.5.7",
                refused(NO_DEVICE, code("CONTROL_UI_DEVICE_IDENTITY_REQUIRED")),
            )
            .without_device()
            .page("https://chat.example"),
        ),
        (
            "F8: no page, no device, no credential",
            scene(
                "2026.3.13",
                json!({"code": "NOT_PAIRED", "message": "device identity required",
                    "details": {"code": "DEVICE_IDENTITY_REQUIRED"}}),
            )
            .without_device()
            .with(|s| s.claims.auth.token = None),
        ),
        (
            "F9, 2026.2.19: one more origin",
            scene("2026.2.19", refused(ORIGIN, Value::Null)).page("https://other.example:8443"),
        ),
        (
            "F9, 2026.9.6: the first origin",
            scene("2026.9.6", refused(ORIGIN, code("CONTROL_UI_ORIGIN_NOT_ALLOWED")))
                .page("https://other.example")
                .with(|s| s.facts.allowed_origins = Some(Vec::new())),
        ),
        (
            "F9: the configuration is not known",
            scene("2026.9.6", refused(ORIGIN, code("CONTROL_UI_ORIGIN_NOT_ALLOWED")))
                .page("https://other.example")
                .with(|s| s.facts.allowed_origins = None),
        ),
        (
            "F9, 2026.9.6: an extension's page",
            scene("2026.9.6", refused(ORIGIN, code("CONTROL_UI_ORIGIN_NOT_ALLOWED"))).page(EXTENSION),
        ),
        (
            "F9, 2026.3.13: an extension's page",
            scene("2026.3.13", refused(ORIGIN, code("CONTROL_UI_ORIGIN_NOT_ALLOWED"))).page(EXTENSION),
        ),
        (
            "F9, 2026.2.19: an extension's page",
            scene("2026.2.19", refused(ORIGIN, Value::Null)).page(EXTENSION),
        ),
        (
            "F9: a page that hides where it is from",
            scene("2026.9.6", refused(ORIGIN, code("CONTROL_UI_ORIGIN_NOT_ALLOWED"))).page("null"),
        ),
        (
            "F9: an origin that is none",
            scene("2026.9.6", refused(ORIGIN, code("CONTROL_UI_ORIGIN_NOT_ALLOWED")))
                .page("https://x'; reboot; '"),
        ),
        (
            "F9: no origin at all",
            scene("2026.9.6", refused(ORIGIN, code("CONTROL_UI_ORIGIN_NOT_ALLOWED")))
                .page("x")
                .with(|s| s.visit.origin = None),
        ),
        (
            "F11: no user named",
            scene(
                "2026.5.7",
                refused(
                    "unauthorized",
                    json!({"code": "AUTH_UNAUTHORIZED", "authReason": "trusted_proxy_user_missing"}),
                ),
            )
            .page("https://chat.example")
            .with(|s| {
                s.auth = GatewayAuth::trusted_proxy("x-forwarded-user");
            }),
        ),
        (
            "F11, 2026.4.21: a proxy on loopback",
            scene(
                "2026.4.21",
                refused(
                    "unauthorized",
                    json!({"code": "AUTH_UNAUTHORIZED", "authReason": "trusted_proxy_loopback_source"}),
                ),
            )
            .page("https://chat.example"),
        ),
        (
            "F11, 2026.9.6: a client of this machine past the proxy",
            past_the_proxy("2026.9.6", "trusted_proxy_untrusted_source"),
        ),
        (
            "F11, 2026.9.6: the same where the shim knows of a password",
            past_the_proxy("2026.9.6", "trusted_proxy_loopback_source").with(|s| {
                if let GatewayAuth::TrustedProxy { password, .. } = &mut s.auth {
                    *password = Some(Secret::new("right-password"));
                }
            }),
        ),
        (
            "F11, 2026.9.6: the same without a device",
            scene(
                "2026.9.6",
                json!({"code": "NOT_PAIRED", "message": "device identity required",
                    "details": {"code": "DEVICE_IDENTITY_REQUIRED"}}),
            )
            .without_device()
            .with(|s| s.auth = GatewayAuth::trusted_proxy("x-forwarded-user")),
        ),
        (
            "F11, 2026.3.24: the same, which knows no such password",
            past_the_proxy("2026.3.24", "trusted_proxy_untrusted_source"),
        ),
        (
            "F11, 2026.2.19: the bare word",
            past_the_proxy("2026.2.19", ""),
        ),
        (
            "F11: a header is missing",
            scene(
                "2026.9.6",
                refused(
                    "unauthorized",
                    json!({"code": "AUTH_IDENTITY_HEADER_REQUIRED",
                        "authReason": "trusted_proxy_missing_header_x-team"}),
                ),
            )
            .page("https://chat.example")
            .with(|s| s.auth = GatewayAuth::trusted_proxy("x-forwarded-user")),
        ),
        (
            "F11, 2026.9.6: a proxy on another address of the gateway's machine",
            scene(
                "2026.9.6",
                refused(
                    "unauthorized",
                    json!({"code": "AUTH_UNAUTHORIZED", "authReason": "trusted_proxy_local_interface_source"}),
                ),
            )
            .page("https://chat.example")
            .with(|s| {
                s.auth = GatewayAuth::trusted_proxy("x-forwarded-user");
                s.visit.user = Some("jo".to_owned());
            }),
        ),
        (
            "F11, 2026.9.6: gateway.roles, and a device token",
            scene(
                "2026.9.6",
                refused(
                    "operator role policies require a verified user identity for this authentication method",
                    code("AUTH_VERIFIED_USER_REQUIRED"),
                ),
            )
            .by_device_token(),
        ),
        (
            "F11, 2026.9.6: gateway.roles, and a gateway that asks for nothing",
            scene(
                "2026.9.6",
                refused(
                    "operator role policies require a verified user identity for this authentication method",
                    code("AUTH_VERIFIED_USER_REQUIRED"),
                ),
            )
            .with(|s| s.auth = GatewayAuth::None),
        ),
        (
            "F11, 2026.9.6: a profile that cannot be looked up",
            scene(
                "2026.9.6",
                json!({"code": "UNAVAILABLE", "message": "Authenticated profile verification is unavailable.",
                    "retryable": true, "retryAfterMs": 1000,
                    "details": {"code": "AUTHENTICATED_PROFILE_UNAVAILABLE"}}),
            )
            .page("https://chat.example")
            .with(|s| s.auth = GatewayAuth::trusted_proxy("x-forwarded-user")),
        ),
        (
            "F15, 2026.2.19: the client's clock is behind",
            scene("2026.2.19", refused("device signature expired", Value::Null))
                .afar()
                .with(|s| s.claims.device.as_mut().unwrap().signed_at_ms = NOW_MS - 900_000),
        ),
        (
            "F15, 2026.2.26: the client's clock is ahead",
            scene(
                "2026.3.13",
                refused(
                    "device signature expired",
                    proof("DEVICE_AUTH_INVALID", "device-signature-stale"),
                ),
            )
            .afar()
            .with(|s| {
                s.claims.platform = "MacIntel".to_owned();
                s.claims.device.as_mut().unwrap().signed_at_ms = NOW_MS + 180_000;
            }),
        ),
        (
            "F15: the gateway's clock is ahead",
            scene(
                "2026.9.6",
                refused(
                    "device signature expired",
                    proof("DEVICE_AUTH_SIGNATURE_EXPIRED", "device-signature-stale"),
                ),
            )
            .afar()
            .with(|s| s.gateway_ms = NOW_MS + 300_000),
        ),
        (
            "F15: an old handshake of this machine",
            scene(
                "2026.9.6",
                refused(
                    "device signature expired",
                    proof("DEVICE_AUTH_SIGNATURE_EXPIRED", "device-signature-stale"),
                ),
            )
            .with(|s| s.claims.device.as_mut().unwrap().signed_at_ms = NOW_MS - 200_000),
        ),
        (
            "F15: another signature",
            scene(
                "2026.9.6",
                refused(
                    "device signature invalid",
                    proof("DEVICE_AUTH_SIGNATURE_INVALID", "device-signature"),
                ),
            ),
        ),
        (
            "F15: payload v3 for an early gateway",
            scene("2026.2.19", refused("device signature invalid", Value::Null)),
        ),
        (
            "F15: another nonce",
            scene(
                "2026.9.6",
                refused(
                    "device nonce mismatch",
                    proof("DEVICE_AUTH_NONCE_MISMATCH", "device-nonce-mismatch"),
                ),
            ),
        ),
        (
            "F15: no nonce",
            scene(
                "2026.9.6",
                refused(
                    "invalid connect params: at /device: must have required property 'nonce'",
                    Value::Null,
                ),
            ),
        ),
        (
            "F15: a foreign id",
            scene("2026.2.19", refused("device identity mismatch", Value::Null)),
        ),
        (
            "F16, 2026.5.7: a client that is newer",
            scene(
                "2026.5.7",
                refused("protocol mismatch", json!({"expectedProtocol": 3})),
            )
            .with(|s| s.claims.protocol = (Some(4), Some(4))),
        ),
        (
            "F16, 2026.9.6: a client that is older",
            scene(
                "2026.9.6",
                refused(
                    "protocol mismatch",
                    json!({"code": "PROTOCOL_MISMATCH", "clientMinProtocol": 1, "clientMaxProtocol": 3,
                        "expectedProtocol": 4, "minimumProbeProtocol": 3}),
                ),
            )
            .with(|s| s.claims.protocol = (Some(1), Some(3))),
        ),
        (
            "F16: a field that an early gateway does not know",
            scene(
                "2026.2.19",
                refused(
                    "invalid connect params: at /auth: unexpected property 'deviceToken'",
                    Value::Null,
                ),
            ),
        ),
        (
            "F16: an older page",
            scene(
                "2026.9.6",
                refused("protocol mismatch", json!({"code": "PROTOCOL_MISMATCH", "expectedProtocol": 4})),
            )
            .page("https://chat.example"),
        ),
        (
            "F16: somebody else's program that is older",
            scene(
                "2026.9.6",
                refused("protocol mismatch", json!({"code": "PROTOCOL_MISMATCH", "expectedProtocol": 4})),
            )
            .with(|s| s.claims.client_id = "their-program".to_owned()),
        ),
        (
            "F16: a field of somebody else's program",
            scene(
                "2026.9.6",
                refused("invalid connect params: at /auth: unexpected property 'x'", Value::Null),
            )
            .with(|s| s.claims.client_id = "their-program".to_owned()),
        ),
        (
            "F16, 2026.9.6: the gateway's own node, from before an update",
            scene(
                "2026.9.6",
                refused(
                    "client version mismatch",
                    json!({"code": "CLIENT_VERSION_MISMATCH", "clientVersion": "2026.9.5", "gatewayVersion": "2026.9.6"}),
                ),
            )
            .with(node),
        ),
        (
            "F16, 2026.9.6: a page of another build",
            scene(
                "2026.9.6",
                json!({"code": "UNAVAILABLE",
                    "message": "protocol mismatch: Control UI updated; reload this page to continue",
                    "details": {"code": "PROTOCOL_MISMATCH", "reloadRequired": true, "gatewayBuildId": "b2"}}),
            )
            .page("https://chat.example"),
        ),
        (
            "F17: starting",
            scene(
                "2026.5.7",
                json!({"code": "UNAVAILABLE", "message": "gateway starting; retry shortly", "retryable": true,
                    "retryAfterMs": 500, "details": {"reason": "startup-sidecars"}}),
            ),
        ),
        (
            "unavailable, but not at its start",
            scene(
                "2026.9.6",
                json!({"code": "UNAVAILABLE", "message": "gateway receiver handoff failed"}),
            ),
        ),
        (
            "anything else",
            scene("2026.5.7", refused("invalid role\u{1b}[31m", Value::Null)),
        ),
    ]
}

fn show(title: &str, diagnosis: &Diagnosis) -> String {
    let Diagnosis {
        code,
        sentence,
        short,
        command,
        data,
    } = diagnosis;
    let mut out = format!("## {title}\n{code}\nsentence: {sentence}\nshort:    {short}\n");
    if let Some(command) = command {
        let _ = writeln!(out, "command:  {command}");
    }
    let _ = writeln!(out, "data:     {}\n", Value::Object(data.clone()));
    out
}

#[test]
fn every_refusal_is_explained() {
    let shown: String = table()
        .iter()
        .map(|(title, scene)| show(title, &scene.diagnose()))
        .collect();
    insta::assert_snapshot!(shown);
}

#[test]
fn a_pairing_refusal_begins_with_the_words_that_old_clients_look_for_and_carries_its_id() {
    for (title, scene) in table() {
        let diagnosis = scene.diagnose();
        if scene.error["code"] != "NOT_PAIRED" || !diagnosis.data.contains_key("requestId") {
            continue;
        }
        assert!(
            diagnosis.sentence.starts_with("pairing required"),
            "{title}"
        );
        assert!(diagnosis.short.starts_with("pairing required"), "{title}");
        let id = format!("(requestId: {REQUEST})");
        let own_device = scene.delegated || !scene.approver;
        assert!(own_device || diagnosis.short.contains(&id), "{title}");
        assert!(
            diagnosis
                .short
                .contains(diagnosis.command.as_ref().unwrap()),
            "{title}"
        );
    }
}

#[test]
fn silence_is_explained() {
    let scene = scene("2026.3.13", Value::Null);
    let silence = Silence {
        claims: Some(&scene.claims),
        address: scene.address,
        profile: &scene.profile,
        reached: Reached::Request,
        elapsed: Duration::from_millis(3004),
        closed: true,
        close: None,
    };
    let ended = |code: u16, reason: &str| {
        let close = Close::new(code, reason);
        let title = format!("closed with {code}");
        show(
            &title,
            &no_answer(&Silence {
                close: Some(&close),
                ..silence
            }),
        )
    };
    let shown = show("closed", &no_answer(&silence))
        + &show(
            "silent before the challenge, of an unknown version",
            &no_answer(&Silence {
                claims: None,
                profile: &crate::profile::Profile::default(),
                reached: Reached::Upgrade,
                closed: false,
                ..silence
            }),
        )
        + &ended(4001, "gateway auth changed")
        + &ended(4001, "client invalidated: \u{1b}[31mthe-gateways-secret")
        + &ended(1012, "service restart")
        + &ended(1013, "gateway starting")
        + &ended(1009, "preauth payload too large")
        + &ended(1008, "")
        + &ended(1005, "");
    insta::assert_snapshot!(shown);
}

#[test]
fn a_cap_is_named_where_no_approval_can_help() {
    let refused = scene("2026.5.7", pairing("2026.5.7", "scope-upgrade"));
    let capped = refused.with(|s| s.policy.max_scopes = [WRITE].into_iter().collect());
    let diagnosis = capped.diagnose();
    assert_eq!(diagnosis.code, Code::ScopeCap);
    assert_eq!(diagnosis.command.as_deref(), Some("scope-shim reload"));
    let says = "policy.max_scopes of scope-shim's configuration keeps admin from it";
    assert!(diagnosis.sentence.contains(says), "{}", diagnosis.sentence);
    assert!(
        !diagnosis.sentence.contains("approve "),
        "{}",
        diagnosis.sentence
    );
    let short = "policy.max_scopes forbids admin; run: scope-shim reload (requestId: ";
    assert!(diagnosis.short.contains(short), "{}", diagnosis.short);
}

#[test]
fn a_command_is_for_the_shim_at_hand_and_never_costs_the_requests_id() {
    let refused = scene("2026.5.7", pairing("2026.5.7", "scope-upgrade"));
    let named = refused.with(|s| s.invocation = Invocation::default().for_gateway("staging"));
    let diagnosis = named.diagnose();
    let command = format!("scope-shim approve {REQUEST} --gateway-name staging");
    assert_eq!(diagnosis.command, Some(command));
    assert!(
        diagnosis
            .short
            .ends_with(&format!("(requestId: {REQUEST})")),
        "{}",
        diagnosis.short
    );
}
