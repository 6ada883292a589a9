use scope_shim::demo::simulated::Profile;
use serde_json::json;

use crate::policing::edit_store;
use crate::stage::{Stage, TOKEN};
use crate::support::client::{ADMIN, Connect, FULL, LEGACY, Nonce, READ, WRITE};
use crate::support::device::{Payload, TestDevice};
use crate::wire::{RawClient, masked};
use scope_shim::ws::Opcode;

const ALL_PROFILES: [Profile; 4] = [
    Profile::Literal,
    Profile::Clearing,
    Profile::Pending,
    Profile::Latest,
];

/// The attack is refused with the same codes with and without the shim, and would have been healed if it were honest.
async fn yields_nothing_more(name: &str, attack: impl Fn(Connect) -> Connect) {
    for profile in ALL_PROFILES {
        let stage = Stage::new(profile).await;
        stage.delegate().await;
        let device = stage.paired(LEGACY);
        let honest = |connect: Connect| connect.device(&device).platform("linux").scopes(&[READ]);
        let honestly = honest(stage.through()).run().await.label().await;
        assert_eq!(honestly, "ok r", "{profile:?}: without the attack it works");
        let (direct, through) = stage.both(|connect| attack(honest(connect)));
        let (direct, through) = (direct.run().await, through.run().await);
        assert!(
            direct.session.is_none(),
            "{name}, {profile:?}: refused directly"
        );
        assert!(
            through.session.is_none(),
            "{name}, {profile:?}: refused through the shim"
        );
        assert_eq!(through.verdict(), direct.verdict(), "{name}, {profile:?}");
    }
}

#[tokio::test]
async fn a_replayed_nonce() {
    yields_nothing_more("replayed nonce", |connect| {
        connect.nonce(Nonce::Other("of another connection".into()))
    })
    .await;
}

#[tokio::test]
async fn a_stale_proof() {
    yields_nothing_more("stale", |connect| connect.signed_ago(900)).await;
}

#[tokio::test]
async fn a_proof_from_the_future() {
    yields_nothing_more("future", |connect| connect.signed_ago(-900)).await;
}

#[tokio::test]
async fn scopes_added_after_signing() {
    yields_nothing_more("added scopes", |connect| {
        connect.tampered(|params| params["scopes"] = json!([READ, ADMIN]))
    })
    .await;
}

#[tokio::test]
async fn a_role_changed_after_signing() {
    yields_nothing_more("changed role", |connect| {
        connect.tampered(|params| params["role"] = json!("node"))
    })
    .await;
}

#[tokio::test]
async fn the_id_of_another_device() {
    yields_nothing_more("foreign id", |connect| {
        connect.tampered(|params| params["device"]["id"] = json!("0".repeat(64)))
    })
    .await;
}

#[tokio::test]
async fn a_key_of_ones_own_under_a_paired_id() {
    yields_nothing_more("foreign key", |connect| {
        connect.tampered(|params| {
            params["device"]["publicKey"] = json!(TestDevice::new().public_key())
        })
    })
    .await;
}

#[tokio::test]
async fn a_signature_of_somebody_else() {
    yields_nothing_more("foreign signature", |connect| {
        connect.tampered(|params| {
            params["device"]["signature"] = json!(TestDevice::new().sign("anything"))
        })
    })
    .await;
}

#[tokio::test]
async fn a_wrong_shared_secret() {
    yields_nothing_more("wrong secret", |connect| connect.token("a guess")).await;
}

#[tokio::test]
async fn no_secret() {
    yields_nothing_more("no secret", Connect::without_token).await;
}

#[tokio::test]
async fn a_token_that_was_not_signed() {
    yields_nothing_more("unsigned token", |connect| connect.signing_token("another")).await;
}

#[tokio::test]
async fn a_proof_without_a_nonce_from_elsewhere() {
    let stage = Stage::with(Profile::Literal, |setup| {
        setup.options.trusted_proxies = vec!["127.0.0.2".into()];
        setup.config = "trusted_proxies = [\"127.0.0.1\"]\n".into();
    })
    .await;
    let device = stage.paired(LEGACY);
    let remote = stage
        .through()
        .header("X-Forwarded-For", "203.0.113.9")
        .device(&device)
        .scopes(&[READ])
        .payload(Payload::V1)
        .nonce(Nonce::Missing);
    assert!(
        remote.run().await.session.is_none(),
        "only local clients may leave the nonce out"
    );
    let local = stage
        .through()
        .device(&device)
        .scopes(&[READ])
        .payload(Payload::V1)
        .nonce(Nonce::Missing);
    assert_eq!(local.run().await.label().await, "ok r");
}

