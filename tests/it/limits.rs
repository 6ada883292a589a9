use std::time::Duration;

use scope_shim::demo::simulated::Profile;
use tokio::time::timeout;

use crate::stage::Stage;
use crate::support::client::{LEGACY, READ};
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

#[tokio::test]
async fn clients_over_the_limit_wait_until_one_leaves() {
    let stage = Stage::with(Profile::Literal, |setup| {
        setup.config = "[limits]\nconnections = 2\n".into()
    })
    .await;
    let connect = stage
        .through()
        .device(&stage.paired(LEGACY))
        .scopes(&[READ]);
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
