use std::net::SocketAddr;

use scope_shim::demo::simulated::Profile;

use crate::stage::{Stage, eventually};
use crate::support::client::{Connect, FULL};
use crate::support::device::TestDevice;
use crate::wire::RawClient;

const ALL_PROFILES: [Profile; 4] = [
    Profile::Literal,
    Profile::Clearing,
    Profile::Pending,
    Profile::Latest,
];

/// The recipe of the documentation, and a proxy in front of the shim that stands for the world outside.
async fn stage(profile: Profile) -> Stage {
    Stage::with(profile, |setup| {
        setup.options.trusted_proxies = vec!["127.0.0.2".into()];
        setup.config = "trusted_proxies = [\"127.0.0.3\"]\n".into();
    })
    .await
}

/// A client elsewhere, behind the proxy.
fn remote(stage: &Stage) -> Connect {
    stage
        .through()
        .from("127.0.0.3")
        .header("X-Forwarded-For", "203.0.113.9")
}

#[tokio::test]
async fn local_stays_local_and_remote_stays_remote() {
    for profile in ALL_PROFILES {
        let stage = stage(profile).await;
        let local = stage.through().device(&TestDevice::new()).scopes(FULL);
        assert_eq!(
            local.run().await.label().await,
            "ok rwAap",
            "{profile:?}: paired silently"
        );
        let outcome = remote(&stage)
            .device(&TestDevice::new())
            .scopes(FULL)
            .run()
            .await;
        assert!(
            outcome.message().starts_with("pairing required"),
            "{profile:?}: {outcome:?}"
        );
    }
}

#[tokio::test]
async fn the_gateway_sees_where_a_remote_client_is_and_nothing_else_that_it_says() {
    let stage = stage(Profile::Latest).await;
    let spoofing = remote(&stage)
        .header("X-Real-IP", "127.0.0.1")
        .header("Forwarded", "for=127.0.0.1")
        .header("X-Harmless", "kept")
        .device(&TestDevice::new());
    spoofing.run().await;
    let (peer, headers) = seen(&stage, "x-harmless").await;
    assert_eq!(peer.ip().to_string(), "127.0.0.2");
    assert_eq!(value(&headers, "x-forwarded-for"), ["203.0.113.9"]);
    assert!(value(&headers, "x-real-ip").is_empty() && value(&headers, "forwarded").is_empty());
}

#[tokio::test]
async fn a_local_client_is_seen_without_any_forwarded_header() {
    let stage = stage(Profile::Latest).await;
    stage
        .through()
        .header("X-Harmless", "kept")
        .device(&TestDevice::new())
        .run()
        .await;
    let (peer, headers) = seen(&stage, "x-harmless").await;
    assert_eq!(peer.ip().to_string(), "127.0.0.1");
    assert!(
        !headers
            .iter()
            .any(|(name, _)| name.to_lowercase().contains("forward")),
        "{headers:?}"
    );
}

#[tokio::test]
async fn headers_of_an_unknown_proxy_never_make_a_client_local() {
    for profile in ALL_PROFILES {
        let stage = stage(profile).await;
        for (header, said) in [
            ("X-Forwarded-For", "127.0.0.1"),
            ("X-Forwarded-For", "203.0.113.9"),
            ("Forwarded", "for=127.0.0.1"),
            ("X-Real-IP", "127.0.0.1"),
            ("X-Forwarded-Host", "localhost"),
        ] {
            let connect = stage
                .through()
                .header(header, said)
                .device(&TestDevice::new())
                .scopes(FULL);
            let outcome = connect.run().await;
            assert!(outcome.session.is_none(), "{profile:?}, {header}: {said}");
        }
    }
}

#[tokio::test]
async fn a_trusted_proxy_that_names_a_loopback_client_does_not_make_it_local() {
    for profile in ALL_PROFILES {
        let stage = stage(profile).await;
        for said in ["127.0.0.1", "::1", "127.0.0.3", "nonsense"] {
            let connect = stage
                .through()
                .from("127.0.0.3")
                .header("X-Forwarded-For", said);
            let outcome = connect.device(&TestDevice::new()).scopes(FULL).run().await;
            assert!(outcome.session.is_none(), "{profile:?}: {said}");
        }
    }
}

#[tokio::test]
async fn a_paired_remote_client_gets_what_it_was_approved_for() {
    for profile in ALL_PROFILES {
        let stage = stage(profile).await;
        let device = stage.paired(FULL);
        let outcome = remote(&stage)
            .device(&device)
            .scopes(FULL)
            .run()
            .await
            .label()
            .await;
        assert_eq!(outcome, "ok rwAap", "{profile:?}");
    }
}

#[tokio::test]
async fn a_remote_client_is_healed_like_a_local_one() {
    let stage = stage(Profile::Literal).await;
    let device = stage.paired(crate::support::client::LEGACY);
    let outcome = remote(&stage)
        .device(&device)
        .scopes(&["operator.read"])
        .run()
        .await
        .label()
        .await;
    assert_eq!(outcome, "ok r");
}

#[tokio::test]
async fn a_plain_request_of_a_remote_client_is_attributed_like_its_session() {
    // 2026.8 and later answer 403 to a request that they cannot attribute.
    let stage = stage(Profile::Latest).await;
    let request = |headers: &str| format!("GET / HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
    let mut local = RawClient::connect(stage.shim.addr).await;
    local.write(request("").as_bytes()).await;
    assert!(local.head().await.starts_with("HTTP/1.1 200 "));
    let mut proxied = RawClient::connect_from("127.0.0.3", stage.shim.addr).await;
    proxied
        .write(request("X-Forwarded-For: 203.0.113.9\r\n").as_bytes())
        .await;
    assert!(proxied.head().await.starts_with("HTTP/1.1 200 "));
    let mut unknown = RawClient::connect(stage.shim.addr).await;
    unknown
        .write(request("X-Forwarded-For: 203.0.113.9\r\n").as_bytes())
        .await;
    assert!(
        unknown.head().await.starts_with("HTTP/1.1 403 "),
        "as without the shim"
    );
}

/// Where the request with this header came from, and all its headers.
pub(crate) async fn seen(stage: &Stage, marker: &str) -> (SocketAddr, Vec<(String, String)>) {
    eventually("the handshake is recorded", || {
        let connects = stage.gateway.connects();
        let marked = connects
            .into_iter()
            .find(|connect| !value(&connect.headers, marker).is_empty())?;
        Some((marked.peer, marked.headers))
    })
    .await
}

fn value<'a>(headers: &'a [(String, String)], wanted: &str) -> Vec<&'a str> {
    let matching = headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
    matching.map(|(_, value)| value.as_str()).collect()
}
