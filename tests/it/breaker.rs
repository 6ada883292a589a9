//! A client that never stops asking.

use std::time::Duration;

use scope_shim::demo::simulated::{Outcome as Seen, Profile};
use scope_shim::ws::Opcode;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::stage::{Stage, until};
use crate::support::client::{ADMIN, Connect, FULL, LEGACY, PAIRING, READ, Session, WRITE};
use crate::support::device::TestDevice;
use crate::support::outcome::Outcome;
use crate::wire::{RawClient, masked};

/// Runs a scenario on all of them at a time, because its clients wait as real ones do.
async fn on_every_profile(scenario: impl AsyncFn(Profile)) {
    tokio::join!(
        scenario(Profile::Literal),
        scenario(Profile::Clearing),
        scenario(Profile::Pending),
        scenario(Profile::Latest),
    );
}

/// The shortest pause that any real client makes before it tries again.
const PAUSE: Duration = Duration::from_millis(800);

/// A gateway, a shim whose delegate is paired, and the world outside behind a proxy.
async fn scene(profile: Profile) -> Stage {
    let stage = Stage::with(profile, |setup| {
        setup.options.trusted_proxies = vec!["127.0.0.2".into()];
        setup.config = "trusted_proxies = [\"127.0.0.3\"]\n".into();
    })
    .await;
    stage.delegate().await;
    stage
}

/// A terminal interface elsewhere: it goes on by itself, and no version lets it in silently.
fn looping(stage: &Stage, device: &TestDevice) -> Connect {
    elsewhere(stage)
        .client("gateway-client", "ui")
        .device(device)
        .scopes(&[ADMIN])
}

fn elsewhere(stage: &Stage) -> Connect {
    stage
        .through()
        .from("127.0.0.3")
        .header("X-Forwarded-For", "203.0.113.9")
}

/// The same attempt so many times, with the pauses of a client.
async fn repeatedly(connect: &Connect, times: usize) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for _ in 0..times {
        sleep(PAUSE).await;
        outcomes.push(connect.clone().run().await);
    }
    outcomes
}

/// What the gateway has seen but for the shim's own sessions: the handshakes, and the connections that said nothing.
fn seen(stage: &Stage) -> (usize, usize) {
    let connects = stage.gateway.connects();
    let others = connects
        .iter()
        .filter(|connect| !String::from_utf8_lossy(&connect.frame).contains("shim-connect"));
    let (silent, spoke): (Vec<_>, Vec<_>) =
        others.partition(|connect| connect.outcome == Seen::Abandoned);
    (spoke.len(), silent.len())
}

async fn owner(stage: &Stage) -> Session {
    let device = stage.paired(FULL);
    let owner = stage.direct().device(&device).scopes(FULL);
    owner.run().await.admitted()
}

fn pending_id(stage: &Stage) -> Value {
    let pending = stage.pending();
    assert_eq!(pending.len(), 1, "{pending:?}");
    pending[0]["requestId"].clone()
}

#[tokio::test]
async fn a_client_that_never_stops_reaches_the_gateway_once_and_files_one_request() {
    on_every_profile(async |profile| {
        let stage = scene(profile).await;
        let connect = looping(&stage, &stage.paired(&[READ]));
        let first = connect.clone().run().await;
        let id = pending_id(&stage);
        for repeat in repeatedly(&connect, 4).await {
            assert_eq!(repeat.verdict(), first.verdict(), "{profile:?}");
            assert_eq!(repeat.request_id(), id, "{profile:?}");
        }
        assert_eq!(seen(&stage), (1, 0), "{profile:?}");
        assert_eq!(pending_id(&stage), id);
    })
    .await;
}

#[tokio::test]
async fn a_command_that_is_run_again_asks_the_gateway_once() {
    let stage = scene(Profile::Literal).await;
    let connect = stage
        .through()
        .client("cli", "cli")
        .device(&stage.paired(&[READ]))
        .scopes(&[ADMIN]);
    let first = connect.clone().run().await;
    for _ in 0..2 {
        assert_eq!(connect.clone().run().await.verdict(), first.verdict());
    }
    assert_eq!(seen(&stage).0, 1);
}

