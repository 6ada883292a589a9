use serde_json::Map;

use super::*;
use crate::findings::Code;

const REQUEST: &str = "7d0f3a52-9f1e-4c7e-9d0a-3b1c2d4e5f60";

/// A client by the generation that it belongs to: who it says it is, and its version.
const CLIENTS: &[(&str, &str, &str)] = &[
    ("command line 2026.2", "cli", "dev"),
    ("command line 2026.3.24", "cli", "2026.3.24"),
    ("command line 2026.4.21", "cli", "2026.4.21"),
    ("command line 2026.6.11", "cli", "2026.6.11"),
    ("command line 2026.9.6", "cli", "2026.9.6"),
    ("Control UI 2026.6.11", "openclaw-control-ui", "control-ui"),
    ("somebody else", "gateway-client", "1.0.0"),
];

fn claims(id: &str, version: &str) -> Claims {
    Claims {
        client_id: id.to_owned(),
        client_version: Some(version.to_owned()),
        ..Claims::default()
    }
}

fn diagnosis(sentence: &str, short: &str, command: Option<&str>) -> Diagnosis {
    Diagnosis {
        code: Code::Refused,
        sentence: sentence.to_owned(),
        short: short.to_owned(),
        command: command.map(str::to_owned),
        data: Map::from_iter([("code".to_owned(), json!("a-finding"))]),
    }
}

fn scope_upgrade() -> Diagnosis {
    diagnosis(
        "device ab12cd34 (cli, 127.0.0.1) asked for operator.admin, approved is operator.read; \
         run `scope-shim approve 7d0f3a52-9f1e-4c7e-9d0a-3b1c2d4e5f60`",
        "operator.admin is not approved; run scope-shim approve 7d0f3a52-9f1e-4c7e-9d0a-3b1c2d4e5f60",
        Some("scope-shim approve 7d0f3a52-9f1e-4c7e-9d0a-3b1c2d4e5f60"),
    )
}

fn wrong_secret() -> Diagnosis {
    diagnosis(
        "the token of cli at 127.0.0.1 is not the gateway's; it comes from OPENCLAW_GATEWAY_TOKEN",
        "this token is not the gateway's: see OPENCLAW_GATEWAY_TOKEN",
        None,
    )
}

fn refused(error: Value) -> Value {
    json!({"type": "res", "id": "1", "ok": false, "error": error})
}

