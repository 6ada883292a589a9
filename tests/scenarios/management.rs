//! Managing devices over the gateway, and who hears of it.

use serde_json::{Value, json};

use super::{Act, Scenario, Stage, all, keep, scenario, short};
use crate::support::client::{FULL, PAIRING as PAIRING_SCOPE, READ, WRITE};

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        scenario("operators who pair hear of requests and answers")
            .step("one request, one answer", events(), all("requested read, resolved approved"))
            .step("a silent approval", silent_event(), all("resolved approved")),
        scenario("sessions that share a device are one row of presence up to 2026.7")
            .open("one", "one", |s| s.client("a").scopes(&[READ]), all("ok r"))
            .open("two", "two", |s| s.client("a").scopes(&[READ]), all("ok r"))
            .step("rows", presence("a"), ["1", "1", "1", "2"]),
        scenario("a denied call names the scope")
            .open("reader", "reader", |s| s.client("a").scopes(&[READ]), all("ok r"))
            .step("device.pair.list", denied("reader", "device.pair.list"), [
                "INVALID_REQUEST missing scope: operator.pairing",
                "INVALID_REQUEST missing scope: operator.pairing",
                "INVALID_REQUEST missing scope: operator.pairing",
                "FORBIDDEN missing scope: operator.pairing MISSING_SCOPE",
            ]),
        scenario("who may approve what")
            .open("P", "shared token, pairing only", |s| s.client("p").scopes(&[PAIRING_SCOPE]), all("ok p"))
            .connect("a full request", |s| s.client("x").scopes(FULL).remote(), WAITS)
            .step("P approves it", approve("P", "x"), ["OK", "OK", MISSING_ADMIN, MISSING_ADMIN])
            .connect("a pairing request", |s| s.client("y").scopes(&[PAIRING_SCOPE]).remote(), WAITS)
            .step("P approves it", approve("P", "y"), all("OK")),
        scenario("a session by device token manages its own device only, from 2026.4 on")
            .open("PD", "paired", |s| s.client("p").scopes(&[PAIRING_SCOPE]), all("ok p"))
            .open("PD", "by its token", |s| s.client("p").token(s.note("PD")).scopes(&[PAIRING_SCOPE]), all("ok p"))
            .connect("a full request", |s| s.client("x").scopes(FULL).remote(), WAITS)
            .step("PD sees it", sees("PD", "x"), ["yes", "yes", "no", "no"])
            .step("PD approves it", approve("PD", "x"), ["OK", "OK", APPROVAL_DENIED, APPROVAL_DENIED])
            .connect("a pairing request", |s| s.client("y").scopes(&[PAIRING_SCOPE]).remote(), WAITS)
            .step("PD approves it", approve("PD", "y"), ["OK", "OK", APPROVAL_DENIED, APPROVAL_DENIED])
            .connect("another request", |s| s.client("z").scopes(&[READ]).remote(), WAITS)
            .step("PD rejects it", reject("PD", "z"), [
                "OK",
                "OK",
                "device pairing rejection denied",
                "device pairing rejection denied",
            ]),
        scenario("rotating a token into more scopes is an escalation in 2026.2.19 only")
            .open("live", "paired", |s| s.client("a").scopes(&[READ]), all("ok r"))
            .call(
                "admin",
                "rotate into write",
                |s| ("device.token.rotate", rotation(s, Some(&[READ, WRITE]))),
                ["OK", "unknown deviceId/role", ROTATION_DENIED, ROTATION_DENIED],
            )
            .connect("the old token", |s| s.client("a").token(s.note("live")).scopes(&[READ]), [
                "INVALID_REQUEST: unauthorized: device token mismatch (rotate/reissue device token)",
                "ok r",
                "ok r",
                "ok r",
            ])
            .step("the live session", alive("live"), all("open")),
        scenario("rotating a token within what is approved")
            .open("live", "paired", |s| s.client("a").scopes(&[READ]), all("ok r"))
            .step("rotate", rotate(), ["token", "token", "token", "withheld-cross-device"])
            .connect("the old token", |s| s.client("a").token(s.note("live")).scopes(&[READ]), [
                "INVALID_REQUEST: unauthorized: device token mismatch (rotate/reissue device token)",
                "AUTH_TOKEN_MISMATCH",
                "AUTH_TOKEN_MISMATCH",
                "AUTH_TOKEN_MISMATCH",
            ])
            .step("the live session", alive("live"), ["open", "open", "4001 device removed", "4001 device removed"])
            .open("P", "pairing only", |s| s.client("p").scopes(&[PAIRING_SCOPE]), all("ok p"))
            .call("P", "rotated by pairing only", |s| ("device.token.rotate", rotation(s, None)), [
                "OK",
                "missing scope: operator.read",
                ROTATION_DENIED,
                ROTATION_DENIED,
            ]),
        scenario("a revoked token is dead, the record is not")
            .open("live", "paired", |s| s.client("a").scopes(&[READ]), all("ok r"))
            .call("admin", "revoke", |s| ("device.token.revoke", rotation(s, None)), all("OK"))
            .connect("the token", |s| s.client("a").token(s.note("live")).scopes(&[READ]), [
                "INVALID_REQUEST: unauthorized: device token mismatch (rotate/reissue device token)",
                "AUTH_TOKEN_MISMATCH",
                "AUTH_TOKEN_MISMATCH",
                "AUTH_TOKEN_MISMATCH",
            ])
            .step("the live session", alive("live"), ["open", "open", "4001 device removed", "4001 device removed"])
            .connect("the shared token", |s| s.client("a").scopes(&[READ]), all("ok r")),
        scenario("removing a device closes its sessions from 2026.4 on")
            .open("live", "paired", |s| s.client("a").scopes(&[READ]), all("ok r"))
            .open("P", "pairing only", |s| s.client("p").scopes(&[PAIRING_SCOPE]), all("ok p"))
            .call("P", "remove", |s| ("device.pair.remove", json!({ "deviceId": s.device("a").id() })), all("OK"))
            .step("the live session", alive("live"), ["open", "open", "4001 device removed", "4001 device removed"])
            .call("P", "remove again", |s| ("device.pair.remove", json!({ "deviceId": s.device("a").id() })), all(
                "unknown deviceId",
            ))
            .connect("the device, remote", |s| s.client("a").scopes(&[READ]).remote(), WAITS),
        scenario("methods nobody knows are answered to administrators")
            .call("admin", "no such method", |_| ("no.such", json!({})), all("unknown method: no.such"))
            .call("admin", "no such request", |_| ("device.pair.approve", json!({ "requestId": "x" })), all(
                "unknown requestId",
            )),
    ]
}