#[tokio::test]
async fn an_approval_lets_the_client_in_with_its_next_attempt() {
    on_every_profile(async |profile| {
        let stage = scene(profile).await;
        let connect = looping(&stage, &stage.paired(&[READ]));
        let mut owner = owner(&stage).await;
        assert!(connect.clone().run().await.session.is_none());
        repeatedly(&connect, 2).await;
        let params = json!({"requestId": pending_id(&stage)});
        owner.call("device.pair.approve", params).await.unwrap();
        let mut outcome = connect.run().await;
        assert_eq!(outcome.label().await, "ok rwAap", "{profile:?}");
    })
    .await;
}

#[tokio::test]
async fn a_client_that_is_held_back_is_let_in_by_the_approval() {
    let stage = scene(Profile::Literal).await;
    let connect = looping(&stage, &stage.paired(&[READ]));
    let mut owner = owner(&stage).await;
    assert!(connect.clone().run().await.session.is_none());
    repeatedly(&connect, 4).await;
    sleep(PAUSE).await;
    let held = tokio::spawn(connect.run());
    sleep(PAUSE).await;
    assert!(!held.is_finished(), "the fifth repeat is held for seconds");
    let params = json!({"requestId": pending_id(&stage)});
    owner.call("device.pair.approve", params).await.unwrap();
    assert_eq!(held.await.unwrap().label().await, "ok rwAap");
}

#[tokio::test]
async fn a_rejection_lets_the_next_attempt_ask_anew() {
    let stage = scene(Profile::Literal).await;
    let connect = looping(&stage, &stage.paired(&[READ]));
    let mut owner = owner(&stage).await;
    assert!(connect.clone().run().await.session.is_none());
    repeatedly(&connect, 1).await;
    let before = pending_id(&stage);
    let params = json!({"requestId": before});
    owner.call("device.pair.reject", params).await.unwrap();
    until(&connect, "it is asked again", |outcome| {
        !outcome.request_id().is_empty() && outcome.request_id() != before
    })
    .await;
    assert_ne!(pending_id(&stage), before);
}

#[tokio::test]
async fn a_gateway_that_was_restarted_is_asked_again() {
    let stage = scene(Profile::Literal).await;
    let connect = elsewhere(&stage)
        .client("gateway-client", "ui")
        .token("wrong");
    assert!(connect.clone().run().await.session.is_none());
    stage.gateway.restart().await.unwrap();
    until(&connect, "the gateway answers", |_| seen(&stage).0 == 2).await;
}

#[tokio::test]
async fn other_scope_sets_of_a_device_leave_its_request_as_it_is() {
    on_every_profile(async |profile| {
        let stage = scene(profile).await;
        let device = stage.paired(&[READ]);
        let connect = looping(&stage, &device).scopes(&[WRITE]);
        assert!(connect.clone().run().await.session.is_none());
        let id = pending_id(&stage);
        for scopes in [&[ADMIN][..], &[PAIRING, READ], FULL] {
            let other = connect
                .clone()
                .client("cli", "cli")
                .header("User-Agent", "another client")
                .scopes(scopes);
            let refused = other.run().await;
            assert_eq!(refused.request_id(), id, "{profile:?} {scopes:?}");
            assert_eq!(
                refused.error.as_ref().unwrap()["details"]["scopeShim"]["evidence"]["requestAsks"],
                "write",
                "{profile:?} {scopes:?}: what the request on file is for is said"
            );
        }
        assert_eq!(seen(&stage).0, 1, "{profile:?}");
        assert_eq!(pending_id(&stage), id);
        let within = connect.clone().scopes(&[READ]).run().await;
        assert!(
            within.session.is_some(),
            "{profile:?}: what it may have, it gets"
        );
    })
    .await;
}

#[tokio::test]
async fn others_who_look_the_same_are_let_in_while_one_loops() {
    on_every_profile(async |profile| {
        let stage = scene(profile).await;
        let looping = looping(&stage, &stage.paired(&[READ]));
        assert!(looping.clone().run().await.session.is_none());
        repeatedly(&looping, 1).await;
        sleep(PAUSE).await;
        let healthy = elsewhere(&stage)
            .client("cli", "cli")
            .device(&stage.paired(FULL));
        let mut outcome = healthy.scopes(&[READ, WRITE]).run().await;
        assert_eq!(outcome.label().await, "ok rw", "{profile:?}");
    })
    .await;
}

