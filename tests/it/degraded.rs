use std::net::SocketAddr;

use scope_shim::demo::simulated::Profile;
use scope_shim::diagnosis::Diagnosis;
use scope_shim::findings::Code;
use scope_shim::relay::{Stop, Tap, Wire, relay};
use scope_shim::ws::Opcode;
use scope_shim::ws::frame::encode;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::stage::Stage;
use crate::support::client::{Connect, LEGACY, READ, WRITE};

/// Every profile that takes scopes away from a client without a device, and the error code of its denials.
const CLEARING: [(Profile, &str); 4] = [
    (Profile::Literal, "INVALID_REQUEST"),
    (Profile::Clearing, "INVALID_REQUEST"),
    (Profile::Pending, "INVALID_REQUEST"),
    (Profile::Latest, "FORBIDDEN"),
];

async fn stage(profile: Profile, config: &str) -> Stage {
    Stage::with(profile, |setup| {
        setup.options.trusted_proxies = vec!["127.0.0.2".into()];
        setup.config = format!("trusted_proxies = [\"127.0.0.3\"]\n{config}");
    })
    .await
}

/// A client elsewhere, behind a proxy that the shim trusts.
fn elsewhere(stage: &Stage) -> Connect {
    let remote = stage.through().from("127.0.0.3").client("cli", "probe");
    remote
        .header("X-Forwarded-For", "203.0.113.9")
        .scopes(&[READ, WRITE])
}

/// The error that a call comes back with.
async fn denied(connect: Connect, method: &str) -> Value {
    let mut session = connect.run().await.session.expect("let in");
    session.call(method, json!({})).await.unwrap_err()
}

#[tokio::test]
async fn a_remote_client_without_a_device_reads_in_each_answer_why_its_scopes_are_gone() {
    for (profile, code) in CLEARING {
        let stage = stage(profile, "").await;
        let mut session = elsewhere(&stage).run().await.session.expect("let in");
        for (method, scope) in [
            ("system-presence", READ),
            ("chat.abort", WRITE),
            ("system-presence", READ),
        ] {
            let error = session.call(method, json!({})).await.unwrap_err();
            let message = error["message"].as_str().unwrap();
            let start = format!(
                "missing scope: {scope} (scope-shim: this session of cli/probe 1.0.0 from 203.0.113.9 "
            );
            assert!(message.starts_with(&start), "{profile:?}: {message}");
            assert!(
                message.contains("it has no device"),
                "{profile:?}: {message}"
            );
            assert_eq!(error["code"], code, "{profile:?}");
            let data = &error["details"]["scopeShim"];
            assert_eq!(data["finding"], "device-less", "{profile:?}");
            assert_eq!(data["missing"], json!([READ, WRITE]), "{profile:?}");
            let own = profile == Profile::Latest;
            assert_eq!(
                error["details"]["code"] == "MISSING_SCOPE",
                own,
                "{profile:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_local_page_and_a_client_that_policy_leaves_alone_read_their_own_reason() {
    let origin = "http://127.0.0.1:5173";
    let stage = Stage::with(Profile::Clearing, |setup| {
        setup.options.allowed_origins = vec![origin.into()];
    })
    .await;
    let page = stage.through().header("origin", origin).scopes(&[READ]);
    let told = denied(page, "system-presence").await.to_string();
    assert!(told.contains("stands in for no web page"), "{told}");
    let stage = Stage::with(Profile::Clearing, |setup| {
        setup.config = "[policy]\ndevice_less = \"off\"\n".into();
    })
    .await;
    let left_alone = stage.through().scopes(&[READ]);
    let told = denied(left_alone, "system-presence").await.to_string();
    assert!(told.contains("policy.device_less"), "{told}");
}

#[tokio::test]
async fn a_session_that_a_header_caps_reads_which() {
    let stage = stage(Profile::Latest, "").await;
    let device = stage.paired(&[READ, WRITE]);
    let capped = elsewhere(&stage)
        .device(&device)
        .header("x-openclaw-scopes", READ);
    let error = denied(capped, "chat.abort").await;
    assert_eq!(
        error["details"]["scopeShim"]["finding"], "scope-cap",
        "{error}"
    );
}

#[tokio::test]
async fn observe_and_off_change_no_answer() {
    for mode in ["observe", "off"] {
        let stage = stage(Profile::Latest, &format!("mode = \"{mode}\"\n")).await;
        let error = denied(elsewhere(&stage), "system-presence").await;
        assert_eq!(error["message"], "missing scope: operator.read", "{mode}");
        assert!(error["details"].get("scopeShim").is_none(), "{mode}");
    }
}

#[tokio::test]
async fn a_healthy_or_delegated_session_gets_the_gateways_own_words() {
    for profile in [
        Profile::Literal,
        Profile::Clearing,
        Profile::Pending,
        Profile::Latest,
    ] {
        let stage = Stage::new(profile).await;
        stage.delegate().await;
        let (legacy, reader) = (stage.paired(LEGACY), stage.paired(&[READ]));
        let healthy = stage.through().device(&reader).scopes(&[READ]);
        let rewritten = stage.through().device(&legacy).scopes(&[READ]);
        let direct = denied(stage.direct().device(&reader).scopes(&[READ]), "chat.abort").await;
        for connect in [healthy, rewritten] {
            assert_eq!(denied(connect, "chat.abort").await, direct, "{profile:?}");
        }
    }
}

/// Two connected sockets.
pub(crate) async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))
        .await
        .unwrap();
    let one = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    (one, listener.accept().await.unwrap().0)
}

