use std::net::SocketAddr;
use std::time::Duration;

use scope_shim::demo::simulated::Profile;
use scope_shim::ws::Opcode;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::stage::{Shim, Stage, until};
use crate::support::client::{LEGACY, READ};
use crate::wire::{RawClient, masked};

#[tokio::test]
async fn a_gateway_that_is_down_is_named_and_its_return_is_noticed() {
    let stage = Stage::new(Profile::Literal).await;
    let device = stage.paired(LEGACY);
    let gateway = stage.gateway.addr();
    stage.gateway.stop().await;
    let mut client = RawClient::upgrade(stage.shim.addr, "/", b"").await;
    let (code, reason) = client.closed().await;
    assert_eq!(code, 1013);
    assert!(
        reason.contains(&format!("the gateway at {gateway} does not answer")),
        "{reason}"
    );
    stage.gateway.restart().await.unwrap();
    let connect = stage.through().device(&device).scopes(&[READ]);
    until(&connect, "healed again", |outcome| {
        outcome.session.is_some()
    })
    .await;
}

#[tokio::test]
async fn plain_requests_get_502_with_the_reason_while_the_gateway_is_down() {
    let stage = Stage::new(Profile::Literal).await;
    stage.gateway.stop().await;
    let mut client = RawClient::connect(stage.shim.addr).await;
    client
        .write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await;
    let response = String::from_utf8(client.rest().await).unwrap();
    assert!(response.starts_with("HTTP/1.1 502 "), "{response}");
    assert!(response.contains("does not answer"), "{response}");
}

#[tokio::test]
async fn the_shim_starts_before_the_gateway() {
    let dir = tempfile::tempdir().unwrap();
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = free.local_addr().unwrap();
    drop(free);
    let shim = Shim::start(gateway, &dir, "[gateway]\ntoken = \"simulated-token\"\n").await;
    let mut client = RawClient::upgrade(shim.addr, "/", b"").await;
    assert_eq!(client.closed().await.0, 1013);
    let options = scope_shim::demo::simulated::Options {
        profile: Profile::Literal,
        state_dir: dir.path().join("state"),
        listen: gateway,
        ..Default::default()
    };
    let gateway = scope_shim::demo::simulated::SimulatedGateway::start(options)
        .await
        .unwrap();
    let stage = Stage { gateway, shim, dir };
    let connect = stage
        .through()
        .device(&stage.paired(LEGACY))
        .scopes(&[READ]);
    until(&connect, "healed once it is up", |outcome| {
        outcome.session.is_some()
    })
    .await;
}

#[tokio::test]
async fn a_half_written_store_is_survived() {
    let stage = Stage::new(Profile::Literal).await;
    let connect = stage
        .through()
        .device(&stage.paired(LEGACY))
        .scopes(&[READ]);
    assert_eq!(connect.clone().run().await.label().await, "ok r");
    let path = stage.state().join("devices/paired.json");
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    // Neither the gateway nor the shim can tell who is paired now; neither falls over.
    let _ = connect.clone().run().await;
    std::fs::write(&path, &whole).unwrap();
    until(&connect, "whole again", |outcome| outcome.session.is_some()).await;
}

/// A gateway that does as the test tells it, connection by connection.
async fn scripted() -> (TcpListener, Shim, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    // The shim's own session would take the connections that the test scripts.
    let config = "mode = \"observe\"\n[limits]\nhandshake_timeout = \"1s\"\n";
    let shim = Shim::start(listener.local_addr().unwrap(), &dir, config).await;
    (listener, shim, dir)
}

/// The next connection that a client of the shim caused, its upgrade accepted.
async fn accept(listener: &TcpListener) -> TcpStream {
    let mut stream = asked(listener).await;
    agree(&mut stream).await;
    stream
}

/// The next connection that a client of the shim caused, its request read. The shim has some of its own, which may be
/// in no hurry to say anything.
pub async fn asked(listener: &TcpListener) -> TcpStream {
    let mut arrived = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => { arrived.spawn(of_a_client(accepted.unwrap().0)); }
            Some(found) = arrived.join_next() => if let Some(stream) = found.unwrap() {
                return stream;
            }
        }
    }
}

async fn of_a_client(mut stream: TcpStream) -> Option<TcpStream> {
    let mut head = Vec::new();
    while !head.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
        if stream.read_buf(&mut head).await.ok()? == 0 {
            return None;
        }
    }
    let head = String::from_utf8_lossy(&head).to_lowercase();
    head.contains("x-odd-case").then_some(stream)
}

