use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use rustix::net::sockopt::set_socket_linger;
use scope_shim::ws::frame::encode;
use scope_shim::ws::{Header, Opcode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::faults::{agree, asked};
use crate::stage::Shim;
use crate::support::client::{Connect, READ};
use crate::support::device::TestDevice;
use crate::wire::{RawClient, masked};

/// How far a handshake is when it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Asked,
    Agreed,
    Challenged,
    Answered,
    Admitted,
}

const STEPS: [Step; 5] = [
    Step::Asked,
    Step::Agreed,
    Step::Challenged,
    Step::Answered,
    Step::Admitted,
];

impl Step {
    /// How many things the client has heard by then: the upgrade's answer, the challenge, the answer.
    const fn pieces(self) -> usize {
        match self {
            Self::Asked => 0,
            Self::Agreed => 1,
            Self::Challenged | Self::Answered => 2,
            Self::Admitted => 3,
        }
    }
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The gateway closes its connection.
    Ends,
    /// It resets it.
    Resets,
    /// It says what is no frame, and ends.
    Nonsense,
    /// It says nothing more.
    Silence,
    /// The shim is told to stop.
    Stop,
}

/// A gateway that does as it is told, step by step, and the shim in front of it.
struct Scene {
    listener: TcpListener,
    shim: Shim,
    _dir: tempfile::TempDir,
}

impl Scene {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let config = "[limits]\nhandshake_timeout = \"1s\"\ndrain = \"0s\"\n";
        let shim = Shim::start(listener.local_addr().unwrap(), &dir, config).await;
        Self {
            listener,
            shim,
            _dir: dir,
        }
    }

    /// The first client's session as far as this step, and what happens to it; what it saw.
    async fn fails(self, step: Step, fault: Fault) -> String {
        let (told, mut heard) = watch::channel(0);
        let client = tokio::spawn(sees(self.shim.addr, told));
        let mut gateway = RawClient::over(asked(&self.listener).await);
        play(&mut gateway, step).await;
        let arrived = heard.wait_for(|&pieces| pieces >= step.pieces());
        arrived.await.expect("the client is there");
        if fault == Fault::Stop {
            self.shim.stop().await;
            return client.await.unwrap();
        }
        let silent = strike(gateway, fault).await;
        let saw = client.await.unwrap();
        drop(silent);
        self.goes_on().await;
        saw
    }

    /// The next client is served as if nothing had been, and nobody is left when the shim ends.
    async fn goes_on(self) {
        let client = sees(self.shim.addr, watch::channel(0).0);
        let gateway = async {
            let mut gateway = RawClient::over(asked(&self.listener).await);
            play(&mut gateway, Step::Admitted).await;
        };
        let (saw, ()) = tokio::join!(client, gateway);
        assert_eq!(saw, "101, challenge, hello-ok, the end");
        let stopped = timeout(Duration::from_secs(10), self.shim.stop()).await;
        stopped.expect("nobody is left");
    }
}

/// The gateway's side of a handshake up to this step.
async fn play(gateway: &mut RawClient, until: Step) {
    if until >= Step::Agreed {
        agree(&mut gateway.stream).await;
    }
    if until >= Step::Challenged {
        let payload = json!({"nonce": "n", "ts": 1});
        let event = json!({"type": "event", "event": "connect.challenge", "payload": payload});
        say(gateway, &event).await;
    }
    if until >= Step::Answered {
        gateway.frame().await.expect("the connect request");
    }
    if until >= Step::Admitted {
        let payload = json!({"type": "hello-ok", "protocol": 3});
        let answer = json!({"type": "res", "id": "c1", "ok": true, "payload": payload});
        say(gateway, &answer).await;
    }
}

async fn say(gateway: &mut RawClient, message: &Value) {
    let frame = encode(Opcode::Text, message.to_string().as_bytes(), None);
    gateway.write(&frame).await;
}

