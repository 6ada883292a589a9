use std::fs;
use std::path::PathBuf;

use scope_shim::decide::Question;
use scope_shim::demo::simulated::Profile;
use scope_shim::explain::{Kept, Outcome, SessionTrace};

use crate::stage::{Stage, eventually};
use crate::support::client::{LEGACY, READ, WRITE};

fn data(stage: &Stage) -> PathBuf {
    stage.dir.path().join("data")
}

/// What the shim has kept, once there is so much of it.
async fn kept(stage: &Stage, count: usize) -> Vec<SessionTrace> {
    let data = data(stage);
    eventually("the sessions are kept", || {
        let kept = Kept::read(&data).unwrap().traces;
        (kept.len() >= count).then_some(kept)
    })
    .await
}

#[tokio::test]
async fn a_session_leaves_how_it_was_decided_and_what_came_of_it() {
    let stage = Stage::new(Profile::Literal).await;
    stage.delegate().await;
    let device = stage.paired(LEGACY);
    let connect = stage.through().device(&device);
    connect.clone().scopes(&[READ]).run().await.admitted();
    connect.clone().scopes(LEGACY).run().await.admitted();
    let stranger = stage.paired(&[READ]);
    stage
        .through()
        .device(&stranger)
        .scopes(&[WRITE])
        .run()
        .await;
    let kept = kept(&stage, 3).await;
    let seen: Vec<_> = kept
        .iter()
        .map(|trace| (trace.decision.as_str(), trace.outcome))
        .collect();
    assert_eq!(
        seen,
        [
            ("rewrite", Outcome::Delegated),
            ("pass", Outcome::Accepted),
            ("pass", Outcome::Refused)
        ]
    );
    for trace in &kept {
        let last = trace.steps.last().unwrap();
        assert_eq!(last.question, Question::Decision);
        assert_eq!(
            (&last.answer, last.because.first().unwrap()),
            (&trace.decision, &trace.why)
        );
        assert_eq!(trace.mode, "on");
        assert!(trace.case.gateway.early);
    }
    assert_eq!(kept[0].case.record.as_ref().unwrap().approved, LEGACY);
    assert!(kept[2].finding.is_some());
    let mut names: Vec<_> = kept.iter().map(|trace| &trace.session).collect();
    names.dedup();
    assert_eq!(names.len(), 3);
}

#[tokio::test]
async fn a_session_that_asks_for_hundreds_of_scopes_is_kept_in_few_words() {
    let stage = Stage::new(Profile::Literal).await;
    stage.delegate().await;
    let scopes: Vec<String> = (0..400).map(|n| format!("operator.{n:0>80}")).collect();
    let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
    let device = stage.paired(&[READ]);
    let connect = stage.through().device(&device).scopes(&scopes);
    connect.run().await;
    let kept = kept(&stage, 1).await;
    assert!(kept[0].why.starts_with("not approved for"));
    let size = serde_json::to_string(&kept[0]).unwrap().len();
    assert!(size < 25_000, "{size}");
}

#[tokio::test]
async fn a_session_that_was_healed_shows_both_decisions() {
    let stage = Stage::with(Profile::Literal, |setup| {
        setup.options.announced_version = Some("2026.3.13".into());
    })
    .await;
    stage.delegate().await;
    let device = stage.paired(LEGACY);
    stage
        .through()
        .device(&device)
        .scopes(&[READ])
        .run()
        .await
        .admitted();
    let healed = &kept(&stage, 1).await[0];
    assert_eq!(healed.outcome, Outcome::Healed);
    let decisions = healed
        .steps
        .iter()
        .filter(|step| step.question == Question::Decision);
    let answers: Vec<_> = decisions.map(|step| step.answer.as_str()).collect();
    assert_eq!(answers, ["pass", "rewrite"]);
}

#[tokio::test]
async fn no_secret_is_kept() {
    let stage = Stage::new(Profile::Literal).await;
    stage.delegate().await;
    let device = stage.paired(LEGACY);
    let own = stage.pair(&device, LEGACY);
    stage
        .through()
        .device(&device)
        .scopes(&[READ])
        .run()
        .await
        .admitted();
    stage
        .through()
        .token(&own)
        .device(&device)
        .scopes(LEGACY)
        .run()
        .await;
    stage
        .through()
        .token("a-wrong-secret")
        .device(&device)
        .scopes(LEGACY)
        .run()
        .await;
    kept(&stage, 3).await;
    let text = fs::read_to_string(data(&stage).join("sessions.jsonl")).unwrap();
    for secret in [crate::stage::TOKEN, own.as_str(), "a-wrong-secret"] {
        assert!(!text.contains(secret), "{secret}");
    }
    for connect in stage.gateway.connects() {
        let frame: serde_json::Value = serde_json::from_slice(&connect.frame).unwrap();
        for field in ["signature", "nonce", "publicKey"] {
            if let Some(value) = frame["params"]["device"][field].as_str() {
                assert!(!text.contains(value), "{field}");
            }
        }
    }
}

#[tokio::test]
async fn a_place_that_cannot_be_written_harms_no_session() {
    let stage = Stage::new(Profile::Literal).await;
    stage.delegate().await;
    let taken = data(&stage).join("sessions.jsonl");
    fs::create_dir(&taken).unwrap();
    let device = stage.paired(LEGACY);
    let connect = stage.through().device(&device).scopes(&[READ]);
    for _ in 0..3 {
        assert_eq!(connect.clone().run().await.label().await, "ok r");
    }
    fs::remove_dir(&taken).unwrap();
    connect.run().await.admitted();
    kept(&stage, 1).await;
}

#[tokio::test]
async fn nothing_is_kept_where_nobody_wants_it() {
    let stage = Stage::with(Profile::Literal, |setup| {
        setup.config = "[log]\nsessions = \"off\"\n".into();
    })
    .await;
    stage.delegate().await;
    let device = stage.paired(LEGACY);
    let connect = stage.through().device(&device).scopes(&[READ]);
    assert_eq!(connect.run().await.label().await, "ok r");
    stage.shim.stop().await;
    assert!(!stage.dir.path().join("data/sessions.jsonl").exists());
}
