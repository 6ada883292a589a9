//! Peers that stop in the middle of something and stay: what the other side sees, what is held for them, and that nobody
//! else waits.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;
use scope_shim::demo::simulated::{Options, Profile, SimulatedGateway};
use scope_shim::ws::Opcode;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, copy};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::yield_now;
use tokio::time::timeout;

use crate::faults::{agree, asked};
use crate::held::gives_everything_back;
use crate::stage::{Shim, Stage};
use crate::support::client::{Connect, LEGACY, READ};
use crate::support::device::TestDevice;
use crate::wire::{RawClient, masked};

/// A stage where nothing is waited for for long. The gateway itself gives a handshake three seconds.
async fn impatient() -> Stage {
    Stage::with(Profile::Clearing, |setup| {
        setup.config =
            "[limits]\nheader_timeout = \"500ms\"\nhandshake_timeout = \"1s\"\n".to_owned();
    })
    .await
}

/// Somebody else is served as ever, and in the end nothing is held for those that stalled.
async fn goes_on(stage: &Stage) {
    let device = stage.paired(LEGACY);
    let connect = stage.through().device(&device).scopes(LEGACY);
    let served = timeout(PROMPTLY, connect.run()).await;
    served
        .expect("nobody waits for a stalled client")
        .admitted();
    gives_everything_back(&stage.dir.path().join("data"), Duration::from_secs(20)).await;
}

#[tokio::test]
async fn a_head_that_stops_at_any_byte_is_given_up_in_time() {
    let stage = impatient().await;
    let head = format!(
        "GET / HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        stage.shim.addr
    );
    let stalled = (0..head.len()).map(|sent| {
        let (head, shim) = (&head[..sent], stage.shim.addr);
        async move {
            let mut client = RawClient::connect(shim).await;
            client.write(head.as_bytes()).await;
            let answer = String::from_utf8(client.rest().await).unwrap();
            assert!(
                answer.is_empty() || answer.starts_with("HTTP/1.1 408 "),
                "after {sent} bytes: {answer}"
            );
        }
    });
    tokio::join!(join_all(stalled), goes_on(&stage));
}

#[tokio::test]
async fn a_request_that_stops_at_any_byte_is_the_gateways_to_give_up() {
    let stage = impatient().await;
    let connect = json!({"type": "req", "id": "c1", "method": "connect",
        "params": stage.through().device(&TestDevice::new()).scopes(&[READ]).params("n")});
    let frame = masked(Opcode::Text, connect.to_string().as_bytes());
    // Each byte of the header, of the beginning and of the end, and some between.
    let lengths = (0..frame.len()).filter(|sent| {
        *sent < 16 || *sent + 4 > frame.len() || sent.is_multiple_of(frame.len() / 8)
    });
    let stalled = lengths.map(|sent| {
        let (frame, shim) = (&frame[..sent], stage.shim.addr);
        async move {
            let mut client = RawClient::upgrade(shim, "/", frame).await;
            assert_eq!(client.closed().await.0, 1000, "after {sent} bytes");
        }
    });
    tokio::join!(join_all(stalled), goes_on(&stage));
}

#[tokio::test]
async fn a_close_that_stops_at_any_byte_keeps_its_own_session_alone() {
    let stage = impatient().await;
    let close = masked(Opcode::Close, &1000_u16.to_be_bytes());
    let connect = stage.through().device(&stage.paired(LEGACY)).scopes(LEGACY);
    let stalled = (0..close.len()).map(|sent| {
        let (begun, left) = close.split_at(sent);
        let connect = connect.clone();
        async move {
            let mut client = admitted(&connect).await;
            client.write(begun).await;
            (client, left)
        }
    });
    let stalled = join_all(stalled).await;
    let mut others = connect.run().await.admitted();
    assert_eq!(others.letters().await, "rwAap");
    // Half of them vanish, half of them go on after all.
    for (number, (mut client, left)) in stalled.into_iter().enumerate() {
        if number % 2 == 0 {
            client.write(left).await;
            assert_eq!(client.closed().await.0, 1000);
        }
    }
    others.close().await;
    goes_on(&stage).await;
}

/// A client that writes its own bytes, after its handshake.
async fn admitted(connect: &Connect) -> RawClient {
    let mut client = RawClient::upgrade(connect.addr, "/", b"").await;
    let nonce = client.nonce().await;
    let request =
        json!({"type": "req", "id": "c1", "method": "connect", "params": connect.params(&nonce)});
    let request = masked(Opcode::Text, request.to_string().as_bytes());
    client.write(&request).await;
    assert_eq!(client.json().await["ok"], true);
    client
}

