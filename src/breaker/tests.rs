#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::time::Duration;

use hyper::Request;
use serde_json::{Value, json};
use tokio::time::advance;

use super::*;
use crate::device::DeviceRecord;
use crate::fixture;
use crate::handshake::message::Answer;
use crate::scope::{ADMIN, READ, WRITE};

/// One client's way to say the same again and again.
struct Client {
    device: &'static str,
    token: &'static str,
    scopes: &'static [&'static str],
    agent: &'static str,
    approved: &'static [&'static str],
    address: [u8; 4],
}

const CLIENT: Client = Client {
    device: "d1",
    token: "shared",
    scopes: &[ADMIN],
    agent: "tui",
    approved: &[READ],
    address: [192, 0, 2, 7],
};

impl Client {
    fn connect(&self, id: &str) -> Connect {
        let message = json!({"type": "req", "id": id, "method": "connect", "params": {
            "minProtocol": 3, "maxProtocol": 3,
            "client": {"id": "gateway-client", "version": "1", "platform": "linux", "mode": "ui", "instanceId": id},
            "scopes": self.scopes, "auth": {"token": self.token},
            "device": {"id": self.device, "publicKey": self.device, "signature": id, "signedAt": 1, "nonce": id}}});
        Connect::parse(message.to_string().as_bytes()).unwrap()
    }

    fn attempt(&self, breaker: &Breaker) -> Attempt {
        let request = Request::builder()
            .uri("/")
            .header("user-agent", self.agent)
            .body(())
            .unwrap();
        let address = self.address.into();
        let fingerprints = breaker.fingerprints();
        let trace = fingerprints.trace(address, &request, std::iter::empty());
        let id = format!("{:?}", Instant::now());
        Attempt::new(
            fingerprints,
            trace,
            &self.connect(&id),
            false,
            Some(DeviceId::new(self.device)),
            Footing::of(Some(&self.record())),
        )
    }

    fn record(&self) -> DeviceRecord {
        fixture::record(self.device, self.device, self.approved)
    }
}

fn absorption(error: &Value) -> Absorption {
    let message = json!({"type": "res", "id": "1", "ok": false, "error": error});
    let answer = Answer::parse(message.to_string().as_bytes(), "1");
    let Some(Answer::Refused { message, refusal }) = answer else {
        unreachable!("it is a refusal")
    };
    Absorption::new(&message, &refusal, 1008).unwrap()
}

fn pairing() -> Absorption {
    absorption(
        &json!({"code": "NOT_PAIRED", "message": "pairing required", "details": {"requestId": "r1"}}),
    )
}

fn wrong_token() -> Absorption {
    absorption(
        &json!({"code": "INVALID_REQUEST", "message": "unauthorized: gateway token mismatch"}),
    )
}

/// A breaker that remembers what the gateway said to this client.
async fn after(client: &Client, absorption: Absorption) -> Breaker {
    let breaker = Breaker::new().unwrap();
    breaker
        .remember(&client.attempt(&breaker), absorption)
        .await;
    breaker
}

async fn finds(breaker: &Breaker, client: &Client) -> bool {
    let attempt = client.attempt(breaker);
    breaker.find(&attempt).await.is_some()
}