#[tokio::test]
async fn a_fresh_device_pairs_while_a_local_client_loops() {
    let stage = scene(Profile::Literal).await;
    let local = |device: &TestDevice| {
        stage
            .through()
            .client("gateway-client", "ui")
            .device(device)
    };
    let looping = local(&stage.paired(&[READ])).scopes(&[ADMIN]);
    assert!(looping.clone().run().await.session.is_none());
    repeatedly(&looping, 1).await;
    sleep(PAUSE).await;
    let fresh = local(&TestDevice::new()).scopes(FULL);
    let sent_back = fresh.clone().run().await;
    assert_eq!(
        sent_back.close.as_ref().unwrap().0,
        1012,
        "every client comes back at once"
    );
    assert_eq!(fresh.run().await.label().await, "ok rwAap");
    let before = seen(&stage);
    repeatedly(&looping, 1).await;
    assert_eq!(seen(&stage), before, "then the gateway is left alone again");
    let mut without = stage
        .through()
        .client("cli", "probe")
        .scopes(&[READ])
        .run()
        .await;
    assert_eq!(without.label().await, "ok r");
}

#[tokio::test]
async fn newer_clients_are_sent_back_in_the_way_that_they_repeat_silently() {
    let stage = scene(Profile::Pending).await;
    let looping = looping(&stage, &stage.paired(&[READ]));
    assert!(looping.clone().run().await.session.is_none());
    sleep(PAUSE).await;
    let newer = looping
        .device(&TestDevice::new())
        .tampered(|params| params["client"]["version"] = json!("2026.5.7"));
    let sent_back = newer.clone().run().await;
    assert_eq!(sent_back.code(), "UNAVAILABLE");
    let error = sent_back.error.unwrap();
    assert_eq!(error["details"]["reason"], "startup-sidecars");
    assert_eq!(error["retryable"], true);
    assert_eq!(sent_back.close.unwrap().0, 1013);
    let asked = newer.run().await;
    assert_eq!(
        asked.detail(),
        "PAIRING_REQUIRED",
        "the gateway hears of it"
    );
    assert_eq!(stage.pending().len(), 2);
}

#[tokio::test]
async fn a_wrong_token_is_tried_once_and_the_right_one_passes_at_once() {
    on_every_profile(async |profile| {
        let stage = scene(profile).await;
        let device = stage.paired(LEGACY);
        let client = || {
            elsewhere(&stage)
                .client("gateway-client", "ui")
                .scopes(LEGACY)
        };
        for wrong in [
            client().device(&device).token("wrong"),
            client().token("wrong"),
        ] {
            let before = seen(&stage);
            let first = wrong.clone().run().await;
            assert!(first.session.is_none());
            for repeat in repeatedly(&wrong, 2).await {
                assert_eq!(repeat.verdict(), first.verdict(), "{profile:?}");
            }
            assert_eq!(seen(&stage), (before.0 + 1, before.1), "{profile:?}");
            sleep(PAUSE).await;
        }
        let right = client().device(&device).run().await;
        assert_eq!(right.verdict(), "ok", "{profile:?}");
    })
    .await;
}

#[tokio::test]
async fn nobody_is_refused_for_another() {
    let stage = scene(Profile::Literal).await;
    let victim = stage.paired(&[READ]);
    let refused = looping(&stage, &victim);
    assert!(refused.clone().run().await.session.is_none());
    let id = pending_id(&stage);
    repeatedly(&refused, 1).await;
    // Under the victim's name, without its key.
    let forged = refused
        .clone()
        .tampered(|params| params["device"]["signature"] = json!(TestDevice::new().sign("x")));
    let forged = until(&forged, "the gateway judges", |outcome| {
        outcome.error.is_some()
    })
    .await;
    assert_eq!(forged.code(), "INVALID_REQUEST", "{forged:?}");
    // Another device that asks for the same.
    let other = looping(&stage, &stage.paired(&[READ]));
    let other = until(&other, "the gateway judges", |outcome| {
        outcome.error.is_some()
    })
    .await;
    assert_ne!(other.request_id(), id);
    // The same device with another credential.
    let wrong = refused.clone().token("wrong");
    let wrong = until(&wrong, "the gateway judges", |outcome| {
        outcome.error.is_some()
    })
    .await;
    assert_eq!(wrong.code(), "INVALID_REQUEST", "{wrong:?}");
    assert_eq!(refused.run().await.request_id(), id);
}

