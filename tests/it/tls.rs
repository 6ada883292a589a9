use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::{HandshakeKind, ProtocolVersion};
use scope_shim::config::GatewayUrl;
use scope_shim::demo::simulated::Profile;
use scope_shim::stream::Stream;
use scope_shim::tls::{self, Dialing, Listening, Trust};
use scope_shim::ws::Opcode;
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, server};

use crate::certified::{Certified, connect, out_of_tls};
use crate::stage::{Shim, Stage, Way};
use crate::support::client::{FULL, LEGACY, READ};
use crate::wire::{RawClient, masked};

const HEAD: &str = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A shim that shows a certificate.
async fn certified(more: &str) -> (Stage, Certified, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let certified = Certified::new(directory.path(), "shim");
    let config = format!("{more}{}", certified.section());
    let stage = Stage::with(Profile::Literal, |setup| setup.config = config).await;
    (stage, certified, directory)
}

/// What the shim answers to a plain request, where its gateway is reached like this.
async fn answered(dir: &TempDir, url: &str, more: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let shim = Shim::before(listener, url, dir, &format!("[gateway]\n{more}"));
    let mut client = RawClient::connect(shim.addr).await;
    client.write(HEAD.as_bytes()).await;
    String::from_utf8(client.rest().await).unwrap()
}

/// Somebody who says this to whatever is said, as Node's HTTP server does to a TLS handshake, and hangs up.
async fn says(what: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut heard = [0; 4096];
            let _ = stream.read(&mut heard).await;
            let _ = stream.write_all(what).await;
        }
    });
    addr
}

#[tokio::test]
async fn a_client_resumes_its_session() {
    let (stage, certified, _directory) = certified("").await;
    let config = certified.client();
    for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
        let mut client = connect(stage.shim.addr, &config).await.unwrap();
        client.write_all(HEAD.as_bytes()).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert_eq!(client.get_ref().1.handshake_kind(), Some(expected));
    }
}

#[tokio::test]
async fn a_client_may_be_as_old_as_tls_1_2_and_gets_no_http_2() {
    let (stage, certified, _directory) = certified("").await;
    let mut config = Arc::unwrap_or_clone(certified.client());
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let modern = connect(stage.shim.addr, &Arc::new(config)).await.unwrap();
    let (_, session) = modern.get_ref();
    assert_eq!(session.alpn_protocol(), Some(&b"http/1.1"[..]));
    assert_eq!(session.protocol_version(), Some(ProtocolVersion::TLSv1_3));

    let old = certified.client_of(&rustls::version::TLS12);
    for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
        let client = connect(stage.shim.addr, &old).await.unwrap();
        let (_, session) = client.get_ref();
        assert_eq!(session.protocol_version(), Some(ProtocolVersion::TLSv1_2));
        assert_eq!(session.handshake_kind(), Some(expected));
    }
}