fn rotation(stage: &Stage, scopes: Option<&[&str]>) -> Value {
    let mut params = json!({ "deviceId": stage.device("a").id(), "role": "operator" });
    if let Some(scopes) = scopes {
        params["scopes"] = json!(scopes);
    }
    params
}

fn rotate() -> Act {
    Box::new(|stage| {
        Box::pin(async move {
            let params = rotation(stage, None);
            match stage
                .admin()
                .await
                .call("device.token.rotate", params)
                .await
            {
                Ok(answer) if answer["token"].is_string() => "token".to_owned(),
                Ok(answer) => answer["tokenDelivery"].as_str().unwrap_or("-").to_owned(),
                Err(error) => error["message"].to_string(),
            }
        })
    })
}

fn approve(key: &'static str, device: &'static str) -> Act {
    answer(key, "device.pair.approve", device)
}

fn reject(key: &'static str, device: &'static str) -> Act {
    answer(key, "device.pair.reject", device)
}

/// A session answers the request of a device; an administrator looks the id up for it.
fn answer(key: &'static str, method: &'static str, device: &'static str) -> Act {
    Box::new(move |stage| {
        Box::pin(async move {
            let pending = stage.pending(device).await;
            let id = pending
                .first()
                .map(|request| request["requestId"].clone())
                .unwrap_or_default();
            let session = stage.sessions.get_mut(key).unwrap();
            session.verdict(method, json!({ "requestId": id })).await
        })
    })
}

fn sees(key: &'static str, device: &'static str) -> Act {
    Box::new(move |stage| {
        Box::pin(async move {
            let id = stage.device(device).id();
            let session = stage.sessions.get_mut(key).unwrap();
            let listed = session.call("device.pair.list", json!({})).await.unwrap();
            let mut pending = listed["pending"].as_array().into_iter().flatten();
            if pending.any(|row| row["deviceId"] == id.as_str()) {
                "yes"
            } else {
                "no"
            }
            .to_owned()
        })
    })
}

/// Whether a session still answers, or how it was closed.
fn alive(key: &'static str) -> Act {
    Box::new(move |stage| {
        Box::pin(async move {
            let session = stage.sessions.get_mut(key).unwrap();
            match session.call("system-presence", json!({})).await {
                Err(error) if error["closed"].is_u64() => {
                    format!(
                        "{} {}",
                        error["closed"],
                        error["message"].as_str().unwrap_or_default()
                    )
                }
                _ => "open".to_owned(),
            }
        })
    })
}

fn denied(key: &'static str, method: &'static str) -> Act {
    Box::new(move |stage| {
        Box::pin(async move {
            let session = stage.sessions.get_mut(key).unwrap();
            let error = session.call(method, json!({})).await.unwrap_err();
            let part = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let (code, message) = (part(&error["code"]), part(&error["message"]));
            format!("{code} {message} {}", part(&error["details"]["code"]))
                .trim_end()
                .to_owned()
        })
    })
}

