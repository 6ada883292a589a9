//! The first frame: protocol, closed parameters, and what must not be sent yet.

use serde_json::{Value, json};

use super::{Scenario, all, scenario};
use crate::support::client::{FULL, READ};

pub(super) fn scenarios() -> Vec<Scenario> {
    let unexpected = "INVALID_REQUEST: invalid connect params: at root: unexpected property 'zzz' · close 1008 same";
    vec![
        scenario("a client offers the protocol versions it speaks")
            .connect("3 to 4", |s| s.anonymous().scopes(&[READ]), all("ok ·"))
            .refused("3 only", |s| s.anonymous().protocol(3, 3), [
                "ok",
                "ok",
                "ok",
                "INVALID_REQUEST: protocol mismatch · code=PROTOCOL_MISMATCH, clientMinProtocol=3, \
                 clientMaxProtocol=3, expectedProtocol=4, minimumProbeProtocol=3 · close 1002 same",
            ])
            .refused("4 only", |s| s.anonymous().protocol(4, 4), [
                "INVALID_REQUEST: protocol mismatch · expectedProtocol=3 · close 1002 same",
                "INVALID_REQUEST: protocol mismatch · expectedProtocol=3 · close 1002 same",
                "INVALID_REQUEST: protocol mismatch · expectedProtocol=3 · close 1002 same",
                "ok",
            ])
            .refused("a probe with 3 only", |s| s.anonymous().client("cli", "probe").protocol(3, 3), all("ok")),
        scenario("the parameters are a closed object")
            .refused("at the root", |s| s.anonymous().tampered(|p| p["zzz"] = json!(1)), all(unexpected))
            .connect("in client", |s| s.anonymous().tampered(|p| p["client"]["zzz"] = json!(1)), all(
                "INVALID_REQUEST: invalid connect params: at /client: unexpected property 'zzz'",
            ))
            .connect("in device", |s| s.client("a").tampered(|p| p["device"]["zzz"] = json!(1)), all(
                "INVALID_REQUEST: invalid connect params: at /device: unexpected property 'zzz'",
            ))
            .connect("in auth", |s| s.anonymous().tampered(|p| p["auth"]["zzz"] = json!(1)), all(
                "INVALID_REQUEST: invalid connect params: at /auth: unexpected property 'zzz'",
            ))
            .connect("newer fields", |s| s.anonymous().tampered(|p| p["client"]["timeZone"] = json!("UTC")), [
                "INVALID_REQUEST: invalid connect params: at /client: unexpected property 'timeZone'",
                "INVALID_REQUEST: invalid connect params: at /client: unexpected property 'timeZone'",
                "INVALID_REQUEST: invalid connect params: at /client: unexpected property 'timeZone'",
                "ok ·",
            ]),
        scenario("client id and mode are enumerations")
            .refused("an id of our own", |s| s.anonymous().client("scope-shim", "cli"), [
                CONSTANT_ID,
                CONSTANT_ID,
                CONSTANT_ID,
                "INVALID_REQUEST: invalid connect params: at /client/id: must be equal to one of the allowed \
                 values · close 1008 same",
            ])
            .connect("a mode of our own", |s| s.anonymous().client("cli", "proxy"), [
                CONSTANT_MODE,
                CONSTANT_MODE,
                CONSTANT_MODE,
                "INVALID_REQUEST: invalid connect params: at /client/mode: must be equal to one of the allowed values",
            ])
            .connect("an empty platform", |s| s.anonymous().platform(""), [
                EMPTY_PLATFORM,
                EMPTY_PLATFORM,
                EMPTY_PLATFORM,
                "INVALID_REQUEST: invalid connect params: at /client/platform: must not have fewer than 1 characters",
            ])
            .connect("no platform", |s| s.anonymous().tampered(without_platform), all(
                "INVALID_REQUEST: invalid connect params: at /client: must have required property 'platform'",
            )),
        scenario("something else than a connect request")
            .connect("no JSON", |s| s.anonymous().saying("hello"), all("close 1000"))
            .connect("no request", |s| s.anonymous().saying(r#"{"a":1}"#), all("close 1008 invalid request frame"))
            .connect(
                "a request with more in it",
                |s| s.anonymous().saying(r#"{"type":"req","id":"1","method":"connect","params":{},"zzz":1}"#),
                all("close 1008 invalid request frame"),
            )
            .refused(
                "another method",
                |s| s.anonymous().saying(r#"{"type":"req","id":"1","method":"health"}"#),
                all(EARLY),
            )
            .connect(
                "no parameters",
                |s| s.anonymous().saying(r#"{"type":"req","id":"1","method":"connect"}"#),
                all("INVALID_REQUEST: invalid connect params: must be object"),
            ),
        scenario("an unknown role is refused, unknown scopes are not")
            .refused("role", |s| s.anonymous().role("zzz"), all("INVALID_REQUEST: invalid role · close 1008 same"))
            .connect("scope", |s| s.client("a").scopes(&["operator.bogus"]), all("ok ·"))
            .recorded("a", all("record bogus token bogus")),
        scenario("no scopes asked for, none given")
            .connect("paired with everything", |s| s.client("a").scopes(FULL), all("ok rwAap"))
            .connect("none asked", |s| s.client("a"), all("ok ·"))
            .connect("empty list asked", |s| s.client("a").scopes(&[]), all("ok ·")),
        scenario("a frame sent before the answer kills the connection, up to 2026.7")
            .refused(
                "right behind connect",
                |s| s.anonymous().early(json!({ "type": "req", "id": "e1", "method": "health" })),
                [EARLY, EARLY, EARLY, "ok"],
            ),
        scenario("a second connect is an unknown method to everybody but administrators")
            .open("reader", "reader", |s| s.client("a").scopes(&[READ]), all("ok r"))
            .call("reader", "reader connects again", |_| ("connect", json!({})), all("missing scope: operator.admin"))
            .call("admin", "administrator connects again", |_| ("connect", json!({})), all(
                "connect is only valid as the first request",
            )),
    ]
}

fn without_platform(params: &mut Value) {
    params["client"].as_object_mut().unwrap().remove("platform");
}

const CONSTANT_ID: &str = "INVALID_REQUEST: invalid connect params: at /client/id: must be equal to constant; at \
                           /client/id: must match a schema in anyOf · close 1008 same";
const CONSTANT_MODE: &str = "INVALID_REQUEST: invalid connect params: at /client/mode: must be equal to constant; at \
                             /client/mode: must match a schema in anyOf";
const EMPTY_PLATFORM: &str = "INVALID_REQUEST: invalid connect params: at /client/platform: must NOT have fewer than 1 characters";
const EARLY: &str =
    "INVALID_REQUEST: invalid handshake: first request must be connect · close 1008 same";