#[tokio::test]
async fn a_plain_request_to_a_tls_port_is_told_so() {
    let (stage, _certified, _directory) = certified("").await;
    let mut client = RawClient::connect(stage.shim.addr).await;
    client.write(HEAD.as_bytes()).await;
    let answer = String::from_utf8(client.rest().await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(
        answer.ends_with("\r\n\r\nthis port speaks TLS: use wss:// / https://\n"),
        "{answer}"
    );
}

#[tokio::test]
async fn tls_to_a_plain_port_is_closed_without_an_answer() {
    let directory = tempfile::tempdir().unwrap();
    let config = Certified::new(directory.path(), "any").client();
    let stage = Stage::new(Profile::Literal).await;
    let error = connect(stage.shim.addr, &config).await.unwrap_err();
    let ends = [
        std::io::ErrorKind::UnexpectedEof,
        std::io::ErrorKind::ConnectionReset,
    ];
    assert!(ends.contains(&error.kind()), "{error:?}");
}

#[tokio::test]
async fn a_handshake_that_does_not_come_gives_its_place_to_the_next_client() {
    let limits = "[limits]\nconnections = 1\nheader_timeout = \"300ms\"\n";
    let (stage, certified, _directory) = certified(limits).await;
    let mut silent = RawClient::connect(stage.shim.addr).await;
    let mut slow = RawClient::connect(stage.shim.addr).await;
    // The head of a TLS record that promises more than comes.
    slow.write(&[22, 3, 1, 2, 0]).await;
    connect(stage.shim.addr, &certified.client()).await.unwrap();
    assert!(silent.rest().await.is_empty());
    slow.rest().await;
}

#[tokio::test]
async fn the_host_that_a_client_names_in_its_handshake_is_known() {
    let directory = tempfile::tempdir().unwrap();
    let certified = Certified::new(directory.path(), "any");
    let listening = Listening::open(certified.files.clone()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let named = GatewayUrl::parse(&format!("wss://Gateway.Example:{}", addr.port())).unwrap();
    let dialing = Dialing::new(&named, &Trust::Pinned(certified.fingerprint())).unwrap();
    let client = async {
        let stream = TcpStream::connect(addr).await.unwrap();
        dialing.handshake(stream).await.unwrap()
    };
    let server = async {
        let (stream, _) = listener.accept().await.unwrap();
        let patience = Duration::from_secs(20);
        tls::accept(stream, Some(&listening), patience)
            .await
            .unwrap()
    };
    let (_client, accepted) = tokio::join!(client, server);
    assert_eq!(accepted.sni.as_deref(), Some("gateway.example"));
    assert!(accepted.tls && matches!(accepted.stream, Stream::Tls(_)));
}

#[tokio::test]
async fn the_session_with_the_gateway_is_resumed_too() {
    let directory = tempfile::tempdir().unwrap();
    let certified = Certified::new(directory.path(), "gateway");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = GatewayUrl::parse(&format!("wss://{}", listener.local_addr().unwrap())).unwrap();
    let dialing = Dialing::new(&url, &Trust::Pinned(certified.fingerprint())).unwrap();
    let acceptor = TlsAcceptor::from(certified.server());
    for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
        let gateway = async {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = acceptor.accept(stream).await.unwrap();
            stream.write_all(b"behind the tickets").await.unwrap();
            stream.shutdown().await.unwrap();
        };
        let shim = async {
            let stream = TcpStream::connect(listener.local_addr().unwrap())
                .await
                .unwrap();
            let mut stream = dialing.handshake(stream).await.unwrap();
            stream.read_to_end(&mut Vec::new()).await.unwrap();
            stream.get_ref().1.handshake_kind()
        };
        let (_, kind) = tokio::join!(gateway, shim);
        assert_eq!(kind, Some(expected));
    }
}

#[tokio::test]
async fn renewed_files_are_taken_a_wrong_pair_is_not_and_sessions_go_on() {
    let (stage, old, directory) = certified("").await;
    let mut session = connect(stage.shim.addr, &old.client()).await.unwrap();
    session.write_all(UPGRADE.as_bytes()).await.unwrap();
    let new = Certified::new(directory.path(), "new");

    let accepted =
        async |certified: &Certified| connect(stage.shim.addr, &certified.client()).await.is_ok();
    // As it is while somebody writes one after the other: half a certificate, a certificate with another's key, a pair.
    let whole = fs::read(&new.files.certificate).unwrap();
    fs::write(&old.files.certificate, &whole[..whole.len() / 2]).unwrap();
    let listening = Listening::open(old.files.clone());
    assert!(listening.is_err());
    fs::write(&old.files.certificate, &whole).unwrap();
    assert!(accepted(&old).await && !accepted(&new).await);
    fs::copy(&new.files.key, &old.files.key).unwrap();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while !accepted(&new).await {
        assert!(tokio::time::Instant::now() < deadline, "never renewed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(!accepted(&old).await);

    let mut first = [0; 12];
    session.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 101");
}

#[cfg(unix)]
#[test]
fn a_link_that_points_elsewhere_is_a_renewal_and_a_failed_one_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let [first, second] = ["first", "second"].map(|name| Certified::new(directory.path(), name));
    let link = directory.path().join("live.pem");
    let files = tls::Files {
        certificate: link.clone(),
        key: first.files.key.clone(),
    };
    std::os::unix::fs::symlink(&first.files.certificate, &link).unwrap();
    let listening = Listening::open(files.clone()).unwrap();
    assert_eq!(listening.renew(), Ok(false));
    fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink(&second.files.certificate, &link).unwrap();
    assert_eq!(
        listening.renew(),
        Err(tls::PairError::Mismatch(files.clone()))
    );
    assert_eq!(listening.fingerprint(), first.fingerprint());
    let renewed = listening.prepare(second.files.clone()).unwrap();
    assert!(listening.show(renewed));
    assert_eq!(listening.fingerprint(), second.fingerprint());
    assert_eq!(*listening.files(), second.files);
}

#[tokio::test]
async fn a_gateway_is_reached_by_its_fingerprint_an_authority_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let [shown, other] = ["shown", "other"].map(|name| Certified::new(dir.path(), name));
    let stage = Stage::new(Profile::Literal).await;
    let port = out_of_tls(stage.gateway.addr(), &shown).await;
    let (wss, ws) = (format!("wss://{port}"), format!("ws://{port}"));
    let named = format!("wss://localhost:{}", port.port());
    let pin = |certified: &Certified| format!("fingerprint = \"{}\"\n", certified.fingerprint());
    let authority =
        |certified: &Certified| format!("ca_file = {:?}\n", certified.files.certificate);
    let plain = format!("wss://{}", says(b"HTTP/1.1 400 Bad Request\r\n\r\n").await);
    let silent = format!("wss://{}", says(b"").await);
    let seen = format!("gateway.fingerprint = \\\"{}\\\"", shown.fingerprint());
    for (url, more, expected) in [
        (&wss, pin(&shown), "HTTP/1.1 200 "),
        (&named, pin(&shown), "HTTP/1.1 200 "),
        (&wss, authority(&shown), "HTTP/1.1 200 "),
        (&named, authority(&shown), "it is for another name"),
        (&wss, authority(&other), "nobody but itself has signed it"),
        (&wss, authority(&other), &seen),
        (&wss, String::new(), "nobody but itself has signed it"),
        (&wss, String::new(), &seen),
        (&wss, pin(&other), &shown.fingerprint().to_string()),
        (&wss, pin(&other), &other.fingerprint().to_string()),
        (&plain, pin(&shown), "it does not speak TLS"),
        (&silent, pin(&shown), "it closed the connection"),
        (
            &ws,
            String::new(),
            &format!("speaks TLS: give gateway.url as {wss}"),
        ),
        (&ws, String::new(), &seen),
    ] {
        let answer = answered(&dir, url, &more).await;
        assert!(
            answer.contains(expected),
            "{url} {more}: {expected}: {answer}"
        );
        let good = expected.starts_with("HTTP/1.1 200");
        assert!(good || answer.starts_with("HTTP/1.1 502 "), "{answer}");
    }
}

#[tokio::test]
async fn a_gateway_is_reached_by_the_authority_that_signed_its_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let (shown, authority) = Certified::issued(dir.path(), "shown");
    let (_, other) = Certified::issued(dir.path(), "other");
    let stage = Stage::new(Profile::Literal).await;
    let port = out_of_tls(stage.gateway.addr(), &shown).await;
    let (url, named) = (
        format!("wss://{port}"),
        format!("wss://localhost:{}", port.port()),
    );
    let by = |file: &Path| format!("ca_file = {file:?}\n");
    for (url, more, expected) in [
        (&url, by(&authority), "HTTP/1.1 200 "),
        (&named, by(&authority), "it is for another name"),
        (&url, by(&other), "no authority that is in "),
        (&url, String::new(), "no authority that this machine trusts"),
    ] {
        let answer = answered(&dir, url, &more).await;
        assert!(answer.contains(expected), "{url} {more}: {answer}");
    }
}

