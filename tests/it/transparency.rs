use scope_shim::demo::simulated::Profile;
use scope_shim::ws::Opcode;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;

use crate::stage::{Stage, Way, eventually};
use crate::support::client::{LEGACY, Nonce, READ};
use crate::support::device::{Payload, TestDevice};
use crate::wire::{RawClient, fragmented, masked};

/// Each promise holds in plaintext and under TLS.
macro_rules! over_every_way {
    ($($name:ident,)+) => {$(
        mod $name {
            use crate::stage::Way;

            #[tokio::test]
            async fn in_plaintext() {
                super::$name(Way::Plain).await;
            }

            #[tokio::test]
            async fn with_tls_before_the_shim() {
                super::$name(Way::TlsBefore).await;
            }

            #[tokio::test]
            async fn with_tls_behind_the_shim() {
                super::$name(Way::TlsBehind).await;
            }

            #[tokio::test]
            async fn with_tls_on_both_sides() {
                super::$name(Way::TlsBoth).await;
            }
        }
    )+};
}

over_every_way! {
    a_passed_handshake_arrives_byte_for_byte_in_one_piece,
    a_passed_handshake_arrives_byte_for_byte_in_one_byte_pieces,
    a_passed_handshake_arrives_byte_for_byte_in_fragments_around_a_ping,
    bytes_glued_to_the_upgrade_request_are_not_lost,
    a_request_glued_to_the_upgrade_arrives_byte_for_byte_or_is_healed,
    the_challenge_comes_before_the_client_has_said_anything,
    frames_sent_behind_the_request_wait_for_the_answer,
    what_is_no_connect_request_is_the_gateways_to_answer,
    a_request_over_the_limit_is_the_gateways_to_answer,
    another_websocket_on_the_same_port_is_relayed_untouched,
    a_large_stream_arrives_whole_in_both_directions_at_once,
    headers_arrive_as_they_were_written_but_for_compression,
}

/// A `connect` that a literal gateway accepts as it stands, in unusual but valid JSON: white space, escapes, letters beyond ASCII.
fn connect(stage: &Stage, device: &TestDevice, nonce: &str) -> Vec<u8> {
    let mut params = stage.through().device(device).scopes(LEGACY).params(nonce);
    params["locale"] = json!("de\u{e9}");
    let text = json!({"type": "req", "id": "c1", "method": "connect", "params": params});
    format!(" {text} ")
        .replace("\"locale\"", "\"lo\\u0063ale\"")
        .into_bytes()
}

/// What the gateway got as its last first message, byte for byte as on the wire.
async fn arrived(stage: &Stage, sent: &[u8]) -> Vec<u8> {
    eventually("the handshake is recorded", || {
        let connects = stage.gateway.connects();
        let wire: Vec<_> = connects.into_iter().map(|connect| connect.raw).collect();
        wire.into_iter().find(|raw| raw == sent)
    })
    .await
}

async fn a_passed_handshake_arrives_byte_for_byte_in_one_piece(way: Way) {
    let stage = Stage::over(way, Profile::Literal).await;
    let device = stage.paired(LEGACY);
    let mut client = RawClient::upgrade(stage.shim.addr, "/", b"").await;
    let sent = masked(
        Opcode::Text,
        &connect(&stage, &device, &client.nonce().await),
    );
    client.write(&sent).await;
    assert_eq!(client.json().await["ok"], true);
    assert_eq!(arrived(&stage, &sent).await, sent);
}