/// Agrees to the upgrade.
pub async fn agree(stream: &mut TcpStream) {
    let response = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    stream.write_all(response.as_bytes()).await.unwrap();
}

async fn upgraded(listener: &TcpListener, shim: SocketAddr) -> (RawClient, TcpStream) {
    let (client, gateway) = tokio::join!(RawClient::upgrade(shim, "/", b""), accept(listener));
    (client, gateway)
}

#[tokio::test]
async fn a_gateway_that_accepts_and_says_nothing_is_named() {
    let (_listener, shim, _dir) = scripted().await;
    let mut client = RawClient::upgrade(shim.addr, "/", b"").await;
    let (code, reason) = client.closed().await;
    assert_eq!(code, 1013);
    assert!(reason.contains("does not answer within 1s"), "{reason}");
}

#[tokio::test]
async fn an_upgrade_that_the_end_of_the_shim_overtakes_is_agreed_to_as_ever() {
    let (listener, shim, _dir) = scripted().await;
    let address = shim.addr;
    let mut client = RawClient::asks_for_upgrade(address, "/", b"").await;
    let mut gateway = asked(&listener).await;
    let stopping = tokio::spawn(shim.stop());
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    agree(&mut gateway).await;
    let head = client.head().await.to_lowercase();
    let said: Vec<&str> = head
        .lines()
        .filter(|line| line.starts_with("connection:"))
        .collect();
    assert_eq!(said, ["connection: upgrade"], "{head}");
    drop((client, gateway));
    stopping.await.unwrap();
}

#[tokio::test]
async fn a_connection_that_the_gateway_gave_up_is_replaced_where_nothing_can_happen_twice() {
    let (listener, shim, _dir) = scripted().await;
    let get = b"GET /page HTTP/1.1\r\nHost: x\r\nX-Odd-cAsE: kept\r\n\r\n";
    let post = b"POST /act HTTP/1.1\r\nHost: x\r\nX-Odd-cAsE: kept\r\nContent-Length: 0\r\n\r\n";
    let mut client = RawClient::connect(shim.addr).await;
    client.write(get).await;
    let kept = answered(asked(&listener).await).await;
    assert!(client.head().await.starts_with("HTTP/1.1 200 "));
    // The gateway ends the connection when the next request is on its way already.
    client.write(get).await;
    let kept = ended_at_the_next_request(kept);
    let (_, next) = tokio::join!(kept, async { answered(asked(&listener).await).await });
    assert!(client.head().await.starts_with("HTTP/1.1 200 "));
    client.write(post).await;
    ended_at_the_next_request(next).await;
    let head = client.head().await;
    assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
}

/// Answers a request, and keeps the connection.
async fn answered(mut stream: TcpStream) -> TcpStream {
    let response = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    stream.write_all(response).await.unwrap();
    stream
}

async fn ended_at_the_next_request(stream: TcpStream) {
    of_a_client(stream)
        .await
        .expect("a request on a connection that was kept");
}

#[tokio::test]
async fn garbage_from_the_gateway_is_relayed_as_it_is() {
    let (listener, shim, _dir) = scripted().await;
    let (mut client, mut gateway) = upgraded(&listener, shim.addr).await;
    gateway.write_all(b"this is no frame at all").await.unwrap();
    drop(gateway);
    assert_eq!(client.rest().await, b"this is no frame at all");
}

#[tokio::test]
async fn a_silent_client_is_not_cut_off_by_the_shim() {
    let (listener, shim, _dir) = scripted().await;
    let (mut client, mut gateway) = upgraded(&listener, shim.addr).await;
    let late = masked(Opcode::Text, b"after the time limit");
    tokio::time::timeout(std::time::Duration::from_millis(1200), client.exactly(1))
        .await
        .unwrap_err();
    client.write(&late).await;
    let mut arrived = vec![0; late.len()];
    gateway.read_exact(&mut arrived).await.unwrap();
    assert_eq!(arrived, late);
}