/// Makes the gateway fail; what it returns is still open.
async fn strike(mut gateway: RawClient, fault: Fault) -> Option<RawClient> {
    match fault {
        Fault::Ends => {}
        Fault::Resets => set_socket_linger(&gateway.stream, Some(Duration::ZERO)).unwrap(),
        Fault::Nonsense => gateway.write(b"nonsense from the gateway").await,
        Fault::Silence | Fault::Stop => return Some(gateway),
    }
    None
}

/// Connects, does its part of the handshake, and tells what it sees until the end, or until nothing more comes.
async fn sees(shim: SocketAddr, told: watch::Sender<usize>) -> String {
    let mut client = RawClient::asks_for_upgrade(shim, "/", b"").await;
    let mut seen = Vec::new();
    let mut unread = BytesMut::new();
    loop {
        while let Some(piece) = piece(&mut unread, seen.is_empty()) {
            if piece == "challenge" {
                let connect = json!({"type": "req", "id": "c1", "method": "connect",
                    "params": Connect::to(shim).device(&TestDevice::new()).scopes(&[READ]).params("n")});
                // It may be gone already.
                let sent = masked(Opcode::Text, connect.to_string().as_bytes());
                let _ = client.stream.write_all(&sent).await;
            }
            seen.push(piece);
            told.send_replace(seen.len());
        }
        match timeout(SILENCE, client.stream.read_buf(&mut unread)).await {
            Err(_) => seen.push("still waits".to_owned()),
            Ok(Ok(0) | Err(_)) => seen.push("the end".to_owned()),
            Ok(Ok(_)) => continue,
        }
        return seen.join(", ");
    }
}

/// The next thing that a server said, in a few words.
fn piece(unread: &mut BytesMut, is_first: bool) -> Option<String> {
    if is_first {
        let end = unread.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = String::from_utf8(unread.split_to(end + 4).to_vec()).unwrap();
        return head.split(' ').nth(1).map(str::to_owned);
    }
    let Ok(header) = Header::parse(unread) else {
        return Some(format!("{:?}", String::from_utf8_lossy(&unread.split())));
    };
    let header = header?;
    let whole = header.header_len + usize::try_from(header.payload_len).unwrap();
    if unread.len() < whole {
        return None;
    }
    let frame = unread.split_to(whole);
    let payload = &frame[header.header_len..];
    if header.opcode == Opcode::Close {
        let (code, reason) = payload.split_at(2);
        let code = u16::from_be_bytes(code.try_into().unwrap());
        return Some(format!(
            "close {code} {:?}",
            String::from_utf8_lossy(reason)
        ));
    }
    let message: Value = serde_json::from_slice(payload).unwrap();
    Some(match &message["payload"]["type"] {
        Value::String(kind) => kind.clone(),
        _ if message["event"] == "connect.challenge" => "challenge".to_owned(),
        _ => message.to_string(),
    })
}

#[tokio::test]
async fn a_gateway_that_fails_at_any_step_is_survived_and_named_where_nobody_else_can() {
    let faults = [
        Fault::Ends,
        Fault::Resets,
        Fault::Nonsense,
        Fault::Silence,
        Fault::Stop,
    ];
    let all = STEPS
        .into_iter()
        .flat_map(|step| faults.map(|fault| (step, fault)));
    let seen = all.map(|(step, fault)| async move {
        let scene = Scene::new().await;
        let gateway = scene.listener.local_addr().unwrap().to_string();
        let saw = scene
            .fails(step, fault)
            .await
            .replace(&gateway, "[GATEWAY]");
        format!(
            "{:<10} {:<8} {saw}",
            format!("{step:?}"),
            format!("{fault:?}")
        )
    });
    let seen = futures_util::future::join_all(seen).await;
    insta::assert_snapshot!(seen.join("\n"));
}

/// Longer than the shim waits for a gateway.
const SILENCE: Duration = Duration::from_secs(3);