/// A session whose two ends are both this test's.
async fn both_ends() -> (RawClient, TcpStream, Shim, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let shim = Shim::start(listener.local_addr().unwrap(), &dir, "mode = \"observe\"\n").await;
    let mut client = RawClient::asks_for_upgrade(shim.addr, "/", b"").await;
    let mut gateway = asked(&listener).await;
    agree(&mut gateway).await;
    client.head().await;
    let first = masked(Opcode::Text, b"not a connect request");
    client.write(&first).await;
    gateway.read_exact(&mut vec![0; first.len()]).await.unwrap();
    (client, gateway, shim, dir)
}

/// Writes frames until the system takes no more for a while; all that it took.
async fn write_until_held_back(stream: &mut TcpStream) -> Vec<u8> {
    let mut written = Vec::new();
    let numbers: Vec<u8> = (0..u16::MAX).flat_map(u16::to_le_bytes).collect();
    loop {
        let next = &numbers[written.len() % 1024..];
        match timeout(A_WHILE, stream.write(next)).await {
            Ok(taken) => written.extend_from_slice(&next[..taken.unwrap()]),
            Err(_) => return written,
        }
        assert!(written.len() < 64 << 20, "somebody holds all of it");
    }
}

#[tokio::test]
async fn a_gateway_that_stops_reading_holds_its_client_back_and_gets_every_byte_when_it_goes_on() {
    let (mut client, mut gateway, _shim, _dir) = both_ends().await;
    let written = write_until_held_back(&mut client.stream).await;
    // What it says meanwhile arrives.
    gateway.write_all(b"\x81\x02ok").await.unwrap();
    assert_eq!(client.frame().await, Some((Opcode::Text, b"ok".to_vec())));
    let mut arrived = vec![0; written.len()];
    gateway.read_exact(&mut arrived).await.unwrap();
    assert!(arrived == written);
}

#[tokio::test]
async fn a_client_that_stops_reading_holds_its_gateway_back_and_gets_every_byte_when_it_goes_on() {
    let (mut client, mut gateway, _shim, _dir) = both_ends().await;
    let written = write_until_held_back(&mut gateway).await;
    let said = masked(Opcode::Text, b"still there");
    client.write(&said).await;
    let mut heard = vec![0; said.len()];
    gateway.read_exact(&mut heard).await.unwrap();
    assert_eq!(heard, said);
    assert!(client.exactly(written.len()).await == written);
}

/// The address of a gateway whose every byte comes alone.
async fn trickling(gateway: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((shim, _)) = listener.accept().await {
            tokio::spawn(trickle(shim, gateway));
        }
    });
    addr
}

async fn trickle(mut shim: TcpStream, gateway: SocketAddr) -> io::Result<()> {
    let mut gateway = TcpStream::connect(gateway).await?;
    shim.set_nodelay(true)?;
    gateway.set_nodelay(true)?;
    let (mut from_shim, to_shim) = shim.split();
    let (from_gateway, mut to_gateway) = gateway.split();
    tokio::select! {
        over = bytewise(from_gateway, to_shim) => over,
        over = copy(&mut from_shim, &mut to_gateway) => over.map(drop),
    }
}

async fn bytewise(from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> io::Result<()> {
    let mut from = BufReader::new(from);
    // The library behind the shim's own session takes a head in single bytes for an attack.
    let mut line = vec![0];
    while !matches!(&*line, b"" | b"\r\n") {
        line.clear();
        from.read_until(b'\n', &mut line).await?;
        to.write_all(&line).await?;
        yield_now().await;
    }
    loop {
        to.write_u8(from.read_u8().await?).await?;
        yield_now().await;
    }
}

#[tokio::test]
async fn a_gateway_that_says_one_byte_at_a_time_is_understood_as_ever() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        profile: Profile::Literal,
        state_dir: dir.path().join("state"),
        ..Options::default()
    };
    let gateway = SimulatedGateway::start(options).await.unwrap();
    let shim = Shim::start(trickling(gateway.addr()).await, &dir, "").await;
    let stage = Stage { gateway, shim, dir };
    stage.delegate().await;
    let repaired = stage.through().device(&stage.paired(LEGACY));
    let mut session = repaired.scopes(&[READ]).run().await.admitted();
    assert_eq!(session.letters().await, "r");
    session.close().await;
    let refused = stage.through().device(&TestDevice::new()).remote();
    let refusal = refused.scopes(&[READ]).run().await;
    assert_eq!(refusal.error.unwrap()["code"], "NOT_PAIRED");
    goes_on(&stage).await;
}

/// Far more than anybody needs who is served at once.
const PROMPTLY: Duration = Duration::from_secs(10);
/// Nobody takes so long who takes anything at all.
const A_WHILE: Duration = Duration::from_millis(500);
