use std::net::SocketAddr;

use scope_shim::demo::simulated::Profile;

use crate::stage::Stage;
use crate::support::client::FULL;
use crate::support::device::TestDevice;
use crate::wire::RawClient;

/// Proxies at 127.0.0.3 say for whom they connect, and nobody else gets in.
async fn stage() -> Stage {
    Stage::with(Profile::Latest, |setup| {
        setup.options.trusted_proxies = vec!["127.0.0.2".into()];
        setup.config =
            "trusted_proxies = [\"127.0.0.3\"]\nproxy_protocol = \"required\"\n".to_owned();
    })
    .await
}

async fn proxy(stage: &Stage) -> RawClient {
    RawClient::connect_from("127.0.0.3", stage.shim.addr).await
}

/// What the gateway answers to a request, and where it saw it come from.
async fn answer(mut client: RawClient, header: &[u8], more: &str) -> String {
    let request = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{more}\r\n");
    client.write(&[header, request.as_bytes()].concat()).await;
    client.head().await
}

#[tokio::test]
async fn the_gateway_sees_the_client_that_the_proxy_names() {
    let stage = stage().await;
    let device = TestDevice::new();
    let connect = stage
        .through()
        .from("127.0.0.3")
        .ahead(b"PROXY TCP4 203.0.113.9 203.0.113.1 4711 443\r\n")
        .header("X-Forwarded-For", "127.0.0.1");
    let outcome = connect.device(&device).scopes(FULL).run().await;
    assert!(
        outcome.message().starts_with("pairing required"),
        "remote, and so to be approved: {outcome:?}"
    );
    let seen = stage.gateway.connects();
    let seen = seen.iter().find(|connect| {
        let mut headers = connect.headers.iter();
        headers.any(|(name, value)| {
            name.eq_ignore_ascii_case("x-forwarded-for") && value == "203.0.113.9"
        })
    });
    assert_eq!(seen.unwrap().peer.ip().to_string(), "127.0.0.2");
}

#[tokio::test]
async fn a_paired_device_behind_a_proxy_works() {
    let stage = stage().await;
    let device = stage.paired(FULL);
    let connect = stage
        .through()
        .from("127.0.0.3")
        .ahead(b"PROXY TCP6 2001:db8::9 2001:db8::1 4711 443\r\n");
    let mut outcome = connect.device(&device).scopes(FULL).run().await;
    assert_eq!(outcome.label().await, "ok rwAap");
}

#[tokio::test]
async fn no_proxy_makes_a_client_local() {
    let stage = stage().await;
    for header in [
        &b"PROXY TCP4 127.0.0.1 127.0.0.1 4711 443\r\n"[..],
        b"PROXY TCP6 ::1 ::1 4711 443\r\n",
        b"PROXY TCP6 ::ffff:127.0.0.1 ::1 4711 443\r\n",
        b"PROXY UNKNOWN\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
    ] {
        for more in [
            "",
            "X-Forwarded-For: 127.0.0.1\r\n",
            "X-Forwarded-For: 203.0.113.9\r\n",
        ] {
            let head = answer(proxy(&stage).await, header, more).await;
            assert!(head.starts_with("HTTP/1.1 403 "), "not attributed: {head}");
        }
        let device = TestDevice::new();
        let connect = stage.through().from("127.0.0.3").ahead(header);
        let outcome = connect.device(&device).scopes(FULL).run().await;
        assert!(outcome.session.is_none(), "{outcome:?}");
    }
}

#[tokio::test]
async fn who_is_no_proxy_is_not_heard_and_neither_is_a_proxy_without_a_header() {
    let stage = stage().await;
    let header = b"PROXY TCP4 203.0.113.9 203.0.113.1 4711 443\r\n";
    let request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut stranger = RawClient::connect(stage.shim.addr).await;
    stranger.write(&[header, &request[..]].concat()).await;
    assert!(stranger.rest().await.is_empty());
    let mut headerless = proxy(&stage).await;
    headerless.write(request).await;
    assert!(headerless.rest().await.is_empty());
}

#[tokio::test]
async fn a_header_of_somebody_else_is_no_part_of_a_request() {
    // Off, a PROXY header is what it is without a shim: nonsense.
    let stage = Stage::new(Profile::Latest).await;
    let address: SocketAddr = stage.shim.addr;
    let client = RawClient::connect(address).await;
    let header = b"PROXY TCP4 203.0.113.9 203.0.113.1 4711 443\r\n";
    let head = answer(client, header, "").await;
    assert!(!head.starts_with("HTTP/1.1 200 "), "{head}");
}
