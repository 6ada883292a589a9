use scope_shim::demo::simulated::Profile;
use serde_json::Value;

use crate::stage::{Stage, eventually, until};
use crate::support::client::{ADMIN, LEGACY, READ, WRITE};

/// What the audit log says.
fn audit(stage: &Stage) -> Vec<Value> {
    let text =
        std::fs::read_to_string(stage.dir.path().join("data/audit.jsonl")).unwrap_or_default();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test]
async fn a_call_that_never_meets_the_shim_works_once_its_request_is_approved() {
    let stage = Stage::new(Profile::Literal).await;
    stage.delegate().await;
    let device = stage.paired(LEGACY);
    for scope in [READ, WRITE] {
        let direct = stage
            .direct()
            .device(&device)
            .client("gateway-client", "backend")
            .scopes(&[scope]);
        let first = direct.clone().run().await;
        assert_eq!(
            first.message(),
            "pairing required",
            "the first call may fail"
        );
        until(&direct, "every later one works", |outcome| {
            outcome.session.is_some()
        })
        .await;
    }
    assert!(stage.pending().is_empty());
    let log = audit(&stage);
    assert_eq!(log.len(), 2, "{log:?}");
    assert_eq!(log[0]["deviceId"], device.id().as_str());
    assert_eq!(log[0]["rule"], "entitled-repair");
    assert_eq!(log[0]["requestedScopes"], serde_json::json!([READ]));
}

#[tokio::test]
async fn a_request_for_more_waits_for_somebody() {
    let stage = Stage::new(Profile::Literal).await;
    stage.delegate().await;
    let reader = stage.paired(&[READ]);
    let wider = stage.direct().device(&reader).scopes(&[ADMIN]);
    assert!(wider.clone().run().await.session.is_none());
    // By the time an entitled request of another device is approved, this one has been looked at.
    let entitled = stage.direct().device(&stage.paired(LEGACY)).scopes(&[READ]);
    until(&entitled, "the entitled request is approved", |outcome| {
        outcome.session.is_some()
    })
    .await;
    assert!(wider.run().await.session.is_none());
    assert_eq!(stage.pending().len(), 1);
    assert_eq!(audit(&stage).len(), 1);
}

#[tokio::test]
async fn nothing_is_approved_in_other_modes_or_when_switched_off() {
    for config in [
        "mode = \"off\"\n",
        "mode = \"observe\"\n",
        "[policy]\nentitled_repairs = \"off\"\n",
    ] {
        let stage = Stage::with(Profile::Literal, |setup| {
            config.clone_into(&mut setup.config)
        })
        .await;
        stage.delegate().await;
        let direct = stage.direct().device(&stage.paired(LEGACY)).scopes(&[READ]);
        direct.clone().run().await;
        eventually("the request waits", || {
            (stage.pending().len() == 1).then_some(())
        })
        .await;
        // A removed delegate is noticed by the same events; when it is back, the request has been looked at.
        stage.gateway.restart().await.unwrap();
        until(
            &stage.direct().device(&stage.paired(LEGACY)).scopes(LEGACY),
            "restarted",
            |outcome| outcome.session.is_some(),
        )
        .await;
        assert!(direct.run().await.session.is_none(), "{config}");
        assert!(audit(&stage).is_empty(), "{config}");
    }
}