#[tokio::test(start_paused = true)]
async fn a_repeat_is_known_by_what_it_says_and_not_by_what_is_new_in_every_attempt() {
    let breaker = after(&CLIENT, wrong_token()).await;
    advance(Duration::from_secs(1)).await;
    assert!(finds(&breaker, &CLIENT).await);
    let others = [
        Client {
            device: "d2",
            ..CLIENT
        },
        Client {
            token: "another",
            ..CLIENT
        },
        Client {
            scopes: &[READ],
            ..CLIENT
        },
        Client {
            agent: "browser",
            ..CLIENT
        },
    ];
    for other in others {
        assert!(!finds(&breaker, &other).await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_pending_request_stands_for_every_scope_set_of_its_device_and_its_credential_alone() {
    let breaker = after(&CLIENT, pairing()).await;
    let wider = Client {
        scopes: &[WRITE, ADMIN],
        agent: "cli",
        ..CLIENT
    };
    assert!(finds(&breaker, &wider).await);
    let within = Client {
        scopes: &[READ],
        ..CLIENT
    };
    assert!(
        !finds(&breaker, &within).await,
        "what needs no approval is another matter"
    );
    assert!(
        !finds(
            &breaker,
            &Client {
                token: "another",
                ..CLIENT
            }
        )
        .await
    );
    assert!(
        !finds(
            &breaker,
            &Client {
                device: "d2",
                ..CLIENT
            }
        )
        .await
    );
    assert!(
        !finds(
            &breaker,
            &Client {
                address: [192, 0, 2, 8],
                ..CLIENT
            }
        )
        .await,
        "the gateway may let in who comes from another network"
    );
}

#[tokio::test(start_paused = true)]
async fn a_record_that_changed_ends_it_and_releases_who_waits() {
    let breaker = after(&CLIENT, pairing()).await;
    let known = breaker.find(&CLIENT.attempt(&breaker)).await.unwrap();
    let approved = Client {
        approved: &[READ, ADMIN],
        ..CLIENT
    };
    assert!(!finds(&breaker, &approved).await);
    known.forgotten().await;
    assert!(!finds(&breaker, &CLIENT).await, "nor does it come back");
}

#[tokio::test(start_paused = true)]
async fn every_refusal_is_asked_for_anew_after_a_while() {
    for (absorption, lasts) in [(pairing(), 300), (wrong_token(), 60)] {
        let breaker = after(&CLIENT, absorption).await;
        advance(Duration::from_secs(lasts - 1)).await;
        assert!(finds(&breaker, &CLIENT).await);
        advance(Duration::from_secs(1)).await;
        assert!(!finds(&breaker, &CLIENT).await, "after {lasts} s");
        assert!(!breaker.expects(&CLIENT.attempt(&breaker).trace).await);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_carries_the_id_of_its_request_and_the_time_that_is_left() {
    let limited = json!({"code": "INVALID_REQUEST", "message": "…", "retryable": true, "retryAfterMs": 9000,
        "details": {"code": "AUTH_RATE_LIMITED"}});
    let breaker = after(&CLIENT, absorption(&limited)).await;
    advance(Duration::from_secs(4)).await;
    let known = breaker.find(&CLIENT.attempt(&breaker)).await.unwrap();
    let message = known.message("its own");
    assert_eq!(message["id"], "its own");
    assert_eq!(message["error"]["retryAfterMs"], 5000);
    advance(Duration::from_secs(5)).await;
    assert!(!finds(&breaker, &CLIENT).await, "the time is over");
}

#[tokio::test(start_paused = true)]
async fn who_was_sent_back_finds_the_way_open_until_it_was_heard() {
    let breaker = after(&CLIENT, pairing()).await;
    advance(Duration::from_secs(1)).await;
    let trace = CLIENT.attempt(&breaker).trace;
    assert!(breaker.expects(&trace).await);
    let other = Client {
        device: "d2",
        ..CLIENT
    }
    .attempt(&breaker);
    breaker.send_back(trace, Some(&other)).await;
    assert!(!breaker.expects(&trace).await);
    breaker.heard(&CLIENT.attempt(&breaker)).await;
    assert!(!breaker.expects(&trace).await, "not that one");
    breaker.heard(&other).await;
    assert!(breaker.expects(&trace).await);
}

#[tokio::test]
async fn memory_is_bounded_however_many_are_refused() {
    let breaker = Breaker::new().unwrap();
    let attempt = CLIENT.attempt(&breaker);
    for number in 0..2 * CAPACITY {
        let mut exact = [0; 32];
        exact[..8].copy_from_slice(&number.to_be_bytes());
        let attempt = Attempt {
            exact,
            ..attempt.clone()
        };
        breaker.remember(&attempt, wrong_token()).await;
    }
    breaker.refusals.run_pending_tasks().await;
    assert!(breaker.refusals.entry_count() <= CAPACITY);
    let places: Vec<_> = std::iter::from_fn(|| breaker.place()).collect();
    assert_eq!(places.len(), HOLDS);
}

#[tokio::test]
async fn nothing_that_a_client_said_shows_in_debug_output() {
    let breaker = after(
        &Client {
            token: "hush",
            ..CLIENT
        },
        wrong_token(),
    )
    .await;
    let attempt = CLIENT.attempt(&breaker);
    assert!(!format!("{breaker:?}{attempt:?}").contains("hush"));
}