async fn a_passed_handshake_arrives_byte_for_byte_in_one_byte_pieces(way: Way) {
    let stage = Stage::over(way, Profile::Literal).await;
    let device = stage.paired(LEGACY);
    let mut client = RawClient::upgrade(stage.shim.addr, "/", b"").await;
    let sent = masked(
        Opcode::Text,
        &connect(&stage, &device, &client.nonce().await),
    );
    for byte in &sent {
        client.write(&[*byte]).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(client.json().await["ok"], true);
    assert_eq!(arrived(&stage, &sent).await, sent);
}

async fn a_passed_handshake_arrives_byte_for_byte_in_fragments_around_a_ping(way: Way) {
    let stage = Stage::over(way, Profile::Literal).await;
    let device = stage.paired(LEGACY);
    let mut client = RawClient::upgrade(stage.shim.addr, "/", b"").await;
    let sent = fragmented(&connect(&stage, &device, &client.nonce().await));
    client.write(&sent).await;
    let (mut pong, mut hello) = (false, false);
    while !(pong && hello) {
        match client.frame().await.expect("the session stays open") {
            (Opcode::Pong, payload) => pong = payload == b"between",
            (Opcode::Text, _) => hello = true,
            other => panic!("{other:?}"),
        }
    }
    // The gateway keeps the frames of the message; that the ping came between them, its pong has shown.
    let ping = masked(Opcode::Ping, b"between");
    let start = sent
        .windows(ping.len())
        .position(|bytes| bytes == ping)
        .unwrap();
    let message = [&sent[..start], &sent[start + ping.len()..]].concat();
    assert_eq!(arrived(&stage, &message).await, message);
}

async fn bytes_glued_to_the_upgrade_request_are_not_lost(way: Way) {
    let stage = Stage::over(way, Profile::Literal).await;
    let ping = masked(Opcode::Ping, b"early");
    let mut client = RawClient::upgrade(stage.shim.addr, "/", &ping).await;
    let (mut pong, mut challenge) = (false, false);
    while !(pong && challenge) {
        match client.frame().await.expect("the session stays open") {
            (Opcode::Pong, payload) => pong = payload == b"early",
            (Opcode::Text, _) => challenge = true,
            other => panic!("{other:?}"),
        }
    }
}

/// Early clients may send their request without waiting for the challenge, and so without a nonce.
async fn a_request_glued_to_the_upgrade_arrives_byte_for_byte_or_is_healed(way: Way) {
    let stage = Stage::over(way, Profile::Literal).await;
    stage.delegate().await;
    let device = stage.paired(LEGACY);
    for (scopes, passes) in [(LEGACY, true), (&[READ][..], false)] {
        let without_nonce = stage
            .through()
            .device(&device)
            .scopes(scopes)
            .payload(Payload::V1);
        let params = without_nonce.nonce(Nonce::Missing).params("");
        let text =
            json!({"type": "req", "id": "c1", "method": "connect", "params": params}).to_string();
        let sent = masked(Opcode::Text, text.as_bytes());
        let mut client = RawClient::upgrade(stage.shim.addr, "/", &sent).await;
        client.nonce().await;
        assert_eq!(client.json().await["ok"], true, "{scopes:?}");
        if passes {
            assert_eq!(arrived(&stage, &sent).await, sent);
        }
    }
}

async fn the_challenge_comes_before_the_client_has_said_anything(way: Way) {
    let stage = Stage::over(way, Profile::Literal).await;
    let mut client = RawClient::upgrade(stage.shim.addr, "/", b"").await;
    assert!(!client.nonce().await.is_empty());
}

async fn frames_sent_behind_the_request_wait_for_the_answer(way: Way) {
    let stage = Stage::over(way, Profile::Literal).await;
    let device = stage.paired(LEGACY);
    let mut client = RawClient::upgrade(stage.shim.addr, "/", b"").await;
    let request = connect(&stage, &device, &client.nonce().await);
    let next =
        json!({"type": "req", "id": "r2", "method": "device.pair.list", "params": {}}).to_string();
    let both = [
        masked(Opcode::Text, &request),
        masked(Opcode::Text, next.as_bytes()),
    ]
    .concat();
    client.write(&both).await;
    assert_eq!(client.json().await["id"], "c1");
    let answer = client.json().await;
    assert_eq!(
        (&answer["id"], &answer["ok"]),
        (&json!("r2"), &json!(true)),
        "{answer}"
    );
}

async fn what_is_no_connect_request_is_the_gateways_to_answer(way: Way) {
    let stage = Stage::over(way, Profile::Literal).await;
    let other = json!({"type": "req", "id": "1", "method": "health", "params": {}}).to_string();
    for addr in [stage.gateway.addr(), stage.shim.addr] {
        let mut client = RawClient::upgrade(addr, "/", b"").await;
        client.nonce().await;
        client.write(&masked(Opcode::Text, other.as_bytes())).await;
        let answer = client.json().await;
        assert_eq!(
            answer["error"]["message"],
            "invalid handshake: first request must be connect"
        );
        assert_eq!(client.closed().await.0, 1008);
    }
}

async fn a_request_over_the_limit_is_the_gateways_to_answer(way: Way) {
    for (profile, accepted) in [(Profile::Literal, true), (Profile::Clearing, false)] {
        let stage = Stage::over(way, profile).await;
        let device = stage.paired(LEGACY);
        for addr in [stage.gateway.addr(), stage.shim.addr] {
            let mut client = RawClient::upgrade(addr, "/", b"").await;
            let mut request = connect(&stage, &device, &client.nonce().await);
            request.resize(70_000, b' ');
            client.write(&masked(Opcode::Text, &request)).await;
            if accepted {
                assert_eq!(client.json().await["ok"], true, "2026.2.19 takes 25 MiB");
            } else {
                assert_eq!(client.closed().await.0, 1009, "2026.3.13 takes 64 KiB");
            }
        }
    }
}

async fn another_websocket_on_the_same_port_is_relayed_untouched(way: Way) {
    let stage = Stage::over(way, Profile::Literal).await;
    let mut client = RawClient::upgrade(stage.shim.addr, "/__openclaw__/ws", b"").await;
    for payload in [
        vec![7; 10],
        vec![9; 100_000],
        b"{\"type\":\"req\"}".to_vec(),
    ] {
        client.write(&masked(Opcode::Binary, &payload)).await;
        assert_eq!(client.frame().await, Some((Opcode::Binary, payload)));
    }
}

async fn a_large_stream_arrives_whole_in_both_directions_at_once(way: Way) {
    let stage = Stage::over(way, Profile::Literal).await;
    let client = RawClient::upgrade(stage.shim.addr, "/__openclaw__/ws", b"").await;
    let payloads: Vec<Vec<u8>> = (0..64u8)
        .map(|i| vec![i; 60_000 + usize::from(i)])
        .collect();
    let frames: Vec<u8> = payloads
        .iter()
        .flat_map(|payload| masked(Opcode::Binary, payload))
        .collect();
    let (read, mut write) = client.stream.into_split();
    let writer = tokio::spawn(async move {
        write.write_all(&frames).await.unwrap();
        write
    });
    let mut read = tokio::io::BufReader::new(read);
    for payload in payloads {
        let mut header = [0; 4];
        tokio::io::AsyncReadExt::read_exact(&mut read, &mut header)
            .await
            .unwrap();
        let mut echoed = vec![0; payload.len()];
        tokio::io::AsyncReadExt::read_exact(&mut read, &mut echoed)
            .await
            .unwrap();
        assert!(echoed == payload, "frame of {} bytes", payload.len());
    }
    drop(writer.await.unwrap());
}

async fn headers_arrive_as_they_were_written_but_for_compression(way: Way) {
    let stage = Stage::over(way, Profile::Literal).await;
    let device = stage.paired(LEGACY);
    let mut client = RawClient::upgrade(stage.shim.addr, "/some/path?token=x", b"").await;
    let sent = masked(
        Opcode::Text,
        &connect(&stage, &device, &client.nonce().await),
    );
    client.write(&sent).await;
    assert_eq!(client.json().await["ok"], true);
    let seen = eventually("the handshake is recorded", || {
        stage
            .gateway
            .connects()
            .into_iter()
            .find(|connect| connect.raw == sent)
    })
    .await;
    assert_eq!(seen.target, "/some/path?token=x");
    let host = stage.shim.addr.to_string();
    let expected = [
        ("Host", host.as_str()),
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("X-Odd-cAsE", "kept"),
    ];
    let mut seen: Vec<_> = seen
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let mut expected = expected.to_vec();
    seen.sort_unstable();
    expected.sort_unstable();
    assert_eq!(seen, expected, "no header added, none lost, none respelt");
}
