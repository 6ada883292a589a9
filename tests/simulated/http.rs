//! What the gateway serves beside the WebSocket.

use std::net::SocketAddr;

use scope_shim::demo::simulated::{Outcome, Profile, SimulatedGateway};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::client::Connect;
use crate::wire::gateway;

/// Sends a request and reads until the server closes.
async fn exchange(addr: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

async fn get(gateway: &SimulatedGateway, path: &str, headers: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
    exchange(gateway.addr(), &request).await
}

async fn post(gateway: &SimulatedGateway, path: &str, rest: &str) -> String {
    let request = format!("POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{rest}");
    exchange(gateway.addr(), &request).await
}

#[tokio::test]
async fn pages_and_health_are_served() {
    let (gateway, _state) = gateway(Profile::Clearing).await;
    assert!(get(&gateway, "/", "").await.contains("<!doctype html>"));
    assert!(
        get(&gateway, "/any/page", "")
            .await
            .contains("<!doctype html>")
    );
    assert!(
        get(&gateway, "/healthz", "")
            .await
            .ends_with(r#"{"ok":true,"status":"live"}"#)
    );
}

#[tokio::test]
async fn tools_need_the_bearer_token() {
    let (gateway, _state) = gateway(Profile::Literal).await;
    let without = post(&gateway, "/tools/invoke", "Content-Length: 2\r\n\r\n{}").await;
    assert!(without.starts_with("HTTP/1.1 401 "), "{without}");
    let token = gateway.token().unwrap();
    let with = format!("Authorization: Bearer {token}\r\nContent-Length: 2\r\n\r\n{{}}");
    let with = post(&gateway, "/tools/invoke", &with).await;
    assert!(with.starts_with("HTTP/1.1 200 "), "{with}");
}

#[tokio::test]
async fn bodies_are_echoed_by_length_and_in_chunks() {
    let (gateway, _state) = gateway(Profile::Latest).await;
    let plain = post(
        &gateway,
        "/v1/echo",
        "Content-Type: a/b\r\nContent-Length: 5\r\n\r\nhello",
    )
    .await;
    assert!(
        plain.contains("Content-Type: a/b\r\n") && plain.ends_with("\r\n\r\nhello"),
        "{plain}"
    );
    let chunks = "Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n";
    let chunked = post(&gateway, "/v1/echo", chunks).await;
    assert!(chunked.ends_with("\r\n\r\nhello"), "{chunked}");
}

#[tokio::test]
async fn several_requests_share_a_connection() {
    let (gateway, _state) = gateway(Profile::Pending).await;
    let two = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answers = exchange(gateway.addr(), two).await;
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 2);
}

#[tokio::test]
async fn a_stream_arrives_chunk_by_chunk() {
    let (gateway, _state) = gateway(Profile::Latest).await;
    let mut stream = TcpStream::connect(gateway.addr()).await.unwrap();
    stream
        .write_all(b"GET /v1/stream?gated HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut seen = Vec::new();
    for number in 1..=5 {
        let ends = format!("data: {number}\n\n\r\n");
        while !String::from_utf8_lossy(&seen).contains(&ends) {
            assert_ne!(stream.read_buf(&mut seen).await.unwrap(), 0);
        }
        // The next one is not sent before it is released.
        assert_eq!(
            String::from_utf8_lossy(&seen).matches("data:").count(),
            number
        );
        gateway.release_chunk();
    }
    while !seen.ends_with(b"0\r\n\r\n") {
        assert_ne!(stream.read_buf(&mut seen).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn untrusted_proxy_headers_are_refused_by_the_latest_only() {
    let (latest, _one) = gateway(Profile::Latest).await;
    let refused = get(&latest, "/", "X-Forwarded-For: 203.0.113.9\r\n").await;
    assert!(refused.starts_with("HTTP/1.1 403 "), "{refused}");
    assert!(refused.contains("proxy_attribution_required"));
    assert!(
        get(&latest, "/healthz", "X-Forwarded-For: 203.0.113.9\r\n")
            .await
            .starts_with("HTTP/1.1 200 ")
    );
    let (pending, _two) = gateway(Profile::Pending).await;
    assert!(
        get(&pending, "/", "X-Forwarded-For: 203.0.113.9\r\n")
            .await
            .starts_with("HTTP/1.1 200 ")
    );

    let connect = Connect::to(latest.addr()).header("x-forwarded-for", "203.0.113.9");
    let (status, body) = connect.open().await.unwrap_err();
    assert_eq!(status, 403);
    assert!(body.contains("proxy_attribution_required"));
    assert_eq!(latest.connects()[0].outcome, Outcome::HttpRefused(403));
}

#[tokio::test]
async fn headers_are_shown_as_they_arrived() {
    let (gateway, _state) = gateway(Profile::Clearing).await;
    let shown = get(&gateway, "/v1/headers", "X-oDD: 1\r\nx-odd: 2\r\n").await;
    assert!(
        shown.ends_with(r#"[["Host","x"],["Connection","close"],["X-oDD","1"],["x-odd","2"]]"#),
        "{shown}"
    );
}
