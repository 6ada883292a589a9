//! Refusals word for word: code, message, details, close code and close reason.

use serde_json::{Value, json};

use super::{Scenario, all, scenario};
use crate::support::client::{FULL, Nonce, READ};

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        scenario("wrong credentials")
            .refused("wrong token, with a device", |s| s.client("a").token("wrong").scopes(&[READ]), [
                "INVALID_REQUEST: unauthorized: device token mismatch (rotate/reissue device token) · close 1008 same",
                MISMATCH_RETRY,
                MISMATCH_RETRY,
                MISMATCH_RETRY,
            ])
            .refused("wrong token, no device", |s| s.anonymous().token("wrong"), [
                "INVALID_REQUEST: unauthorized: gateway token mismatch (provide gateway auth token) · close 1008 same",
                MISMATCH,
                MISMATCH,
                MISMATCH,
            ])
            .refused("no credential", |s| s.client("a").without_token(), [
                "INVALID_REQUEST: unauthorized: gateway token missing (provide gateway auth token) · close 1008 same",
                MISSING,
                MISSING,
                MISSING,
            ])
            .refused("a password in token mode", |s| s.client("a").without_token().password("x"), [
                "INVALID_REQUEST: unauthorized: gateway token missing (provide gateway auth token) · close 1008 same",
                MISSING,
                MISSING,
                MISMATCH,
            ])
            .refused("wrong device token", |s| s.client("a").without_token().device_token("x"), [
                "INVALID_REQUEST: invalid connect params: at /auth: unexpected property 'deviceToken' · close 1008 same",
                DEVICE_TOKEN,
                DEVICE_TOKEN,
                DEVICE_TOKEN,
            ])
            .refused("wrong setup code", |s| s.client("a").without_token().bootstrap_token("x"), [
                "INVALID_REQUEST: invalid connect params: at /auth: unexpected property 'bootstrapToken' · close 1008 same",
                BOOTSTRAP,
                BOOTSTRAP,
                SETUP_CODE,
            ]),
        scenario("the hint depends on who asks")
            .connect("cli, wrong token", |s| s.anonymous().client("cli", "cli").token("wrong"), [
                "INVALID_REQUEST: unauthorized: gateway token mismatch (set gateway.remote.token to match \
                 gateway.auth.token)",
                "AUTH_TOKEN_MISMATCH",
                "AUTH_TOKEN_MISMATCH",
                "AUTH_TOKEN_MISMATCH",
            ])
            .refused("cli, no token", |s| s.client("a").client("cli", "cli").without_token(), [
                "INVALID_REQUEST: unauthorized: gateway token missing (set gateway.remote.token to match \
                 gateway.auth.token) · close 1008 same",
                CLI_MISSING,
                CLI_MISSING,
                "INVALID_REQUEST: unauthorized: gateway token missing (use this gateway's gateway.auth.token or pair \
                 the device) · code=AUTH_TOKEN_MISSING, authReason=token_missing, canRetryWithDeviceToken=false, \
                 recommendedNextStep=update_auth_configuration · close 1008 same",
            ]),
        scenario("wrong proofs")
            .refused("nonce", |s| s.client("a").nonce(Nonce::Other("x".to_owned())), [
                "INVALID_REQUEST: device nonce mismatch · close 1008 same",
                NONCE,
                NONCE,
                NONCE,
            ])
            .refused("clock", |s| s.client("a").signed_ago(601), [
                "INVALID_REQUEST: device signature expired · close 1008 same",
                CLOCK,
                CLOCK,
                CLOCK,
            ])
            .refused("signature", |s| s.client("a").signing_token("other"), [
                "INVALID_REQUEST: device signature invalid · close 1008 same",
                SIGNATURE,
                SIGNATURE,
                SIGNATURE,
            ])
            .refused("id", |s| s.client("a").tampered(|p| p["device"]["id"] = json!("x")), [
                "INVALID_REQUEST: device identity mismatch · close 1008 same",
                ID,
                ID,
                ID,
            ]),
        scenario("pairing refusals say more and more")
            .refused("not paired", |s| s.client("a").scopes(&[READ]).remote(), [
                "NOT_PAIRED: pairing required · requestId=… · close 1008 same",
                "NOT_PAIRED: pairing required · code=PAIRING_REQUIRED, requestId=…, reason=not-paired · close 1008 same",
                NEW_DEVICE,
                NEW_DEVICE,
            ])
            .connect("paired", |s| s.client("b").scopes(&[READ]), all("ok r"))
            .refused("more scopes", |s| s.client("b").scopes(FULL).remote(), [
                "NOT_PAIRED: pairing required · requestId=… · close 1008 same",
                "NOT_PAIRED: pairing required · code=PAIRING_REQUIRED, requestId=…, reason=scope-upgrade · close 1008 same",
                MORE_SCOPES,
                MORE_SCOPES,
            ])
            .refused(
                "control ui, not paired",
                |s| {
                    let ui = s.client("c").client("openclaw-control-ui", "webchat").scopes(&[READ]);
                    ui.remote().header("origin", "https://ui.example")
                },
                [
                    "NOT_PAIRED: pairing required · requestId=… · close 1008 same",
                    "NOT_PAIRED: pairing required · code=PAIRING_REQUIRED, requestId=…, reason=not-paired · close 1008 same",
                    NEW_DEVICE,
                    WAITING_UI,
                ],
            ),
        scenario("close reasons end after 120 bytes")
            .refused("two wrong names", |s| s.anonymous().client("one", "two"), [MANY, MANY, MANY, LATEST_MANY]),
        scenario("more than one thing wrong")
            .connect("two unknown at the root, one in client", |s| s.anonymous().tampered(many_unknown), [
                UNKNOWN, UNKNOWN, UNKNOWN, LATEST_UNKNOWN,
            ])
            .connect("one missing, one unknown", |s| s.anonymous().tampered(missing_and_unknown), all(
                "INVALID_REQUEST: invalid connect params: must have required property 'minProtocol'; at root: unexpected \
                 property 'zzz'",
            )),
        scenario("the secret in the other field")
            .refused("the token as a password", |s| s.anonymous().without_token().password(s.token()), [
                "INVALID_REQUEST: unauthorized: gateway token missing (provide gateway auth token) · close 1008 same",
                MISSING,
                MISSING,
                "ok",
            ])
            .refused("beside a wrong token", |s| s.anonymous().token("wrong").password(s.token()), [
                "INVALID_REQUEST: unauthorized: gateway token mismatch (provide gateway auth token) · close 1008 same",
                MISMATCH,
                MISMATCH,
                MISMATCH,
            ]),
    ]
}