#[tokio::test]
async fn an_unpaired_device_files_its_request_under_its_own_name() {
    for profile in ALL_PROFILES {
        let stage = Stage::new(profile).await;
        let device = TestDevice::new();
        // A browser origin on a client that is no browser is never paired silently (from 2026.2.26).
        let attempt = |connect: Connect| {
            connect
                .device(&device)
                .client("cli", "cli")
                .header("Host", "gw.example.com:1")
                .scopes(&[READ])
        };
        let direct = attempt(stage.direct()).run().await;
        let through = attempt(stage.through()).run().await;
        assert_eq!(through.verdict(), direct.verdict(), "{profile:?}");
        if direct.session.is_none() {
            assert_eq!(stage.pending()[0]["deviceId"], device.id().as_str());
        }
    }
}

#[tokio::test]
async fn more_than_was_approved() {
    for profile in [Profile::Literal, Profile::Pending] {
        let stage = Stage::new(profile).await;
        let device = stage.paired(&[READ]);
        let (direct, through) =
            stage.both(|connect| connect.device(&device).scopes(&[READ, WRITE]));
        let direct = direct.run().await;
        assert!(direct.session.is_none());
        assert_eq!(
            through.run().await.verdict(),
            direct.verdict(),
            "{profile:?}"
        );
        assert_eq!(stage.pending().len(), 1, "a human can approve it");
    }
}

/// A client without a device is taken for the host's own only if nothing speaks against it.
async fn stays_powerless(name: &str, attack: impl Fn(Connect) -> Connect) {
    for profile in ALL_PROFILES {
        let stage = Stage::new(profile).await;
        stage.delegate().await;
        let probe = |connect: Connect| attack(connect.client("cli", "probe").scopes(FULL));
        let direct = probe(stage.direct()).run().await.label().await;
        let through = probe(stage.through()).run().await.label().await;
        assert_eq!(through, direct, "{name}, {profile:?}");
        assert!(!through.contains('r'), "{name}, {profile:?}: {through}");
    }
}

#[tokio::test]
async fn no_device_and_a_wrong_secret() {
    stays_without_a_session(|connect| connect.token("a guess")).await;
}

#[tokio::test]
async fn no_device_and_no_secret() {
    stays_without_a_session(Connect::without_token).await;
}

async fn stays_without_a_session(attack: impl Fn(Connect) -> Connect) {
    for profile in ALL_PROFILES {
        let stage = Stage::new(profile).await;
        stage.delegate().await;
        let probe = |connect: Connect| attack(connect.client("cli", "probe").scopes(FULL));
        let (direct, through) = (
            probe(stage.direct()).run().await,
            probe(stage.through()).run().await,
        );
        assert!(through.session.is_none());
        assert_eq!(through.verdict(), direct.verdict(), "{profile:?}");
    }
}

#[tokio::test]
async fn a_web_page_without_a_device() {
    stays_powerless("origin", |connect| {
        connect.header("Origin", "http://127.0.0.1:8080")
    })
    .await;
}

#[tokio::test]
async fn a_rebound_name_without_a_device() {
    stays_powerless("rebound name", |connect| {
        connect.header("Host", "evil.example:18789")
    })
    .await;
}

