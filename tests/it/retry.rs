use scope_shim::demo::simulated::Profile;

use crate::stage::{Stage, eventually};
use crate::support::client::{LEGACY, READ, WRITE};

/// A gateway that behaves otherwise than its version lets one expect.
async fn surprising(profile: Profile, announced: &str) -> Stage {
    let stage = Stage::with(profile, |setup| {
        setup.options.announced_version = Some(announced.to_owned());
    })
    .await;
    stage.delegate().await;
    stage
}

/// How many handshakes the gateway has seen that were not the shim's own.
fn handshakes(stage: &Stage) -> usize {
    let connects = stage.gateway.connects();
    connects
        .iter()
        .filter(|connect| !String::from_utf8_lossy(&connect.frame).contains("shim-connect"))
        .count()
}

#[tokio::test]
async fn an_unforeseen_refusal_is_healed_on_a_second_connection_and_learnt_from() {
    let stage = surprising(Profile::Literal, "2026.3.13").await;
    let device = stage.paired(LEGACY);
    let mut healed = stage.through().device(&device).scopes(&[READ]).run().await;
    assert_eq!(healed.label().await, "ok r");
    assert_eq!(handshakes(&stage), 2, "refused, then rewritten");
    eventually("its pairing request is taken back", || {
        stage.pending().is_empty().then_some(())
    })
    .await;
    let mut next = stage.through().device(&device).scopes(&[WRITE]).run().await;
    assert_eq!(next.label().await, "ok rw");
    assert_eq!(handshakes(&stage), 3, "rewritten at once");
    assert!(stage.pending().is_empty());
}

#[tokio::test]
async fn unforeseen_clearing_of_scopes_is_healed_and_learnt_from() {
    let stage = surprising(Profile::Pending, "2026.9.6").await;
    let connect = stage.through().client("cli", "cli").scopes(&[READ]);
    assert_eq!(connect.clone().run().await.label().await, "ok r");
    assert_eq!(handshakes(&stage), 2);
    assert_eq!(connect.run().await.label().await, "ok r");
    assert_eq!(handshakes(&stage), 3);
}

#[tokio::test]
async fn a_refusal_that_the_session_is_not_entitled_to_get_past_stays_one() {
    let stage = surprising(Profile::Literal, "2026.3.13").await;
    let device = stage.paired(&[READ]);
    let refused = stage.through().device(&device).scopes(&[WRITE]).run().await;
    let said = refused.message();
    assert!(said.starts_with("pairing required: "), "{said}");
    assert!(
        said.contains("asks for write; approved: read; missing: write"),
        "{said}"
    );
    assert_eq!(handshakes(&stage), 1);
    assert_eq!(stage.pending().len(), 1, "for a human to approve");
}