#[tokio::test]
async fn nothing_is_absorbed_in_other_modes() {
    for mode in ["off", "observe"] {
        let stage = Stage::with(Profile::Literal, |setup| {
            setup.config = format!("mode = \"{mode}\"\n")
        })
        .await;
        let connect = stage
            .through()
            .client("gateway-client", "ui")
            .device(&stage.paired(&[READ]))
            .scopes(&[ADMIN]);
        assert!(connect.clone().run().await.session.is_none());
        repeatedly(&connect, 2).await;
        assert_eq!(seen(&stage), (3, 0), "{mode}");
    }
}

/// A stage on which the next upgrade of a plain client is expected to be a repeat.
async fn expecting(config: &str) -> Stage {
    expecting_on(Profile::Literal, config).await
}

async fn expecting_on(profile: Profile, config: &str) -> Stage {
    let stage = Stage::with(profile, |setup| config.clone_into(&mut setup.config)).await;
    stage.delegate().await;
    let refused = stage
        .through()
        .client("gateway-client", "ui")
        .token("wrong");
    assert!(refused.run().await.session.is_none());
    sleep(PAUSE).await;
    stage
}

#[tokio::test]
async fn what_is_no_handshake_is_relayed_to_the_gateway_also_where_a_repeat_was_expected() {
    let stage = expecting("").await;
    let mut client = RawClient::upgrade(stage.shim.addr, "/", b"").await;
    client.nonce().await;
    client
        .write(&masked(
            Opcode::Text,
            br#"{"type":"req","id":"1","method":"health"}"#,
        ))
        .await;
    let answer = client.json().await;
    assert_eq!(answer["ok"], false);
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.starts_with("invalid handshake"), "{message}");
    assert_eq!(client.closed().await.0, 1008);
}

#[tokio::test]
async fn a_client_that_says_nothing_is_not_waited_for_where_a_repeat_was_expected() {
    let stage = expecting("[limits]\nhandshake_timeout = \"400ms\"\n").await;
    let before = seen(&stage);
    let mut client = RawClient::upgrade(stage.shim.addr, "/", b"").await;
    client.nonce().await;
    assert_eq!(client.closed().await, (1000, String::new()));
    assert_eq!(seen(&stage), before);
}

#[tokio::test]
async fn who_needs_the_gateway_after_all_waits_for_a_place_as_everybody_does() {
    let config = "[limits]\ngateway_handshakes = 1\n";
    let stage = expecting_on(Profile::Latest, config).await;
    let mut occupant = RawClient::upgrade(stage.shim.addr, "/?another", b"").await;
    occupant.nonce().await;
    let mut client = RawClient::upgrade(stage.shim.addr, "/", b"").await;
    client.nonce().await;
    let health = br#"{"type":"req","id":"1","method":"health"}"#;
    client.write(&masked(Opcode::Text, health)).await;
    assert!(
        timeout(PAUSE, client.frame()).await.is_err(),
        "the only place is taken"
    );
    drop(occupant);
    assert_eq!(client.json().await["ok"], false);
}

#[tokio::test]
async fn a_gateway_that_went_away_is_named_where_a_repeat_was_expected() {
    let stage = expecting("").await;
    stage.gateway.stop().await;
    let other = stage
        .through()
        .client("gateway-client", "ui")
        .token("other");
    let (code, reason) = other.run().await.close.unwrap();
    assert_eq!(code, 1013);
    assert!(reason.contains("the gateway at"), "{reason}");
}

#[tokio::test]
async fn the_shims_own_agreement_is_that_of_the_gateway() {
    let stage = expecting("").await;
    let request = format!(
        "GET / HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: foo, bar\r\n\r\n",
        stage.shim.addr
    );
    let mut heads = Vec::new();
    for addr in [stage.shim.addr, stage.gateway.addr()] {
        let mut client = RawClient::connect(addr).await;
        client.write(request.as_bytes()).await;
        heads.push(client.head().await.to_ascii_lowercase());
        client.nonce().await;
    }
    for line in [
        "http/1.1 101 switching protocols",
        "upgrade: websocket",
        "sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=",
        "sec-websocket-protocol: foo",
    ] {
        for head in &heads {
            assert!(head.contains(line), "{head}");
        }
    }
}