/// What gateways of three generations say when a device asks for more.
fn pairing_refusals() -> [(&'static str, Value); 3] {
    [
        (
            "2026.2.19",
            json!({"code": "NOT_PAIRED", "message": "pairing required", "details": {"requestId": REQUEST}}),
        ),
        (
            "2026.3.13",
            json!({"code": "NOT_PAIRED", "message": "pairing required",
                "details": {"code": "PAIRING_REQUIRED", "requestId": REQUEST, "reason": "scope-upgrade"}}),
        ),
        (
            "2026.6.11",
            json!({"code": "NOT_PAIRED",
                "message": "pairing required: device is asking for more scopes than currently approved",
                "details": {"code": "PAIRING_REQUIRED", "reason": "scope-upgrade", "requestId": REQUEST,
                    "remediationHint": "Review the requested scopes, then approve the pending upgrade.",
                    "deviceId": "ab12cd34", "requestedRole": "operator", "requestedScopes": ["operator.admin"],
                    "approvedRoles": ["operator"], "approvedScopes": ["operator.read"]}}),
        ),
    ]
}

/// Every other refusal by its words, its codes and its close (`gateway-behaviour.md` §8).
fn other_refusals() -> Vec<Value> {
    let coded = |code: &str, details_code: &str, message: &str| json!({"code": code, "message": message, "details": {"code": details_code}});
    vec![
        json!({"code": "INVALID_REQUEST",
            "message": "unauthorized: device token mismatch (rotate/reissue device token)"}),
        json!({"code": "INVALID_REQUEST",
            "message": "unauthorized: gateway token mismatch (provide gateway auth token)",
            "details": {"code": "AUTH_TOKEN_MISMATCH", "authReason": "token_mismatch",
                "canRetryWithDeviceToken": true, "recommendedNextStep": "retry_with_device_token"}}),
        json!({"code": "INVALID_REQUEST",
            "message": "unauthorized: device token mismatch (rotate/reissue device token)",
            "details": {"code": "AUTH_DEVICE_TOKEN_MISMATCH", "authReason": "device_token_mismatch",
                "canRetryWithDeviceToken": false, "recommendedNextStep": "update_auth_credentials"}}),
        json!({"code": "INVALID_REQUEST",
            "message": "control ui requires device identity (use HTTPS or localhost secure context)"}),
        coded(
            "NOT_PAIRED",
            "DEVICE_IDENTITY_REQUIRED",
            "device identity required",
        ),
        coded(
            "INVALID_REQUEST",
            "DEVICE_AUTH_SIGNATURE_EXPIRED",
            "device signature expired",
        ),
        coded(
            "INVALID_REQUEST",
            "CONTROL_UI_ORIGIN_NOT_ALLOWED",
            "origin not allowed",
        ),
        json!({"code": "INVALID_REQUEST", "message": "protocol mismatch", "details": {"expectedProtocol": 3}}),
        json!({"code": "INVALID_REQUEST",
            "message": "invalid connect params: at /auth: unexpected property 'approvalRuntimeToken'"}),
    ]
}

fn show(message: &Value, reason: &str) -> String {
    format!(
        "{}\nclose: {reason} [{} bytes]\n",
        message["error"],
        reason.len()
    )
}

#[test]
fn a_pairing_refusal_has_one_form_for_each_generation() {
    let mut shown = String::new();
    for (gateway, error) in pairing_refusals() {
        let mut forms: Vec<(String, Vec<&str>)> = Vec::new();
        for (client, id, version) in CLIENTS {
            let mut message = refused(error.clone());
            let reason = shape(&mut message, &scope_upgrade(), &claims(id, version));
            let form = show(&message, &reason);
            match forms.iter_mut().find(|(known, _)| *known == form) {
                Some((_, clients)) => clients.push(client),
                None => forms.push((form, vec![client])),
            }
        }
        for (form, clients) in forms {
            shown += &format!("-- {}, gateway {gateway}\n{form}\n", clients.join(", "));
        }
    }
    insta::assert_snapshot!(shown);
}

#[test]
fn every_other_refusal_keeps_the_words_that_clients_decide_by() {
    let shown: String = other_refusals()
        .into_iter()
        .map(|error| {
            let mut message = refused(error);
            let reason = shape(&mut message, &wrong_secret(), &claims("cli", "2026.6.11"));
            show(&message, &reason) + "\n"
        })
        .collect();
    insta::assert_snapshot!(shown);
}

#[test]
fn the_words_that_delete_a_pairing_never_come_out() {
    let deadly = "Device Token Mismatch, device token mismatch";
    let diagnoses = [
        scope_upgrade(),
        diagnosis(deadly, deadly, Some(deadly)),
        Diagnosis {
            data: Map::from_iter([("message".to_owned(), json!([deadly]))]),
            ..wrong_secret()
        },
        diagnosis(
            &deadly.repeat(9),
            &format!("ä{}", deadly.repeat(9)),
            Some(deadly),
        ),
    ];
    let pairing = pairing_refusals().map(|(_, error)| error);
    let stray = [
        json!({"code": "UNAVAILABLE", "message": deadly, "details": deadly}),
        json!({}),
        json!(deadly),
    ];
    for error in pairing.into_iter().chain(other_refusals()).chain(stray) {
        for diagnosis in &diagnoses {
            for (client, id, version) in CLIENTS {
                let mut message = refused(error.clone());
                let reason = shape(&mut message, diagnosis, &claims(id, version));
                let all = format!("{message} {reason}").to_lowercase();
                assert!(!all.contains("device token mismatch"), "{client}: {all}");
                assert!(
                    reason.len() <= MAX_REASON,
                    "{client}: {} bytes",
                    reason.len()
                );
            }
        }
    }
}

#[test]
fn what_clients_stop_or_try_again_by_stays() {
    let pairing = pairing_refusals().map(|(_, error)| error);
    for error in pairing.into_iter().chain(other_refusals()) {
        let mut message = refused(error.clone());
        shape(&mut message, &scope_upgrade(), &claims("cli", "2026.6.11"));
        let shaped = &message["error"];
        assert_eq!(shaped["code"], error["code"]);
        for (key, value) in error["details"].as_object().into_iter().flatten() {
            if key != "remediationHint" {
                assert_eq!(&shaped["details"][key], value, "{key} of {error}");
            }
        }
    }
}

#[test]
fn only_a_refusal_that_wants_pairing_says_so() {
    let misleading = "pairing required: a scope upgrade pending approval";
    for error in other_refusals() {
        let mut message = refused(error);
        let diagnosis = diagnosis(misleading, misleading, None);
        let reason = shape(&mut message, &diagnosis, &claims("cli", "2026.6.11"));
        for text in [message["error"]["message"].to_string(), reason] {
            assert!(!text.contains("pairing required"), "{text}");
            assert!(!text.contains("pending approval"), "{text}");
        }
    }
}

#[test]
fn the_gateways_own_message_is_not_said_twice() {
    let own = "unauthorized: gateway token missing (provide gateway auth token)";
    let mut message = refused(json!({"code": "INVALID_REQUEST", "message": own}));
    let reason = shape(
        &mut message,
        &diagnosis(own, own, None),
        &claims("cli", "dev"),
    );
    assert_eq!(message["error"]["message"], own);
    assert_eq!(reason, own);
}

#[test]
fn a_finding_that_is_too_long_for_a_close_gives_way_to_the_command() {
    let long = "x".repeat(MAX_REASON);
    let command = format!("scope-shim approve {REQUEST}");
    let [_, _, (_, error)] = pairing_refusals();
    let mut message = refused(error);
    let reason = shape(
        &mut message,
        &diagnosis(&long, &long, Some(&command)),
        &claims("cli", "2026.6.11"),
    );
    assert_eq!(
        reason,
        format!("pairing required: scope-shim approve {REQUEST} (requestId: {REQUEST})")
    );
    assert_eq!(reason.len(), MAX_REASON);
}
