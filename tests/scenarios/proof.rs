//! The device's proof: payload versions, clock, nonce, and which fault is reported first.

use serde_json::json;

use super::{Scenario, all, scenario};
use crate::support::client::{FULL, Nonce, READ};
use crate::support::device::Payload;

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        scenario(
            "v2 with the nonce works everywhere, v3 from 2026.2.26, v1 only before and locally",
        )
        .connect("v2", |s| s.client("a").scopes(FULL), all("ok rwAap"))
        .connect(
            "v3",
            |s| {
                s.client("b")
                    .scopes(FULL)
                    .platform(" Linux ")
                    .device_family("PC")
                    .payload(Payload::V3)
            },
            [
                "INVALID_REQUEST: device signature invalid",
                "ok rwAap",
                "ok rwAap",
                "ok rwAap",
            ],
        )
        .connect(
            "v1, local",
            |s| {
                s.client("c")
                    .scopes(FULL)
                    .payload(Payload::V1)
                    .nonce(Nonce::Missing)
            },
            ["ok rwAap", NO_NONCE, NO_NONCE, NO_NONCE],
        )
        .connect(
            "v1, remote",
            |s| {
                s.client("d")
                    .scopes(FULL)
                    .payload(Payload::V1)
                    .nonce(Nonce::Missing)
                    .remote()
            },
            [
                "INVALID_REQUEST: device nonce required",
                NO_NONCE,
                NO_NONCE,
                NO_NONCE,
            ],
        )
        .connect(
            "v1 with a nonce",
            |s| s.client("e").scopes(FULL).payload(Payload::V1),
            [
                BAD_SIGNATURE[0],
                BAD_SIGNATURE[1],
                BAD_SIGNATURE[1],
                BAD_SIGNATURE[1],
            ],
        ),
        scenario("the clock may be wrong by ten minutes in 2026.2.19, by two later")
            .connect(
                "110 s",
                |s| s.client("a").scopes(FULL).signed_ago(110),
                all("ok rwAap"),
            )
            .connect(
                "130 s",
                |s| s.client("a").scopes(FULL).signed_ago(130),
                ["ok rwAap", STALE, STALE, STALE],
            )
            .connect(
                "130 s ahead",
                |s| s.client("a").scopes(FULL).signed_ago(-130),
                ["ok rwAap", STALE, STALE, STALE],
            )
            .connect(
                "610 s",
                |s| s.client("a").scopes(FULL).signed_ago(610),
                [
                    "INVALID_REQUEST: device signature expired",
                    STALE,
                    STALE,
                    STALE,
                ],
            ),
        scenario("what is signed cannot be changed")
            .connect(
                "scopes",
                |s| {
                    s.client("a")
                        .scopes(&[READ])
                        .tampered(|p| p["scopes"] = json!(FULL))
                },
                {
                    [
                        BAD_SIGNATURE[0],
                        BAD_SIGNATURE[1],
                        BAD_SIGNATURE[1],
                        BAD_SIGNATURE[1],
                    ]
                },
            )
            .connect(
                "role",
                |s| {
                    s.client("a")
                        .scopes(&[READ])
                        .tampered(|p| p["role"] = json!("node"))
                },
                {
                    [
                        BAD_SIGNATURE[0],
                        BAD_SIGNATURE[1],
                        BAD_SIGNATURE[1],
                        BAD_SIGNATURE[1],
                    ]
                },
            )
            .connect(
                "client mode",
                |s| {
                    s.client("a")
                        .scopes(&[READ])
                        .tampered(|p| p["client"]["mode"] = json!("cli"))
                },
                [
                    BAD_SIGNATURE[0],
                    BAD_SIGNATURE[1],
                    BAD_SIGNATURE[1],
                    BAD_SIGNATURE[1],
                ],
            )
            .connect(
                "the platform in v2",
                |s| {
                    s.client("a")
                        .tampered(|p| p["client"]["platform"] = json!("x"))
                },
                all("ok ·"),
            ),
        scenario("the first fault is the one reported")
            .connect(
                "wrong id before a stale clock",
                |s| {
                    s.client("a")
                        .signed_ago(1000)
                        .tampered(|p| p["device"]["id"] = json!("0".repeat(64)))
                },
                [
                    "INVALID_REQUEST: device identity mismatch",
                    "DEVICE_AUTH_DEVICE_ID_MISMATCH/device-id-mismatch",
                    "DEVICE_AUTH_DEVICE_ID_MISMATCH/device-id-mismatch",
                    "DEVICE_AUTH_DEVICE_ID_MISMATCH/device-id-mismatch",
                ],
            )
            .connect(
                "a stale clock before a wrong nonce",
                |s| {
                    s.client("a")
                        .signed_ago(1000)
                        .nonce(Nonce::Other("old".to_owned()))
                },
                [
                    "INVALID_REQUEST: device signature expired",
                    STALE,
                    STALE,
                    STALE,
                ],
            )
            .connect(
                "a wrong nonce before a wrong signature",
                |s| {
                    s.client("a")
                        .nonce(Nonce::Other("old".to_owned()))
                        .signing_token("other")
                },
                [
                    "INVALID_REQUEST: device nonce mismatch",
                    WRONG_NONCE,
                    WRONG_NONCE,
                    WRONG_NONCE,
                ],
            )
            .connect(
                "a wrong signature before a wrong token",
                |s| s.client("a").token("wrong").signing_token("other"),
                [
                    BAD_SIGNATURE[0],
                    BAD_SIGNATURE[1],
                    BAD_SIGNATURE[1],
                    BAD_SIGNATURE[1],
                ],
            ),
    ]
}

const NO_NONCE: &str =
    "INVALID_REQUEST: invalid connect params: at /device: must have required property 'nonce'";
const STALE: &str = "DEVICE_AUTH_SIGNATURE_EXPIRED/device-signature-stale";
const WRONG_NONCE: &str = "DEVICE_AUTH_NONCE_MISMATCH/device-nonce-mismatch";
const BAD_SIGNATURE: [&str; 2] = [
    "INVALID_REQUEST: device signature invalid",
    "DEVICE_AUTH_SIGNATURE_INVALID/device-signature",
];