#[tokio::test]
async fn a_proxied_client_without_a_device() {
    for profile in [Profile::Literal, Profile::Clearing, Profile::Pending] {
        let stage = Stage::new(profile).await;
        stage.delegate().await;
        for header in ["X-Forwarded-For", "X-Real-IP", "Forwarded"] {
            let spoofed = stage
                .through()
                .client("cli", "probe")
                .scopes(FULL)
                .header(header, "127.0.0.1");
            assert_eq!(
                spoofed.run().await.label().await,
                "ok ·",
                "{header}, {profile:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_cap_that_a_proxy_set_cannot_be_escaped() {
    let stage = Stage::new(Profile::Literal).await;
    let device = stage.paired(LEGACY);
    let capped = |scopes: &[&str]| {
        stage
            .through()
            .device(&device)
            .scopes(scopes)
            .header("x-openclaw-scopes", "operator.read")
    };
    assert_eq!(capped(&[READ]).run().await.label().await, "ok r");
    let beyond = capped(&[WRITE]).run().await;
    assert!(
        beyond.session.is_none(),
        "write is not under the cap, so it is not rewritten"
    );
    let stage = Stage::new(Profile::Latest).await;
    let device = stage.paired(FULL);
    let capped = stage
        .through()
        .device(&device)
        .scopes(FULL)
        .header("x-openclaw-scopes", "operator.read");
    assert_eq!(
        capped.run().await.label().await,
        "ok r",
        "2026.9.6 keeps to the cap by itself"
    );
}

#[tokio::test]
async fn a_captured_request_sent_again_on_another_connection() {
    let stage = Stage::new(Profile::Literal).await;
    let device = stage.paired(LEGACY);
    let mut first = RawClient::upgrade(stage.shim.addr, "/", b"").await;
    let params = stage
        .through()
        .device(&device)
        .scopes(&[READ])
        .params(&first.nonce().await);
    let request =
        json!({"type": "req", "id": "c1", "method": "connect", "params": params}).to_string();
    let captured = masked(Opcode::Text, request.as_bytes());
    first.write(&captured).await;
    assert_eq!(first.json().await["ok"], true);
    let mut second = RawClient::upgrade(stage.shim.addr, "/", b"").await;
    second.nonce().await;
    second.write(&captured).await;
    let told = second.json().await["error"]["details"]["scopeShim"].take();
    assert_eq!(told["finding"], "invalid-proof");
    assert_eq!(told["evidence"]["gatewayMessage"], "device nonce mismatch");
}

#[tokio::test]
async fn hostile_json_is_the_gateways_to_answer_and_harms_nobody() {
    let stage = Stage::new(Profile::Literal).await;
    let deep = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000));
    let wide = format!(
        "{{\"type\":\"req\",\"method\":\"connect\",\"id\":\"{}\"}}",
        "x".repeat(60_000)
    );
    let twice =
        "{\"type\":\"req\",\"type\":\"event\",\"method\":\"connect\",\"params\":{}}".to_owned();
    for hostile in [deep, wide, twice, "\"\\ud800\"".into(), String::new()] {
        let mut client = RawClient::upgrade(stage.shim.addr, "/", b"").await;
        client.nonce().await;
        client
            .write(&masked(Opcode::Text, hostile.as_bytes()))
            .await;
        drop(client);
    }
    let device = stage.paired(LEGACY);
    let healthy = stage.through().token(TOKEN).device(&device).scopes(&[READ]);
    assert_eq!(healthy.run().await.label().await, "ok r");
}

/// A proxy on this machine that names its users, or whoever pretends to be one.
async fn proxied_here(profile: Profile) -> Stage {
    Stage::with(profile, |setup| {
        setup.options.trusted_proxies = vec!["127.0.0.2".into()];
        setup.config = "trusted_proxies = [\"127.0.0.1\"]\n".into();
        setup.gateway_file = Some(json!({"gateway": {
            "trustedProxies": ["127.0.0.2"],
            "auth": {"mode": "trusted-proxy", "trustedProxy": {
                "userHeader": "X-Forwarded-User", "allowLoopback": true,
            }},
        }}));
    })
    .await
}

const NAMED: [(&str, &str); 4] = [
    ("X-Forwarded-For", "203.0.113.9"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-User", "alice@example.com"),
    ("X-Harmless", "kept"),
];

/// The answer to a plain request of a browser on this machine with these headers of the page's choice.
async fn plain(stage: &Stage, host: &str) -> String {
    let headers = NAMED.map(|(name, value)| format!("{name}: {value}\r\n"));
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n{}\r\n", headers.concat());
    let mut client = RawClient::connect(stage.shim.addr).await;
    client.write(request.as_bytes()).await;
    client.head().await
}

/// From where the gateway saw a handshake with the same headers come, and what of them it saw.
async fn arrived(stage: &Stage, host: &str) -> (String, Vec<(String, String)>) {
    let named = NAMED.into_iter();
    let connect = named.fold(stage.through(), |connect, (name, value)| {
        connect.header(name, value)
    });
    connect
        .header("Host", host)
        .device(&TestDevice::new())
        .run()
        .await;
    let (peer, mut headers) = crate::attribution::seen(stage, "x-harmless").await;
    headers.retain(|(name, _)| name.to_lowercase().starts_with("x-forwarded-"));
    headers
        .iter_mut()
        .for_each(|(name, _)| name.make_ascii_lowercase());
    headers.sort();
    (peer.ip().to_string(), headers)
}

fn owned(headers: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = headers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    owned.collect()
}

#[tokio::test]
async fn a_page_under_a_rebound_name_is_not_taken_for_the_proxy_on_this_machine() {
    let stage = proxied_here(Profile::Latest).await;
    let host = format!("evil.example:{}", stage.shim.addr.port());
    let answer = plain(&stage, &host).await;
    assert!(
        answer.starts_with("HTTP/1.1 403 "),
        "as without the shim: {answer}"
    );
    // No page can send these with a WebSocket; whoever does is believed as little.
    let stage = proxied_here(Profile::Pending).await;
    let host = format!("evil.example:{}", stage.shim.addr.port());
    let (peer, headers) = arrived(&stage, &host).await;
    let nobody = owned(&[("x-forwarded-for", "192.0.2.1")]);
    assert_eq!((peer.as_str(), headers), ("127.0.0.1", nobody));
}

#[tokio::test]
async fn the_proxy_on_this_machine_is_believed_under_its_own_names() {
    let expected = [
        ("x-forwarded-for", "203.0.113.9"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-user", "alice@example.com"),
    ];
    for host in ["gateway.example", "gateway.example:8443", "localhost"] {
        let stage = proxied_here(Profile::Latest).await;
        let answer = plain(&stage, host).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{host}: {answer}");
        let (peer, headers) = arrived(&stage, host).await;
        assert_eq!(
            (peer.as_str(), headers),
            ("127.0.0.2", owned(&expected)),
            "{host}"
        );
    }
}

/// A way to the gateway on which its answers can be held up, once a challenge is through.
struct Delayed {
    address: std::net::SocketAddr,
    held: tokio::sync::watch::Sender<bool>,
}

impl Delayed {
    async fn before(gateway: std::net::SocketAddr) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (held, holding) = tokio::sync::watch::channel(false);
        tokio::spawn(async move {
            while let Ok((shim, _)) = listener.accept().await {
                let gateway = tokio::net::TcpStream::connect(gateway).await.unwrap();
                tokio::spawn(Self::relay(shim, gateway, holding.clone()));
            }
        });
        Self { address, held }
    }

    async fn relay(
        shim: tokio::net::TcpStream,
        gateway: tokio::net::TcpStream,
        mut holding: tokio::sync::watch::Receiver<bool>,
    ) {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let (mut from_shim, mut to_shim) = shim.into_split();
        let (mut from_gateway, mut to_gateway) = gateway.into_split();
        tokio::spawn(async move { tokio::io::copy(&mut from_shim, &mut to_gateway).await });
        let (mut seen, mut buffer) = (Vec::new(), [0; 4096]);
        while let Ok(length @ 1..) = from_gateway.read(&mut buffer).await {
            let challenged = seen.windows(9).any(|bytes: &[u8]| bytes == b"challenge");
            if challenged && holding.wait_for(|held| !held).await.is_err() {
                return;
            }
            seen.extend(&buffer[..length]);
            if to_shim.write_all(&buffer[..length]).await.is_err() {
                return;
            }
        }
    }
}

#[tokio::test]
async fn a_record_that_is_narrowed_between_lookup_and_grant_grants_nothing() {
    let mut stage = Stage::new(Profile::Literal).await;
    stage.delegate().await;
    let delayed = Delayed::before(stage.gateway.addr()).await;
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(stage.state(), dir.path().join("state")).unwrap();
    stage.shim = crate::stage::Shim::start(delayed.address, &dir, "").await;
    let device = stage.paired(LEGACY);
    let connect = stage.through().device(&device).scopes(&[READ]);
    crate::stage::until(&connect, "healed through the delay", |outcome| {
        outcome.session.is_some()
    })
    .await;
    let before = stage.gateway.connects().len();
    delayed.held.send(true).unwrap();
    let attempt = tokio::spawn(connect.clone().run());
    crate::stage::eventually("the gateway has let it in", || {
        (stage.gateway.connects().len() > before).then_some(())
    })
    .await;
    edit_store(&stage.state(), |records| {
        records[device.id()]["scopes"] = json!(["operator.pairing"]);
        records[device.id()]["approvedScopes"] = json!(["operator.pairing"]);
    });
    delayed.held.send(false).unwrap();
    let outcome = attempt.await.unwrap();
    if let Some(mut session) = outcome.session {
        // The news came after the answer: it ends all the same.
        let closed = tokio::time::timeout(std::time::Duration::from_secs(5), session.closed());
        assert_eq!(closed.await.unwrap().0, 1008);
    }
    let again = connect.run().await;
    assert!(again.session.is_none(), "{again:?}");
}