#[tokio::test]
async fn a_gateway_of_this_machine_is_known_by_its_own_file_also_when_that_is_newer() {
    let dir = tempfile::tempdir().unwrap();
    let own = dir.path().join("state/gateway/tls");
    fs::create_dir_all(&own).unwrap();
    let shown = Certified::new(&own, "gateway-cert");
    let stage = Stage::new(Profile::Literal).await;
    let port = out_of_tls(stage.gateway.addr(), &shown).await;
    let openclaw = json!({"gateway": {"port": port.port(), "tls": {"enabled": true}}});
    fs::write(dir.path().join("state/openclaw.json"), openclaw.to_string()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let shim = Shim::before(listener, &format!("wss://{port}"), &dir, "");
    let ask = async || {
        let mut client = RawClient::connect(shim.addr).await;
        client.write(HEAD.as_bytes()).await;
        String::from_utf8(client.rest().await).unwrap()
    };
    assert!(ask().await.starts_with("HTTP/1.1 200 "));
    let newer = Certified::new(dir.path(), "newer");
    fs::copy(&newer.files.certificate, &shown.files.certificate).unwrap();
    assert!(ask().await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_delegated_session_is_healed_and_closed_at_a_boundary_under_tls() {
    for way in [Way::TlsBefore, Way::TlsBehind, Way::TlsBoth] {
        let stage = Stage::over(way, Profile::Literal).await;
        stage.delegate().await;
        let device = stage.paired(LEGACY);
        let connect = stage.through().device(&device).scopes(&[READ]);
        let mut session = connect.run().await.admitted();
        let mut owner = stage
            .direct()
            .device(&stage.paired(FULL))
            .scopes(FULL)
            .run()
            .await
            .admitted();
        let removed = json!({"deviceId": device.id()});
        owner.call("device.pair.remove", removed).await.unwrap();
        let (code, reason) = timeout(Duration::from_secs(5), session.closed())
            .await
            .expect("closed");
        assert_eq!(code, 1008, "{way:?}");
        assert!(reason.contains("was removed"), "{way:?}: {reason}");
    }
}

/// A gateway of one connection that speaks TLS, and the shim before it.
async fn scripted(dir: &TempDir) -> (TcpListener, TlsAcceptor, Shim, Certified) {
    let gateway = Certified::new(dir.path(), "gateway");
    let shim = Certified::new(dir.path(), "shim");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("wss://{}", listener.local_addr().unwrap());
    let config = format!(
        "mode = \"off\"\n[gateway]\nfingerprint = \"{}\"\n{}",
        gateway.fingerprint(),
        shim.section()
    );
    let own = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let running = Shim::before(own, &url, dir, &config);
    (listener, TlsAcceptor::from(gateway.server()), running, shim)
}

/// The next connection of the shim that asks for an upgrade, granted; its own session is left alone.
async fn granted(listener: &TcpListener, acceptor: &TlsAcceptor) -> server::TlsStream<TcpStream> {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = acceptor.accept(stream).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        if String::from_utf8(head).unwrap().contains("/scripted ") {
            let granted =
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n";
            stream.write_all(granted.as_bytes()).await.unwrap();
            return stream;
        }
    }
}

/// An upgraded connection through the shim: the client's end and the gateway's.
async fn ends(
    dir: &TempDir,
) -> (
    tokio_rustls::client::TlsStream<TcpStream>,
    server::TlsStream<TcpStream>,
    Shim,
) {
    let (listener, acceptor, shim, certified) = scripted(dir).await;
    let client = async {
        let mut client = connect(shim.addr, &certified.client()).await.unwrap();
        let head = "GET /scripted HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n";
        client.write_all(head.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(client.read_u8().await.unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "));
        client
    };
    let (client, gateway) = tokio::join!(client, granted(&listener, &acceptor));
    (client, gateway, shim)
}

fn much() -> Vec<u8> {
    (0..3_000_000u32).map(|i| (i % 251) as u8).collect()
}

#[tokio::test]
async fn a_gateway_that_leaves_without_a_word_of_tls_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (mut client, mut gateway, _shim) = ends(&dir).await;
    let writing = tokio::spawn(async move {
        gateway.write_all(&much()).await.unwrap();
        gateway.flush().await.unwrap();
        // Only the socket is closed: TLS would say so first.
        let (mut socket, _session) = gateway.into_inner();
        socket.shutdown().await.unwrap();
        socket
    });
    let mut read = Vec::new();
    client.read_to_end(&mut read).await.expect("an orderly end");
    assert!(read == much(), "{} bytes", read.len());
    drop(writing.await.unwrap());
}

#[tokio::test]
async fn a_client_that_has_said_everything_still_hears_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let (mut client, mut gateway, _shim) = ends(&dir).await;
    client.write_all(b"all that there is").await.unwrap();
    client.shutdown().await.unwrap();
    let mut heard = Vec::new();
    gateway.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, b"all that there is");
    let writing = tokio::spawn(async move {
        gateway.write_all(&much()).await.unwrap();
        gateway.shutdown().await.unwrap();
        gateway
    });
    let mut read = Vec::new();
    client.read_to_end(&mut read).await.unwrap();
    assert!(read == much(), "{} bytes", read.len());
    drop(writing.await.unwrap());
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_the_gateway_back() {
    let dir = tempfile::tempdir().unwrap();
    let (mut client, mut gateway, _shim) = ends(&dir).await;
    let block = vec![7; 1 << 20];
    let mut sent = 0usize;
    // Far more than the sockets between them take.
    while let Ok(written) = timeout(Duration::from_secs(1), gateway.write(&block)).await {
        sent += written.unwrap();
        assert!(sent < 256 << 20, "somebody keeps it all");
    }
    let reading = tokio::spawn(async move {
        let mut read = Vec::new();
        client.read_to_end(&mut read).await.unwrap();
        read.len()
    });
    gateway.shutdown().await.unwrap();
    assert_eq!(reading.await.unwrap(), sent);
}

#[tokio::test]
async fn many_small_messages_come_one_by_one() {
    let dir = tempfile::tempdir().unwrap();
    let (mut client, mut gateway, _shim) = ends(&dir).await;
    for round in 0..500u32 {
        client.write_u32(round).await.unwrap();
        client.flush().await.unwrap();
        assert_eq!(gateway.read_u32().await.unwrap(), round);
        gateway.write_u32(round).await.unwrap();
        gateway.flush().await.unwrap();
        assert_eq!(client.read_u32().await.unwrap(), round);
    }
}

#[tokio::test]
async fn a_silent_session_under_tls_ends_when_it_may() {
    let (stage, certified, _directory) = certified("[limits]\nidle_timeout = \"300ms\"\n").await;
    let mut client = connect(stage.shim.addr, &certified.client()).await.unwrap();
    let head = UPGRADE.replace("GET / ", "GET /__openclaw__/ws ");
    client.write_all(head.as_bytes()).await.unwrap();
    client
        .write_all(&masked(Opcode::Binary, b"echo"))
        .await
        .unwrap();
    let mut read = Vec::new();
    let ended = timeout(Duration::from_secs(20), client.read_to_end(&mut read)).await;
    let _ = ended.expect("the shim ends it");
    assert!(read.ends_with(b"echo"));
}
