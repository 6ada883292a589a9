//! Bytes, limits, time, and ends of connections.

use futures_util::{SinkExt as _, StreamExt as _};
use scope_shim::demo::simulated::{Options, Outcome, Profile, SimulatedGateway};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use crate::support::client::{Connect, FULL, READ};
use crate::support::device::TestDevice;

/// A gateway with a state directory of its own.
pub(crate) async fn gateway(profile: Profile) -> (SimulatedGateway, TempDir) {
    let state = tempfile::tempdir().unwrap();
    let options = Options {
        profile,
        state_dir: state.path().to_owned(),
        ..Options::default()
    };
    (SimulatedGateway::start(options).await.unwrap(), state)
}

/// A client frame with a known mask.
fn masked(opcode: u8, last: bool, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![opcode | if last { 0x80 } else { 0 }];
    match payload.len() {
        short @ 0..126 => frame.push(0x80 | u8::try_from(short).unwrap()),
        long => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(long).unwrap().to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(
        payload
            .iter()
            .zip(MASK.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    frame
}

const MASK: [u8; 4] = [0xde, 0xad, 0xbe, 0xef];

/// An upgraded socket, read up to the end of the challenge.
async fn raw_socket(gateway: &SimulatedGateway) -> TcpStream {
    let mut stream = TcpStream::connect(gateway.addr()).await.unwrap();
    let upgrade = "GET /some/path?x=y HTTP/1.1\r\nhOsT: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nX-Twice: 1\r\nx-twice: 2\r\n\r\n";
    stream.write_all(upgrade.as_bytes()).await.unwrap();
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("connect.challenge") {
        assert_ne!(stream.read_buf(&mut seen).await.unwrap(), 0);
    }
    stream
}

/// Reads up to the close frame, of which the answers read here have no other byte.
async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut seen = Vec::new();
    while !seen.contains(&0x88) {
        assert_ne!(stream.read_buf(&mut seen).await.unwrap(), 0);
    }
    seen
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn a_handshake_is_remembered_byte_for_byte() {
    let (gateway, _state) = gateway(Profile::Clearing).await;
    let mut stream = raw_socket(&gateway).await;
    let params = Connect::to(gateway.addr()).token("wrong").params("-");
    let connect =
        json!({ "type": "req", "id": "1", "method": "connect", "params": params }).to_string();
    // In two fragments with a ping between them, one byte at a time.
    let (head, tail) = connect.as_bytes().split_at(20);
    let (first, ping, second) = (
        masked(1, false, head),
        masked(9, true, b"?"),
        masked(0, true, tail),
    );
    for byte in [first.as_slice(), &ping, &second].concat() {
        stream.write_all(&[byte]).await.unwrap();
    }
    assert!(text(&rest(&mut stream).await).contains("AUTH_TOKEN_MISMATCH"));
    let seen = &gateway.connects()[0];
    assert_eq!(seen.frame, connect.as_bytes());
    assert_eq!(seen.raw, [first, second].concat());
    assert_eq!(seen.target, "/some/path?x=y");
    let names: Vec<&str> = seen.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names[0], "hOsT");
    assert_eq!(names[5..], ["X-Twice", "x-twice"]);
    assert_eq!(seen.peer, stream.local_addr().unwrap());
    let message = "unauthorized: gateway token mismatch (provide gateway auth token)".to_owned();
    let (code, detail) = (
        "INVALID_REQUEST".to_owned(),
        Some("AUTH_TOKEN_MISMATCH".to_owned()),
    );
    assert_eq!(
        seen.outcome,
        Outcome::Refused {
            code,
            detail,
            message
        }
    );
}

#[tokio::test]
async fn an_admitted_session_is_remembered_with_its_scopes() {
    let (gateway, _state) = gateway(Profile::Clearing).await;
    let client = Connect::to(gateway.addr()).token(gateway.token().unwrap());
    let session = client
        .device(&TestDevice::new())
        .scopes(&[READ])
        .run()
        .await
        .admitted();
    let (scopes, method) = (vec![READ.to_owned()], "token".to_owned());
    assert_eq!(
        gateway.connects()[0].outcome,
        Outcome::Admitted { scopes, method }
    );
    session.close().await;
}

#[tokio::test]
async fn hello_has_the_keys_of_its_version() {
    let keys =
        |value: &Value| -> Vec<String> { value.as_object().unwrap().keys().cloned().collect() };
    for (profile, server, auth, bare) in [
        (
            Profile::Literal,
            "version host connId",
            "deviceToken role scopes issuedAtMs",
            None,
        ),
        (
            Profile::Clearing,
            "version connId",
            "deviceToken role scopes issuedAtMs",
            None,
        ),
        (
            Profile::Pending,
            "version connId",
            "role scopes deviceToken issuedAtMs",
            Some("role scopes"),
        ),
        (
            Profile::Latest,
            "version buildId bootId controlUiBuildSource connId",
            "method role scopes recoveryScope recoveryMigrationAllowed deviceToken issuedAtMs",
            Some("method role scopes recoveryScope"),
        ),
    ] {
        let (gateway, _state) = gateway(profile).await;
        let client = Connect::to(gateway.addr()).token(gateway.token().unwrap());
        let hello = client
            .clone()
            .device(&TestDevice::new())
            .scopes(FULL)
            .run()
            .await
            .hello
            .unwrap();
        assert_eq!(keys(&hello["server"]).join(" "), server);
        assert_eq!(keys(&hello["auth"]).join(" "), auth);
        let hello = client.run().await.hello.unwrap();
        assert_eq!(
            hello
                .get("auth")
                .map(|auth| keys(auth).join(" "))
                .as_deref(),
            bare
        );
        assert_eq!(hello["policy"]["maxPayload"], 26_214_400);
    }
}

#[tokio::test]
async fn what_is_not_json_ends_the_connection_and_is_remembered() {
    let (gateway, _state) = gateway(Profile::Latest).await;
    let outcome = Connect::to(gateway.addr()).saying("no json").run().await;
    assert_eq!(outcome.close, Some((1000, String::new())));
    assert_eq!(gateway.connects()[0].frame, b"no json");
}

#[tokio::test]
async fn binary_frames_with_json_are_taken() {
    let (gateway, _state) = gateway(Profile::Clearing).await;
    let mut stream = raw_socket(&gateway).await;
    stream
        .write_all(&masked(
            2,
            true,
            br#"{"type":"req","id":"1","method":"health"}"#,
        ))
        .await
        .unwrap();
    assert!(text(&rest(&mut stream).await).contains("first request must be connect"));
}

#[tokio::test]
async fn the_first_message_has_a_limit_from_2026_3_on() {
    for (profile, allowed) in [
        (Profile::Literal, true),
        (Profile::Clearing, false),
        (Profile::Latest, false),
    ] {
        let (gateway, _state) = gateway(profile).await;
        let client = Connect::to(gateway.addr()).token(gateway.token().unwrap());
        let outcome = client
            .tampered(|params| params["userAgent"] = json!("x".repeat(70_000)))
            .run()
            .await;
        assert_eq!(outcome.hello.is_some(), allowed);
        if !allowed {
            assert_eq!(outcome.close.unwrap().0, 1009);
        }
    }
}

#[tokio::test]
async fn a_client_that_breaks_the_protocol_is_closed_with_1002() {
    let (gateway, _state) = gateway(Profile::Clearing).await;
    let mut stream = raw_socket(&gateway).await;
    stream.write_all(&[0x81, 0x02, b'{', b'}']).await.unwrap();
    assert_eq!(rest(&mut stream).await, [0x88, 0x02, 0x03, 0xea]);
    assert!(matches!(
        gateway.connects()[0].outcome,
        Outcome::Closed { code: 1002, .. }
    ));
}

// The clock is stopped and moves when everybody waits, so nothing really waits here.
#[tokio::test(start_paused = true)]
async fn silence_ends_with_1000() {
    for profile in Profile::ALL {
        let (gateway, _state) = gateway(profile).await;
        let mut socket = Connect::to(gateway.addr()).open().await.unwrap();
        let end = loop {
            match socket.next().await {
                Some(Ok(Message::Close(frame))) => break frame,
                Some(Ok(_)) => {}
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(u16::from(end.unwrap().code), 1000);
        drop(socket);
        gateway.stop().await;
        assert!(matches!(
            gateway.connects()[0].outcome,
            Outcome::Closed { code: 1000, .. }
        ));
    }
}

#[tokio::test]
async fn a_client_has_32_unauthenticated_sockets_from_2026_4_on() {
    for (profile, limit) in [
        (Profile::Clearing, false),
        (Profile::Pending, true),
        (Profile::Latest, true),
    ] {
        let (gateway, _state) = gateway(profile).await;
        let client = Connect::to(gateway.addr()).token(gateway.token().unwrap());
        let mut open = Vec::new();
        for _ in 0..32 {
            open.push(client.open().await.unwrap());
        }
        let one_more = client.open().await;
        assert_eq!(one_more.is_err(), limit);
        if let Err((status, body)) = one_more {
            assert_eq!(
                (status, body.as_str()),
                (503, "Too many unauthenticated sockets")
            );
        }
        // Another client has places of its own.
        client.clone().from("127.0.0.2").open().await.unwrap();
        // Who is let in, leaves the queue.
        let mut first = open.remove(0);
        first.close(None).await.unwrap();
        while first.next().await.is_some() {}
        client.run().await.admitted();
    }
}

#[tokio::test]
async fn the_canvas_socket_echoes_without_a_challenge() {
    for profile in [Profile::Literal, Profile::Clearing] {
        let (gateway, _state) = gateway(profile).await;
        let mut socket = Connect::to(gateway.addr())
            .path("/__openclaw__/ws")
            .open()
            .await
            .unwrap();
        for message in [Message::text("reload"), Message::binary(vec![0_u8; 70_000])] {
            socket.send(message.clone()).await.unwrap();
            assert_eq!(socket.next().await.unwrap().unwrap(), message);
        }
        assert!(gateway.connects().is_empty());
    }
    let (pending, _state) = gateway(Profile::Pending).await;
    let refused = Connect::to(pending.addr())
        .path("/__openclaw__/ws")
        .open()
        .await
        .unwrap_err();
    assert_eq!(refused.0, 401);
}

#[tokio::test]
async fn a_restart_closes_sessions_and_keeps_port_and_records() {
    let (gateway, _state) = gateway(Profile::Latest).await;
    let client = Connect::to(gateway.addr())
        .token(gateway.token().unwrap())
        .device(&TestDevice::new());
    let mut session = client.clone().scopes(FULL).run().await.admitted();
    let paired = gateway.paired().unwrap();
    let (end, ()) = tokio::join!(session.closed(), async { gateway.restart().await.unwrap() });
    assert_eq!(end, (1012, "service restart".to_owned()));
    assert_eq!(gateway.paired().unwrap(), paired);
    client.scopes(FULL).run().await.admitted();
    gateway.stop().await;
    assert!(TcpStream::connect(gateway.addr()).await.is_err());
}

#[tokio::test]
async fn passwords_and_no_authentication_work_too() {
    for profile in Profile::ALL {
        let state = tempfile::tempdir().unwrap();
        let options = Options {
            profile,
            state_dir: state.path().to_owned(),
            token: None,
            password: Some("secret".to_owned()),
            ..Options::default()
        };
        let gateway = SimulatedGateway::start(options.clone()).await.unwrap();
        let client = Connect::to(gateway.addr())
            .device(&TestDevice::new())
            .scopes(FULL);
        client.clone().password("secret").run().await.admitted();
        assert!(
            client
                .clone()
                .password("wrong")
                .run()
                .await
                .message()
                .contains("gateway password mismatch")
        );
        gateway.stop().await;
        let gateway = SimulatedGateway::start(Options {
            password: None,
            ..options
        })
        .await
        .unwrap();
        let open = Connect::to(gateway.addr())
            .device(&TestDevice::new())
            .scopes(FULL);
        open.run().await.admitted();
    }
}