pub(crate) fn wire(stream: TcpStream) -> Wire {
    Wire {
        stream: stream.into(),
        unread: Default::default(),
    }
}

#[tokio::test]
async fn whatever_is_no_denial_passes_a_degraded_session_byte_for_byte_however_large_or_small_its_pieces()
 {
    let denial = json!({"type": "res", "id": "1", "ok": false,
        "error": {"code": "INVALID_REQUEST", "message": "missing scope: operator.read"}})
    .to_string();
    let mut first_half = encode(Opcode::Text, &denial.as_bytes()[..40], None);
    first_half[0] &= 0x7f;
    let untouched = [
        encode(Opcode::Text, &vec![b'x'; 26_214_400], None),
        encode(Opcode::Binary, denial.as_bytes(), None),
        first_half,
        encode(Opcode::Ping, b"between", None),
        encode(Opcode::Continuation, &denial.as_bytes()[40..], None),
    ]
    .concat();
    let (mut client, client_end) = pair().await;
    let (mut gateway, gateway_end) = pair().await;
    let tap = Tap::new(&Diagnosis {
        code: Code::DeviceLess,
        sentence: "no device".into(),
        short: String::new(),
        command: None,
        data: Default::default(),
    });
    let relaying = tokio::spawn(relay(
        wire(client_end),
        wire(gateway_end),
        None,
        Stop::Never,
        Some(tap),
        Default::default(),
        (),
    ));
    let (sent, answer) = (
        untouched.clone(),
        encode(Opcode::Text, denial.as_bytes(), None),
    );
    let sending = tokio::spawn(async move {
        gateway.write_all(&sent).await.unwrap();
        for byte in answer {
            gateway.write_all(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        gateway.shutdown().await.unwrap();
        let mut asked = Vec::new();
        gateway.read_to_end(&mut asked).await.unwrap();
        asked
    });
    client
        .write_all(b"the other way is nobody's business")
        .await
        .unwrap();
    client.shutdown().await.unwrap();
    let mut received = Vec::new();
    client.read_to_end(&mut received).await.unwrap();
    let (same, explained) = received.split_at(untouched.len());
    assert!(same == untouched);
    let explained = String::from_utf8_lossy(explained);
    assert!(
        explained.contains("missing scope: operator.read (scope-shim: no device)"),
        "{explained}"
    );
    assert_eq!(
        sending.await.unwrap(),
        b"the other way is nobody's business"
    );
    relaying.await.unwrap().unwrap();
}