fn many_unknown(params: &mut Value) {
    params["aaa"] = json!(1);
    params["bbb"] = json!(1);
    params["client"]["ccc"] = json!(1);
}

fn missing_and_unknown(params: &mut Value) {
    params["zzz"] = json!(1);
    params.as_object_mut().unwrap().shift_remove("minProtocol");
}

const UNKNOWN: &str = "INVALID_REQUEST: invalid connect params: at root: unexpected property 'aaa'; at root: unexpected \
                       property 'bbb'; at /client: unexpected property 'ccc'";
const LATEST_UNKNOWN: &str = "INVALID_REQUEST: invalid connect params: at root: unexpected property 'aaa'; at /client: \
                              unexpected property 'ccc'";
const MANY: &str = "INVALID_REQUEST: invalid connect params: at /client/id: must be equal to constant; at /client/id: \
                    must match a schema in anyOf; at /client/mode: must be equal to constant; at /client/mode: must match \
                    a schema in anyOf · close 1008 invalid connect params: at /client/id: must be equal to constant; at \
                    /client/id: must match a schema in anyOf; at /clien";
const LATEST_MANY: &str = "INVALID_REQUEST: invalid connect params: at /client/id: must be equal to one of the allowed \
                           values; at /client/mode: must be equal to one of the allowed values · close 1008 invalid connect \
                           params: at /client/id: must be equal to one of the allowed values; at /client/mode: must be equal \
                           to one";
const MISMATCH_RETRY: &str = "INVALID_REQUEST: unauthorized: gateway token mismatch (provide gateway auth token) · \
                              code=AUTH_TOKEN_MISMATCH, authReason=token_mismatch, canRetryWithDeviceToken=true, \
                              recommendedNextStep=retry_with_device_token · close 1008 same";
