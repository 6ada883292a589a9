//! Sessions without a device: let in by the shared token, with or without what they ask for.

use super::{Scenario, all, scenario};
use crate::support::client::{FULL, READ};

pub(super) fn scenarios() -> Vec<Scenario> {
    let ui = [
        "INVALID_REQUEST: control ui requires HTTPS or localhost (secure context)",
        UI,
        UI,
        UI,
    ];
    vec![
        scenario("the scopes of a session without a device are cleared, with growing exceptions")
            .connect("cli", |s| s.anonymous().client("cli", "cli").scopes(FULL), [
                "ok ·", "ok ·", "ok ·", "ok rwAap",
            ])
            .connect("cli, read", |s| s.anonymous().client("cli", "cli").scopes(&[READ]), [
                "ok ·", "ok ·", "ok ·", "ok r",
            ])
            .connect("backend", |s| s.anonymous().client("gateway-client", "backend").scopes(FULL), [
                "ok ·", "ok ·", "ok rwAap", "ok rwAap",
            ])
            .connect("backend, read", |s| s.anonymous().client("gateway-client", "backend").scopes(&[READ]), [
                "ok ·", "ok ·", "ok r", "ok r",
            ])
            .connect("cli as a probe", |s| s.anonymous().client("cli", "probe").scopes(FULL), all("ok ·"))
            .connect("probe", |s| s.anonymous().client("openclaw-probe", "probe").scopes(FULL), all("ok ·"))
            .connect("test", |s| s.anonymous().scopes(FULL), all("ok ·")),
        scenario("the exceptions are for local clients without an origin")
            .connect("cli, remote", |s| s.anonymous().client("cli", "cli").scopes(FULL).remote(), all("ok ·"))
            .connect(
                "backend, remote",
                |s| s.anonymous().client("gateway-client", "backend").scopes(FULL).remote(),
                all("ok ·"),
            )
            .connect(
                "cli with an origin",
                |s| s.anonymous().client("cli", "cli").scopes(FULL).header("origin", "http://127.0.0.1:9"),
                all("ok ·"),
            )
            .connect(
                "backend with an origin",
                |s| {
                    let backend = s.anonymous().client("gateway-client", "backend").scopes(FULL);
                    backend.header("origin", "http://127.0.0.1:9")
                },
                all("ok ·"),
            ),
        scenario("the control ui needs a device")
            .connect(
                "with an origin",
                |s| {
                    let ui = s.anonymous().client("openclaw-control-ui", "webchat").scopes(FULL);
                    ui.header("origin", "http://127.0.0.1:9")
                },
                ui,
            )
            .connect("without an origin", |s| s.anonymous().client("openclaw-control-ui", "webchat"), [
                "INVALID_REQUEST: origin not allowed (open the Control UI from the gateway host or allow it in \
                 gateway.controlUi.allowedOrigins)",
                "CONTROL_UI_ORIGIN_NOT_ALLOWED/origin missing or invalid",
                "CONTROL_UI_ORIGIN_NOT_ALLOWED/origin missing or invalid",
                "CONTROL_UI_ORIGIN_NOT_ALLOWED/origin missing or invalid",
            ])
            .connect("the terminal ui counts as one", |s| s.anonymous().client("openclaw-tui", "ui"), [
                UNKNOWN_ID, UNKNOWN_ID, UI, UI,
            ]),
        scenario("without token and device nobody gets in")
            .connect("nothing", |s| s.anonymous().without_token(), [
                "NOT_PAIRED: device identity required",
                "DEVICE_IDENTITY_REQUIRED",
                "DEVICE_IDENTITY_REQUIRED",
                "DEVICE_IDENTITY_REQUIRED",
            ])
            .connect("a device token alone", |s| s.anonymous().without_token().device_token("x"), [
                "INVALID_REQUEST: invalid connect params: at /auth: unexpected property 'deviceToken'",
                "DEVICE_IDENTITY_REQUIRED",
                "DEVICE_IDENTITY_REQUIRED",
                "DEVICE_IDENTITY_REQUIRED",
            ])
            .connect("role node", |s| s.anonymous().role("node").client("node-host", "node"), [
                "ok ·",
                "DEVICE_IDENTITY_REQUIRED",
                "DEVICE_IDENTITY_REQUIRED",
                "DEVICE_IDENTITY_REQUIRED",
            ]),
        scenario("x-openclaw-scopes narrows every session from 2026.8 on, and widens none")
            .connect(
                "with a device",
                |s| s.client("a").scopes(FULL).header("x-openclaw-scopes", "operator.read"),
                ["ok rwAap", "ok rwAap", "ok rwAap", "ok r"],
            )
            .connect(
                "remote, paired",
                |s| s.client("a").scopes(FULL).remote().header("x-openclaw-scopes", "operator.read"),
                ["ok rwAap", "ok rwAap", "ok rwAap", "ok r"],
            )
            .connect(
                "without a device",
                |s| {
                    let cli = s.anonymous().client("cli", "cli").scopes(FULL);
                    cli.header("x-openclaw-scopes", "operator.read, operator.write")
                },
                ["ok ·", "ok ·", "ok ·", "ok rw"],
            )
            .connect(
                "more than was asked for",
                |s| s.client("a").scopes(&[READ]).header("x-openclaw-scopes", "operator.admin,operator.read"),
                all("ok r"),
            ),
    ]
}

const UI: &str = "CONTROL_UI_DEVICE_IDENTITY_REQUIRED";
const UNKNOWN_ID: &str = "INVALID_REQUEST: invalid connect params: at /client/id: must be equal to constant; at \
                          /client/id: must match a schema in anyOf";
