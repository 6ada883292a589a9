use std::time::Duration;

use scope_shim::demo::simulated::Profile;
use tokio::time::timeout;

use crate::held::metric;
use crate::stage::{Stage, until};
use crate::support::client::{Connect, LEGACY, READ};
use crate::wire::RawClient;

#[tokio::test]
async fn a_request_head_that_does_not_come_is_not_waited_for() {
    let stage = Stage::with(Profile::Literal, |setup| {
        setup.config = "[limits]\nheader_timeout = \"200ms\"\n".into();
    })
    .await;
    let mut client = RawClient::connect(stage.shim.addr).await;
    client.write(b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow").await;
    let response = String::from_utf8(client.rest().await).unwrap();
    assert!(
        response.is_empty() || response.starts_with("HTTP/1.1 408 "),
        "{response}"
    );
}

/// A shim with two places for clients, and a client for one of them.
async fn two_places() -> (Stage, Connect) {
    let stage = Stage::with(Profile::Literal, |setup| {
        setup.config = "[limits]\nconnections = 2\n".into()
    })
    .await;
    let device = stage.paired(LEGACY);
    let connect = stage.through().device(&device).scopes(&[READ]);
    (stage, connect)
}

#[tokio::test]
async fn clients_over_the_limit_wait_until_one_leaves() {
    let (_stage, connect) = two_places().await;
    let first = connect.clone().run().await.admitted();
    let _second = connect.clone().run().await.admitted();
    let mut third = tokio::spawn(connect.run());
    timeout(Duration::from_millis(300), &mut third)
        .await
        .expect_err("there is no place for it");
    first.close().await;
    assert_eq!(third.await.unwrap().label().await, "ok r");
}

#[tokio::test]
async fn where_nobody_leaves_clients_over_the_limit_are_told_so_and_the_others_go_on() {
    let (stage, connect) = two_places().await;
    let mut first = connect.clone().run().await.admitted();
    let mut second = connect.clone().run().await.admitted();
    // Those that say nothing keep nobody from being told.
    let silent = (0..8).map(|_| RawClient::connect(stage.shim.addr));
    let _silent = futures_util::future::join_all(silent).await;
    for _ in 0..8 {
        let told = async {
            let mut client = RawClient::upgrade(stage.shim.addr, "/", b"").await;
            client.closed().await
        };
        let (code, reason) = timeout(PROMPTLY, told).await.expect("an answer");
        assert_eq!(code, 1013);
        assert!(reason.contains("limits.connections"), "{reason}");
        let mut plain = RawClient::connect(stage.shim.addr).await;
        plain
            .write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            .await;
        let answer = String::from_utf8(plain.rest().await).unwrap();
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.to_lowercase().contains("retry-after: "), "{answer}");
        assert_eq!(first.letters().await, "r");
    }
    let turned_away = "scope_shim_client_connections_turned_away_total";
    let counted = metric(&stage.dir.path().join("data"), turned_away).await;
    assert!(counted >= 16.0, "{counted}");
    first.close().await;
    let third = until(&connect, "there is a place", |outcome| {
        outcome.session.is_some()
    });
    assert_eq!(third.await.label().await, "ok r");
    assert_eq!(second.letters().await, "r");
}

#[tokio::test]
async fn a_silent_session_ends_where_that_is_configured() {
    let stage = Stage::with(Profile::Literal, |setup| {
        setup.config = "[limits]\nidle_timeout = \"200ms\"\n".into();
    })
    .await;
    let connect = stage
        .through()
        .device(&stage.paired(LEGACY))
        .scopes(&[READ]);
    let mut session = connect.run().await.admitted();
    let ended = timeout(Duration::from_secs(10), session.closed()).await;
    assert!(ended.is_ok(), "still open");
}

/// Nobody waits so long who is told at once.
const PROMPTLY: Duration = Duration::from_secs(10);