const MISMATCH: &str = "INVALID_REQUEST: unauthorized: gateway token mismatch (provide gateway auth token) · \
                        code=AUTH_TOKEN_MISMATCH, authReason=token_mismatch, canRetryWithDeviceToken=false, \
                        recommendedNextStep=update_auth_credentials · close 1008 same";
const MISSING: &str = "INVALID_REQUEST: unauthorized: gateway token missing (provide gateway auth token) · \
                       code=AUTH_TOKEN_MISSING, authReason=token_missing, canRetryWithDeviceToken=false, \
                       recommendedNextStep=update_auth_configuration · close 1008 same";
const CLI_MISSING: &str = "INVALID_REQUEST: unauthorized: gateway token missing (set gateway.remote.token to match \
                           gateway.auth.token) · code=AUTH_TOKEN_MISSING, authReason=token_missing, \
                           canRetryWithDeviceToken=false, recommendedNextStep=update_auth_configuration · close 1008 same";
const DEVICE_TOKEN: &str = "INVALID_REQUEST: unauthorized: device token mismatch (rotate/reissue device token) · \
                            code=AUTH_DEVICE_TOKEN_MISMATCH, authReason=device_token_mismatch, \
                            canRetryWithDeviceToken=false, recommendedNextStep=update_auth_credentials · close 1008 same";
const BOOTSTRAP: &str = "INVALID_REQUEST: unauthorized: bootstrap token invalid or expired (scan a fresh setup code) · \
                         code=AUTH_BOOTSTRAP_TOKEN_INVALID, authReason=bootstrap_token_invalid, \
                         canRetryWithDeviceToken=false, recommendedNextStep=review_auth_configuration · close 1008 same";
const SETUP_CODE: &str = "INVALID_REQUEST: unauthorized: setup code invalid, expired, revoked, or already used (create a \
                          new code; review `openclaw devices list`) · code=AUTH_BOOTSTRAP_TOKEN_INVALID, \
                          authReason=bootstrap_token_invalid, canRetryWithDeviceToken=false, \
                          recommendedNextStep=review_auth_configuration · close 1008 same";
const NONCE: &str = "INVALID_REQUEST: device nonce mismatch · code=DEVICE_AUTH_NONCE_MISMATCH, \
                     reason=device-nonce-mismatch · close 1008 same";
const CLOCK: &str = "INVALID_REQUEST: device signature expired · code=DEVICE_AUTH_SIGNATURE_EXPIRED, \
                     reason=device-signature-stale · close 1008 same";
const SIGNATURE: &str = "INVALID_REQUEST: device signature invalid · code=DEVICE_AUTH_SIGNATURE_INVALID, \
                         reason=device-signature · close 1008 same";
const ID: &str = "INVALID_REQUEST: device identity mismatch · code=DEVICE_AUTH_DEVICE_ID_MISMATCH, \
                  reason=device-id-mismatch · close 1008 same";
const NEW_DEVICE: &str = "NOT_PAIRED: pairing required: device is not approved yet · code=PAIRING_REQUIRED, \
                          reason=not-paired, requestId=…, remediationHint=Approve this device from the pending pairing \
                          requests., deviceId=…, requestedRole=operator, requestedScopes=[\"operator.read\"] · close 1008 \
                          pairing required: device is not approved yet (requestId: …";
const WAITING_UI: &str = "NOT_PAIRED: pairing required: device is not approved yet · code=PAIRING_REQUIRED, \
                          reason=not-paired, requestId=…, remediationHint=Approve this device from the pending pairing \
                          requests., recommendedNextStep=wait_then_retry, retryable=true, pauseReconnect=false, \
                          deviceId=…, requestedRole=operator, requestedScopes=[\"operator.read\"] · close 1008 pairing \
                          required: device is not approved yet (requestId: …";
const MORE_SCOPES: &str = "NOT_PAIRED: pairing required: device is asking for more scopes than currently approved · \
                           code=PAIRING_REQUIRED, reason=scope-upgrade, requestId=…, remediationHint=Review the requested \
                           scopes, then approve the pending upgrade., deviceId=…, requestedRole=operator, \
                           requestedScopes=[\"operator.admin\",\"operator.read\",\"operator.write\",\"operator.approvals\",\
                           \"operator.pairing\"], approvedRoles=[\"operator\"], approvedScopes=[\"operator.read\"] · close \
                           1008 pairing required: device is asking for more scopes than currently approved (requestId: …";
