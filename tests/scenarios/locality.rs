//! Local or remote, by address, headers and configuration.

use super::{Scenario, Setup, all, scenario};
use crate::support::client::FULL;

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![no_proxies(), self_trusted(), recipe(), origins()]
}

/// No trusted proxies: header by header, from 127.0.0.1.
fn no_proxies() -> Scenario {
    scenario("forwarding headers from nobody's proxy")
        .on(Setup::NoProxies)
        .connect(
            "a remote client",
            |s| {
                s.client("a")
                    .scopes(FULL)
                    .header("x-forwarded-for", "203.0.113.9")
            },
            REFUSED,
        )
        .connect(
            "a local client",
            |s| {
                s.client("b")
                    .scopes(FULL)
                    .header("x-forwarded-for", "127.0.0.1")
            },
            REFUSED,
        )
        .connect(
            "x-real-ip",
            |s| {
                s.client("c")
                    .scopes(FULL)
                    .header("x-real-ip", "203.0.113.9")
            },
            REFUSED,
        )
        .connect(
            "forwarded",
            |s| {
                s.client("d")
                    .scopes(FULL)
                    .header("forwarded", "for=203.0.113.9")
            },
            ["ok rwAap", "ok rwAap", "ok rwAap", "http 403"],
        )
        .connect(
            "x-forwarded-proto",
            |s| {
                s.client("e")
                    .scopes(FULL)
                    .header("x-forwarded-proto", "https")
            },
            ["ok rwAap", "ok rwAap", "ok rwAap", "http 403"],
        )
        .connect(
            "x-forwarded-host",
            |s| {
                s.client("f")
                    .scopes(FULL)
                    .header("x-forwarded-host", "gw.example")
            },
            [PAIRING, NOT_PAIRED, "ok rwAap", "http 403"],
        )
        .connect(
            "via",
            |s| s.client("g").scopes(FULL).header("via", "1.1 proxy"),
            all("ok rwAap"),
        )
        .connect(
            "127.0.0.2",
            |s| s.client("h").scopes(FULL).from("127.0.0.2"),
            all("ok rwAap"),
        )
        .connect(
            "a paired device",
            |s| {
                s.client("h")
                    .scopes(FULL)
                    .header("x-forwarded-for", "203.0.113.9")
            },
            ["ok rwAap", "ok rwAap", "ok rwAap", "http 403"],
        )
}

/// The only address there is, is a trusted proxy.
fn self_trusted() -> Scenario {
    scenario("everybody comes from a trusted proxy")
        .on(Setup::SelfTrusted)
        .connect(
            "no header",
            |s| s.client("a").scopes(FULL),
            [PAIRING, NOT_PAIRED, "ok rwAap", "ok rwAap"],
        )
        .connect(
            "a local client",
            |s| {
                s.client("b")
                    .scopes(FULL)
                    .header("x-forwarded-for", "127.0.0.1")
            },
            ["ok rwAap", NOT_PAIRED, NOT_PAIRED, "http 403"],
        )
        .connect(
            "a remote client",
            |s| {
                s.client("c")
                    .scopes(FULL)
                    .header("x-forwarded-for", "203.0.113.9")
            },
            WAITS,
        )
        .connect(
            "a remote client behind two",
            |s| {
                s.client("d")
                    .scopes(FULL)
                    .header("x-forwarded-for", "203.0.113.9, 127.0.0.1")
            },
            WAITS,
        )
        .connect(
            "x-real-ip only",
            |s| {
                s.client("e")
                    .scopes(FULL)
                    .header("x-real-ip", "203.0.113.9")
            },
            REFUSED,
        )
        .connect(
            "x-forwarded-proto only",
            |s| {
                s.client("f")
                    .scopes(FULL)
                    .header("x-forwarded-proto", "https")
            },
            [PAIRING, NOT_PAIRED, "ok rwAap", "http 403"],
        )
        .connect(
            "forwarded only",
            |s| {
                s.client("g")
                    .scopes(FULL)
                    .header("forwarded", "for=203.0.113.9")
            },
            [PAIRING, NOT_PAIRED, "ok rwAap", "http 403"],
        )
}

/// Two addresses, one of them trusted: the only arrangement that works everywhere.
fn recipe() -> Scenario {
    scenario("local from 127.0.0.1, remote from a trusted second address")
        .connect("local", |s| s.client("a").scopes(FULL), all("ok rwAap"))
        .connect("remote", |s| s.client("b").scopes(FULL).remote(), WAITS)
        .connect(
            "headers from the untrusted address",
            |s| {
                s.client("c")
                    .scopes(FULL)
                    .header("x-forwarded-for", "203.0.113.9")
            },
            REFUSED,
        )
        .connect(
            "no header from the trusted address",
            |s| s.client("d").scopes(FULL).from("127.0.0.2"),
            [PAIRING, NOT_PAIRED, "ok rwAap", "ok rwAap"],
        )
        .connect(
            "a local client from the trusted address",
            |s| {
                s.client("e")
                    .scopes(FULL)
                    .from("127.0.0.2")
                    .header("x-forwarded-for", "127.0.0.1")
            },
            ["ok rwAap", "ok rwAap", NOT_PAIRED, "http 403"],
        )
}

fn origins() -> Scenario {
    scenario("which pages may connect")
        .connect(
            "remote, allowed",
            |s| ui(s, "a", "https://ui.example").remote(),
            WAITS,
        )
        .connect(
            "remote, another",
            |s| ui(s, "b", "https://evil.example").remote(),
            [NOT_ALLOWED, ORIGIN, ORIGIN, ORIGIN],
        )
        .connect(
            "remote, the host's own name",
            |s| {
                ui(s, "c", "https://gw.example")
                    .remote()
                    .header("host", "gw.example")
            },
            [PAIRING, ORIGIN, ORIGIN, ORIGIN],
        )
        .connect(
            "local, allowed",
            |s| ui(s, "d", "https://ui.example"),
            all("ok rwAap"),
        )
        .connect(
            "local, another port",
            |s| ui(s, "e", "http://127.0.0.1:1234"),
            all("ok rwAap"),
        )
        .connect(
            "local, localhost",
            |s| ui(s, "f", "http://localhost:1234"),
            all("ok rwAap"),
        )
        .connect(
            "a cli with a foreign origin",
            |s| {
                s.client("g")
                    .client("cli", "cli")
                    .scopes(FULL)
                    .header("origin", "https://evil.example")
            },
            ["ok rwAap", ORIGIN, ORIGIN, ORIGIN],
        )
}

fn ui(stage: &super::Stage, device: &'static str, origin: &str) -> crate::support::client::Connect {
    let ui = stage
        .client(device)
        .client("openclaw-control-ui", "webchat");
    ui.scopes(FULL).header("origin", origin)
}

const PAIRING: &str = "NOT_PAIRED: pairing required";
const NOT_PAIRED: &str = "PAIRING_REQUIRED/not-paired";
/// Remote: has to be approved.
const WAITS: [&str; 4] = [PAIRING, NOT_PAIRED, NOT_PAIRED, NOT_PAIRED];
/// Remote, or not even that: 2026.8 and later do not believe the headers.
const REFUSED: [&str; 4] = [PAIRING, NOT_PAIRED, NOT_PAIRED, "http 403"];
const ORIGIN: &str = "CONTROL_UI_ORIGIN_NOT_ALLOWED/origin not allowed";
const NOT_ALLOWED: &str = "INVALID_REQUEST: origin not allowed (open the Control UI from the gateway host or allow it \
                           in gateway.controlUi.allowedOrigins)";
