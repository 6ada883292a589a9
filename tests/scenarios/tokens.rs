//! Device tokens: whose they are, what they allow, and what comes first when there are two credentials.

use super::{Scenario, all, scenario};
use crate::support::client::{ADMIN, Connect, FULL, READ};

use super::Stage;

pub(super) fn scenarios() -> Vec<Scenario> {
    let unknown =
        "INVALID_REQUEST: invalid connect params: at /auth: unexpected property 'deviceToken'";
    vec![
        scenario("a device token in the place of the shared one")
            .open("token", "paired", |s| s.client("a").scopes(&[READ]), all("ok r"))
            .connect("what was approved", |s| s.client("a").token(s.note("token")).scopes(&[READ]), all("ok r"))
            .connect("nothing asked", |s| s.client("a").token(s.note("token")), all("ok ·"))
            .connect("more", |s| s.client("a").token(s.note("token")).scopes(FULL), [
                DEVICE_MISMATCH,
                "AUTH_TOKEN_MISMATCH",
                "AUTH_TOKEN_MISMATCH",
                "AUTH_SCOPE_MISMATCH",
            ])
            .connect("another device", |s| s.client("b").token(s.note("token")).scopes(&[READ]), [
                DEVICE_MISMATCH,
                "AUTH_TOKEN_MISMATCH",
                "AUTH_TOKEN_MISMATCH",
                "AUTH_TOKEN_MISMATCH",
            ])
            .connect("no device", |s| s.anonymous().token(s.note("token")).scopes(&[READ]), [
                "INVALID_REQUEST: unauthorized: gateway token mismatch (provide gateway auth token)",
                "AUTH_TOKEN_MISMATCH",
                "AUTH_TOKEN_MISMATCH",
                "AUTH_TOKEN_MISMATCH",
            ]),
        scenario("a device token in its own field")
            .open("token", "paired", |s| s.client("a").scopes(&[READ]), all("ok r"))
            .connect("what was approved", |s| own_token(s, "a").scopes(&[READ]), [unknown, "ok r", "ok r", "ok r"])
            .connect("more", |s| own_token(s, "a").scopes(FULL), [
                unknown,
                "AUTH_DEVICE_TOKEN_MISMATCH",
                "AUTH_DEVICE_TOKEN_MISMATCH",
                "AUTH_SCOPE_MISMATCH",
            ])
            .connect("another device", |s| own_token(s, "b").scopes(&[READ]), [
                unknown,
                "AUTH_DEVICE_TOKEN_MISMATCH",
                "AUTH_DEVICE_TOKEN_MISMATCH",
                "AUTH_DEVICE_TOKEN_MISMATCH",
            ])
            .connect("remote", |s| own_token(s, "a").scopes(&[READ]).remote(), [unknown, "ok r", "ok r", "ok r"]),
        scenario("two credentials: a good shared token wins, a bad one is forgiven")
            .open("token", "paired", |s| s.client("a").scopes(&[READ]), all("ok r"))
            .connect(
                "bad token, good device token",
                |s| s.client("a").token("wrong").device_token(s.note("token")).scopes(&[READ]),
                [unknown, "ok r", "ok r", "ok r"],
            )
            .connect("good token, bad device token", |s| s.client("a").device_token("wrong").scopes(&[READ]), [
                unknown, "ok r", "ok r", "ok r",
            ])
            .connect(
                "both good, more than approved",
                |s| s.client("a").device_token(s.note("token")).scopes(&[ADMIN]),
                [unknown, "ok rwAap", "PAIRING_REQUIRED/scope-upgrade", "ok rwAap"],
            ),
        scenario("a device of a browser and a program gets a new token at every switch in 2026.9")
            .step("browser, program, browser", super::management::token_of_kinds(), [
                "kept, kept",
                "kept, kept",
                "kept, kept",
                "new, new",
            ]),
        scenario("the token is stable while it covers the request")
            .step("read, then read", super::management::token_after(&[READ], &[READ]), all("same, shows read"))
            .step("full, then read", super::management::token_after(FULL, &[READ]), [
                "same, shows admin,approvals,pairing,read,write",
                "same, shows admin,approvals,pairing,read,write",
                "same, shows admin,approvals,pairing,read,write",
                "same, shows read",
            ])
            .step("admin, then read", super::management::token_after(&[ADMIN, READ], &[READ, ADMIN]), [
                "same, shows admin,read",
                "same, shows admin,read",
                "same, shows admin,read,write",
                "same, shows admin,read",
            ]),
    ]
}

fn own_token(stage: &Stage, device: &'static str) -> Connect {
    stage
        .client(device)
        .without_token()
        .device_token(stage.note("token"))
}

const DEVICE_MISMATCH: &str =
    "INVALID_REQUEST: unauthorized: device token mismatch (rotate/reissue device token)";