#[tokio::test]
async fn a_gateway_that_never_answers_a_passed_request_is_left_to_it() {
    let (listener, shim, _dir) = scripted().await;
    let (mut client, mut gateway) = upgraded(&listener, shim.addr).await;
    let connect = json!({"type": "req", "id": "1", "method": "connect", "params": {
        "client": {"id": "cli", "mode": "cli", "platform": "linux"}}});
    let sent = masked(Opcode::Text, connect.to_string().as_bytes());
    client.write(&sent).await;
    let mut arrived = vec![0; sent.len()];
    gateway.read_exact(&mut arrived).await.unwrap();
    assert_eq!(arrived, sent);
    gateway.write_all(b"\x88\x02\x03\xe8").await.unwrap();
    assert_eq!(
        client.closed().await.0,
        1000,
        "its close frame is what the client sees"
    );
}

#[tokio::test]
async fn a_plain_request_that_its_client_gives_up_ends_at_the_gateway() {
    let (listener, shim, _dir) = scripted().await;
    let mut client = RawClient::connect(shim.addr).await;
    client
        .write(b"GET /stream HTTP/1.1\r\nHost: localhost\r\nX-Odd-Case: 1\r\n\r\n")
        .await;
    let mut gateway = asked(&listener).await;
    drop(client);
    let mut end = Vec::new();
    let ended = timeout(Duration::from_secs(10), gateway.read_to_end(&mut end));
    let _ = ended.await.expect("the gateway learns it");
    assert!(end.is_empty());
}

#[tokio::test]
async fn half_a_close_leaves_the_other_half_open() {
    let (listener, shim, _dir) = scripted().await;
    let (mut client, mut gateway) = upgraded(&listener, shim.addr).await;
    let first = masked(Opcode::Text, b"not a connect request");
    client.write(&first).await;
    let mut arrived = vec![0; first.len()];
    gateway.read_exact(&mut arrived).await.unwrap();
    client.stream.shutdown().await.unwrap();
    let mut end = Vec::new();
    gateway.read_to_end(&mut end).await.unwrap();
    assert!(end.is_empty());
    gateway.write_all(b"\x81\x02ok").await.unwrap();
    assert_eq!(client.frame().await, Some((Opcode::Text, b"ok".to_vec())));
}

#[tokio::test]
async fn sixty_clients_at_once_stay_within_the_gateways_budget() {
    // 2026.4.21 answers 503 to the 33rd socket of an address that has not connected yet.
    let stage = Stage::new(Profile::Pending).await;
    let device = stage.paired(LEGACY);
    let handshakes =
        (0..60).map(|_| tokio::spawn(stage.through().device(&device).scopes(&[READ]).run()));
    for handshake in handshakes.collect::<Vec<_>>() {
        assert_eq!(handshake.await.unwrap().label().await, "ok r");
    }
}

#[tokio::test]
async fn what_a_gateway_says_as_it_leaves_comes_through_and_so_does_what_it_is_told() {
    let (listener, shim, _dir) = scripted().await;
    let (mut client, mut gateway) = upgraded(&listener, shim.addr).await;
    // Within a message: nobody knows yet what it is.
    let request = masked(Opcode::Text, &[b'x'; 1 << 16]);
    let (first, rest) = request.split_at(1000);
    client.write(first).await;
    let said = vec![b'y'; 3 << 20];
    let says = async {
        gateway.write_all(&said).await.unwrap();
        gateway.shutdown().await.unwrap();
    };
    let hears = client.exactly(said.len());
    let (heard, ()) = tokio::join!(hears, says);
    assert!(heard == said, "all of it");
    client.write(rest).await;
    client.stream.shutdown().await.unwrap();
    let mut told = Vec::new();
    gateway.read_to_end(&mut told).await.unwrap();
    assert!(told == request, "{} of {}", told.len(), request.len());
}

#[tokio::test]
async fn another_protocol_passes_untouched() {
    let (listener, shim, _dir) = scripted().await;
    let mut client = RawClient::connect(shim.addr).await;
    client
        .write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: other/1\r\nX-Odd-cAsE: kept\r\n\r\n")
        .await;
    let mut gateway = asked(&listener).await;
    gateway
        .write_all(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other/1\r\n\r\n",
        )
        .await
        .unwrap();
    assert!(client.head().await.starts_with("HTTP/1.1 101 "));
    // As the beginning of a frame it would have to be waited for.
    for bytes in [&[0x82, 0x85][..], &[0x01]] {
        client.write(bytes).await;
        let mut echo = vec![0; bytes.len()];
        let read = gateway.read_exact(&mut echo);
        timeout(Duration::from_millis(900), read)
            .await
            .expect("before the handshake would be over")
            .unwrap();
        assert_eq!(echo, bytes);
    }
}
