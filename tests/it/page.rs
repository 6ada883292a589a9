//! What the status page asks for: an approval of just what somebody was shown.

use scope_shim::demo::simulated::Profile;
use serde_json::{Value, json};

use crate::admin::post;
use crate::stage::{Stage, eventually};
use crate::support::client::{FULL, READ, WRITE};
use crate::support::device::TestDevice;

/// A device that may read waits for these scopes; returns it and its request's id.
async fn waiting(stage: &Stage, scopes: &[&str]) -> (TestDevice, String) {
    stage.delegate().await;
    let device = stage.paired(&[READ]);
    let asking = stage.direct().client("cli", "cli").device(&device);
    let outcome = asking.scopes(scopes).run().await;
    assert!(outcome.session.is_none(), "{outcome:?}");
    let id = eventually("a request waits", || {
        let pending = stage.pending();
        Some(pending.first()?["requestId"].as_str()?.to_owned())
    });
    (device, id.await)
}

async fn approve(stage: &Stage, body: Value) -> (u16, Value) {
    let answer = post(stage, "/approve", &body).await;
    (answer.status, answer.json())
}

fn audit(stage: &Stage) -> Vec<Value> {
    let text = std::fs::read_to_string(stage.dir.path().join("data/audit.jsonl"));
    let lines = text.unwrap_or_default();
    let lines = lines.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test]
async fn what_was_shown_is_approved_and_accounted_for() {
    let stage = Stage::new(Profile::Pending).await;
    let (device, id) = waiting(&stage, &[READ, WRITE]).await;
    let (status, answer) = approve(&stage, json!({"request": id, "scopes": [WRITE, READ]})).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["approved"]["after"], json!([READ, WRITE]));
    assert!(stage.pending().is_empty());
    let log = audit(&stage);
    assert_eq!(log.len(), 1, "{log:?}");
    assert_eq!(log[0]["rule"], "page");
    assert_eq!(log[0]["deviceId"], device.id().as_str());
    let (status, answer) = approve(&stage, json!({"request": id})).await;
    assert_eq!(status, 409);
    let said = answer["error"]["message"].as_str().unwrap();
    assert!(said.contains("approved it already"), "{said}");
}

#[tokio::test]
async fn what_was_not_shown_is_not_approved() {
    let stage = Stage::new(Profile::Pending).await;
    let (_, id) = waiting(&stage, FULL).await;
    for (body, expected, words) in [
        (
            json!({"request": id, "scopes": [READ]}),
            409,
            "now asks for",
        ),
        (
            json!({"request": "another", "scopes": FULL}),
            409,
            "no longer waits",
        ),
        (json!({"request": id, "gateway": "another"}), 400, "gateway"),
        (json!({"request": id, "scopes": "all"}), 400, "scopes"),
        (json!({}), 400, "request"),
    ] {
        let (status, answer) = approve(&stage, body.clone()).await;
        assert_eq!(status, expected, "{body}: {answer}");
        let said = answer["error"]["message"].as_str().unwrap();
        assert!(said.contains(words), "{body}: {said}");
    }
    assert_eq!(stage.pending().len(), 1);
    assert!(audit(&stage).is_empty());
}

#[tokio::test]
async fn what_the_policy_keeps_from_a_client_the_page_cannot_approve() {
    let stage = Stage::with(Profile::Pending, |setup| {
        setup.config = "[policy]\nmax_scopes = [\"operator.read\"]\n".to_owned();
    })
    .await;
    let (_, id) = waiting(&stage, &[READ, WRITE]).await;
    let (status, answer) = approve(&stage, json!({"request": id, "scopes": [READ, WRITE]})).await;
    assert_eq!(status, 409);
    let said = answer["error"]["message"].as_str().unwrap();
    assert!(said.contains("policy.max_scopes keeps write"), "{said}");
    assert_eq!(stage.pending().len(), 1);
    assert!(audit(&stage).is_empty());
}
