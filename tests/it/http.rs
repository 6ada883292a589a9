use scope_shim::demo::simulated::Profile;

use crate::stage::Stage;
use crate::wire::RawClient;

async fn exchange(client: &mut RawClient, request: &str) -> (String, Vec<u8>) {
    client.write(request.as_bytes()).await;
    let head = client.head().await;
    let length = head
        .lines()
        .find_map(|line| {
            line.to_lowercase()
                .strip_prefix("content-length: ")
                .map(str::to_owned)
        })
        .map_or(0, |length| length.trim().parse().unwrap());
    (head, client.exactly(length).await)
}

#[tokio::test]
async fn plain_requests_pass_one_after_the_other_on_one_connection() {
    let stage = Stage::new(Profile::Literal).await;
    let mut client = RawClient::connect(stage.shim.addr).await;
    for path in ["/", "/healthz", "/some/deep/link?x=1"] {
        let mut direct = RawClient::connect(stage.gateway.addr()).await;
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let (direct_head, direct_body) = exchange(&mut direct, &request).await;
        let (head, body) = exchange(&mut client, &request).await;
        assert_eq!(head.lines().next(), direct_head.lines().next(), "{path}");
        assert_eq!(body, direct_body, "{path}");
    }
}

#[tokio::test]
async fn a_body_is_sent_on_and_the_bearer_token_with_it() {
    let stage = Stage::new(Profile::Literal).await;
    let mut client = RawClient::connect(stage.shim.addr).await;
    let body = "x".repeat(100_000);
    let request = format!(
        "POST /v1/echo HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer simulated-token\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let (head, echoed) = exchange(&mut client, &request).await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(echoed == body.as_bytes());
    let anonymous = "POST /tools/invoke HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}";
    let (head, _) = exchange(&mut client, anonymous).await;
    assert!(head.starts_with("HTTP/1.1 401 "), "{head}");
}

#[tokio::test]
async fn a_streaming_answer_arrives_piece_by_piece() {
    let stage = Stage::new(Profile::Literal).await;
    let mut client = RawClient::connect(stage.shim.addr).await;
    client
        .write(b"GET /v1/stream?gated HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let mut seen = Vec::new();
    for _ in 0..2 {
        // The gateway sends the next piece only when it is let; so the one before was not held back.
        stage.gateway.release_chunk();
        if seen.is_empty() {
            assert!(
                client
                    .head()
                    .await
                    .to_lowercase()
                    .contains("transfer-encoding: chunked")
            );
        }
        let piece = client.exactly(1).await;
        assert!(!piece.is_empty());
        seen.extend(piece);
    }
}

#[tokio::test]
async fn smuggled_requests_are_refused_or_harmless() {
    let stage = Stage::new(Profile::Literal).await;
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
    for request in [
        format!(
            "POST /v1/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: {}\r\n\r\n{smuggled}",
            smuggled.len()
        ),
        format!(
            "POST /v1/echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n{smuggled}"
        ),
        "GET /healthz HTTP/1.1\r\nHost: x\r\nX: y\r\n folded: z\r\n\r\n".to_owned(),
        "GET /healthz HTTP/1.1\r\nHo st: x\r\n\r\n".to_owned(),
        "CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
    ] {
        let mut client = RawClient::connect(stage.shim.addr).await;
        client.write(request.as_bytes()).await;
        let head = client.head().await;
        assert!(head.starts_with("HTTP/1.1 4"), "{request}\n{head}");
    }
}

#[tokio::test]
async fn a_request_head_over_the_limit_is_refused() {
    let stage = Stage::with(Profile::Literal, |setup| {
        setup.config = "[limits]\nheader_bytes = 16384\n".into();
    })
    .await;
    let mut client = RawClient::connect(stage.shim.addr).await;
    let request = format!(
        "GET / HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n",
        "y".repeat(20_000)
    );
    client.write(request.as_bytes()).await;
    assert!(client.head().await.starts_with("HTTP/1.1 431 "));
}