fn events() -> Act {
    Box::new(|stage| {
        Box::pin(async move {
            let device = stage.device("a").id();
            stage.admin().await;
            stage.client("a").scopes(&[READ]).remote().run().await;
            let admin = stage.admin().await;
            let requested = about(admin, "device.pair.requested", &device).await;
            let request_id = requested["requestId"].clone();
            admin
                .call("device.pair.approve", json!({ "requestId": request_id }))
                .await
                .unwrap();
            let resolved = about(admin, "device.pair.resolved", &device).await;
            assert_eq!(resolved["requestId"], request_id);
            let decision = resolved["decision"].as_str().unwrap_or_default();
            format!(
                "requested {}, resolved {decision}",
                short(&requested["scopes"])
            )
        })
    })
}

fn silent_event() -> Act {
    Box::new(|stage| {
        Box::pin(async move {
            let device = stage.device("s").id();
            stage.admin().await;
            stage.client("s").scopes(&[READ]).run().await;
            let admin = stage.admin().await;
            let resolved = about(admin, "device.pair.resolved", &device).await;
            assert!(
                !admin
                    .events
                    .iter()
                    .any(|event| event["payload"]["deviceId"] == device.as_str())
            );
            format!(
                "resolved {}",
                resolved["decision"].as_str().unwrap_or_default()
            )
        })
    })
}

/// How many rows of presence a device has.
fn presence(device: &'static str) -> Act {
    Box::new(move |stage| {
        Box::pin(async move {
            let id = stage.device(device).id();
            let rows = stage
                .admin()
                .await
                .call("system-presence", json!({}))
                .await
                .unwrap();
            let rows = rows.as_array().into_iter().flatten();
            rows.filter(|row| row["deviceId"] == id.as_str())
                .count()
                .to_string()
        })
    })
}

async fn about(session: &mut crate::support::client::Session, name: &str, device: &str) -> Value {
    loop {
        let payload = session.event(name).await;
        if payload["deviceId"] == device {
            return payload;
        }
    }
}

/// Whether two attempts of the same remote device name the same request.
pub(super) fn same_request_id() -> Act {
    Box::new(|stage| {
        Box::pin(async move {
            let first = stage.client("a").scopes(&[READ]).remote().run().await;
            let second = stage.client("a").scopes(&[READ]).remote().run().await;
            assert_ne!(first.request_id(), "");
            if first.request_id() == second.request_id() {
                "same"
            } else {
                "another"
            }
            .to_owned()
        })
    })
}

/// Whether a device keeps its token when it is a browser's, then a program's, then a browser's.
pub(super) fn token_of_kinds() -> Act {
    Box::new(|stage| {
        Box::pin(async move {
            let ui = |stage: &Stage| {
                let ui = stage
                    .client("a")
                    .client("openclaw-control-ui", "webchat")
                    .scopes(FULL);
                ui.header("origin", "http://127.0.0.1:9")
            };
            let browser = ui(stage).run().await;
            let program = stage.client("a").scopes(&[READ]).run().await;
            let again = ui(stage).run().await;
            let tokens = [&browser, &program, &again]
                .map(|outcome| outcome.device_token().map(str::to_owned));
            assert!(tokens.iter().all(Option::is_some), "{tokens:?}");
            let kept = |one: usize, two: usize| {
                if tokens[one] == tokens[two] {
                    "kept"
                } else {
                    "new"
                }
            };
            format!("{}, {}", kept(0, 1), kept(1, 2))
        })
    })
}

/// The device token after a second connect, and the scopes `hello-ok` shows then.
pub(super) fn token_after(first: &'static [&str], second: &'static [&str]) -> Act {
    Box::new(move |stage| {
        Box::pin(async move {
            let device = crate::support::device::TestDevice::new();
            let one = stage.anonymous().device(&device).scopes(first).run().await;
            let two = stage.anonymous().device(&device).scopes(second).run().await;
            let same = one.device_token().is_some() && one.device_token() == two.device_token();
            let shown = two
                .hello
                .as_ref()
                .map(|hello| short(&hello["auth"]["scopes"]))
                .unwrap_or_default();
            keep(stage, "last", two);
            format!("{}, shows {shown}", if same { "same" } else { "another" })
        })
    })
}

const WAITS: [&str; 4] = [
    "NOT_PAIRED: pairing required",
    "PAIRING_REQUIRED/not-paired",
    "PAIRING_REQUIRED/not-paired",
    "PAIRING_REQUIRED/not-paired",
];
const MISSING_ADMIN: &str = "missing scope: operator.admin";
const APPROVAL_DENIED: &str = "device pairing approval denied";
const ROTATION_DENIED: &str = "device token rotation denied";
