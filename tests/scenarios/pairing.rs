//! Pairing without asking anybody, the ways to lose that privilege, and what a record pins.

use super::{Scenario, all, scenario};
use crate::support::client::{FULL, LEGACY, READ};

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        scenario("a local device with the shared token is approved with exactly what it asks for")
            .connect("full", |s| s.client("a").scopes(FULL), all("ok rwAap"))
            .connect("read", |s| s.client("b").scopes(&[READ]), all("ok r"))
            .recorded("b", all("record read token read"))
            .waiting("b", all("nothing"))
            .connect("as the cli", |s| s.client("c").client("cli", "cli").scopes(LEGACY), all("ok rwAap"))
            .connect(
                "as the control ui",
                |s| {
                    let ui = s.client("d").client("openclaw-control-ui", "webchat").scopes(FULL);
                    ui.header("origin", "http://127.0.0.1:9")
                },
                all("ok rwAap"),
            )
            .connect("as a node", |s| s.client("e").client("node-host", "node").role("node"), all("ok ·")),
        scenario("an origin on anything but a ui takes the privilege away")
            .connect("cli", |s| s.client("a").client("cli", "cli").header("origin", "http://127.0.0.1:9"), [
                "ok ·", NOT_PAIRED, NOT_PAIRED, NOT_PAIRED,
            ]),
        scenario("a host name that is not local makes the client remote, up to 2026.3")
            .connect("a name", |s| s.client("a").scopes(FULL).header("host", "gw.example.com"), [
                PAIRING, NOT_PAIRED, "ok rwAap", "ok rwAap",
            ])
            .connect("a private address", |s| s.client("b").scopes(FULL).header("host", "192.168.1.5"), [
                PAIRING, NOT_PAIRED, "ok rwAap", "ok rwAap",
            ])
            .connect("localhost", |s| s.client("c").scopes(FULL).header("host", "localhost:1"), all("ok rwAap")),
        scenario("the gateway's own backend needs no record from 2026.3.13 on")
            .connect("local", |s| s.client("a").client("gateway-client", "backend").scopes(FULL), all("ok rwAap"))
            .recorded("a", [
                "record admin,approvals,pairing,read,write token admin,approvals,pairing,read,write",
                "not paired",
                "not paired",
                "not paired",
            ])
            .connect(
                "remote",
                |s| s.client("a").client("gateway-client", "backend").scopes(FULL).remote(),
                ["ok rwAap", NOT_PAIRED, NOT_PAIRED, NOT_PAIRED],
            ),
        scenario("a request that was not silent once keeps the device out, also locally")
            .connect("remote", |s| s.client("a").scopes(FULL).remote(), [
                PAIRING, NOT_PAIRED, NOT_PAIRED, NOT_PAIRED,
            ])
            .connect("then local", |s| s.client("a").scopes(FULL), [PAIRING, NOT_PAIRED, NOT_PAIRED, NOT_PAIRED])
            .waiting("a", all("admin,approvals,pairing,read,write"))
            .answer("device.pair.reject", "a", all("OK"))
            .connect("local after a rejection", |s| s.client("a").scopes(FULL), all("ok rwAap"))
            .connect("and remote", |s| s.client("a").scopes(FULL).remote(), all("ok rwAap")),
        scenario("a remote device gets in once it is approved")
            .connect("remote", |s| s.client("a").scopes(&[READ]).remote(), [
                PAIRING, NOT_PAIRED, NOT_PAIRED, NOT_PAIRED,
            ])
            .answer("device.pair.approve", "a", all("OK"))
            .connect("again", |s| s.client("a").scopes(&[READ]).remote(), all("ok r")),
        scenario("platform and device family are pinned from 2026.2.26 on, case and space aside")
            .connect("paired without a family", |s| s.client("a").scopes(FULL), all("ok rwAap"))
            .connect("other spelling", |s| s.client("a").scopes(FULL).platform(" LINUX "), all("ok rwAap"))
            .connect("a family added", |s| s.client("a").scopes(FULL).device_family("Mac"), all("ok rwAap"))
            .connect("another client", |s| s.client("a").client("cli", "cli").scopes(&[READ]), all("ok r"))
            .connect("another platform", |s| s.client("a").scopes(FULL).platform("darwin"), [
                "ok rwAap", METADATA, METADATA, METADATA,
            ])
            .connect("another platform, cli", |s| s.client("b").client("cli", "cli").scopes(FULL), all("ok rwAap"))
            .connect(
                "the same elsewhere",
                |s| s.client("b").client("cli", "cli").scopes(FULL).platform("win32"),
                ["ok rwAap", METADATA, METADATA, METADATA],
            ),
        scenario("a pinned device family has to be repeated")
            .connect("paired with one", |s| s.client("a").scopes(FULL).device_family("Mac"), all("ok rwAap"))
            .connect("without", |s| s.client("a").scopes(FULL), ["ok rwAap", METADATA, METADATA, METADATA]),
        scenario("an operator's device does not become a node, except in 2026.4")
            .connect("operator", |s| s.client("a").scopes(&[READ]), all("ok r"))
            .connect("node", |s| s.client("a").client("node-host", "node").role("node"), [
                PAIRING,
                "PAIRING_REQUIRED/role-upgrade",
                "ok ·",
                "PAIRING_REQUIRED/role-upgrade",
            ]),
    ]
}

const PAIRING: &str = "NOT_PAIRED: pairing required";
const NOT_PAIRED: &str = "PAIRING_REQUIRED/not-paired";
const METADATA: &str = "PAIRING_REQUIRED/metadata-upgrade";
