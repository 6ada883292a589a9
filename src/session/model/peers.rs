//! The client and the gateway of the model: what they can do, and what they hear.

use std::time::Duration;

use bytes::BytesMut;
use futures_util::FutureExt as _;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::time::{sleep, timeout};

use super::promises::connects;
use super::world::{NONCE, TIMEOUT, World};
use crate::relay::Wire;
use crate::stream::Stream;
use crate::ws::Opcode;
use crate::ws::frame::encode;

/// Something that a peer does, once; or time that passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Event {
    /// The client's request.
    Connect,
    /// Another request behind it, or before it.
    Early,
    ClientPing,
    /// A close frame; the connection stays.
    ClientClose,
    /// The client's connection ends.
    ClientEnd,
    /// The client sends what is no frame.
    Stray,
    Challenge,
    /// The gateway accepts the request.
    Hello,
    /// The gateway refuses it, and would have somebody approve more scopes.
    Refusal,
    /// The gateway says something else.
    Tick,
    GatewayClose,
    GatewayEnd,
    /// The same on the second connection, where there is one.
    FreshChallenge,
    FreshHello,
    FreshRefusal,
    FreshEnd,
    /// More than anything but the handshake itself may take.
    Later,
}

impl Event {
    pub(super) const fn is_clients(self) -> bool {
        matches!(
            self,
            Self::Connect
                | Self::Early
                | Self::ClientPing
                | Self::ClientClose
                | Self::ClientEnd
                | Self::Stray
        )
    }

    pub(super) const fn is_fresh(self) -> bool {
        matches!(
            self,
            Self::FreshChallenge | Self::FreshHello | Self::FreshRefusal | Self::FreshEnd
        )
    }

    /// Each once, and nothing of a peer that has left; time passes as often as it likes.
    pub(super) fn may_follow(self, path: &[Self]) -> bool {
        let end = match (self.is_clients(), self.is_fresh()) {
            (true, _) => Self::ClientEnd,
            (_, true) => Self::FreshEnd,
            _ => Self::GatewayEnd,
        };
        self == Self::Later || !(path.contains(&self) || path.contains(&end))
    }

    /// What goes over the wire; `None` for the end of a connection and for time.
    pub(super) fn bytes(self, world: &World) -> Option<Vec<u8>> {
        // A key of zeros leaves the text as it is.
        let client = |text: &str| Some(encode(Opcode::Text, text.as_bytes(), Some([0; 4])));
        let gateway = |message: Value| {
            let text = message.to_string();
            Some(encode(Opcode::Text, text.as_bytes(), None))
        };
        match self {
            Self::Connect => client(&world.connect),
            Self::Early => client(EARLY),
            Self::ClientPing => Some(encode(Opcode::Ping, b"?", Some([0; 4]))),
            Self::ClientClose => Some(encode(Opcode::Close, &[3, 232], Some([0; 4]))),
            Self::Stray => Some(b"\xff\xffwhat is no frame".to_vec()),
            Self::Challenge => gateway(challenge(NONCE)),
            Self::FreshChallenge => gateway(challenge(FRESH_NONCE)),
            Self::Hello | Self::FreshHello => gateway(hello(self)),
            Self::Refusal | Self::FreshRefusal => gateway(refusal()),
            Self::Tick => gateway(json!({"type": "event", "event": "tick"})),
            Self::GatewayClose => Some(encode(Opcode::Close, &[3, 240], None)),
            Self::ClientEnd | Self::GatewayEnd | Self::FreshEnd | Self::Later => None,
        }
    }
}

/// What the client sends beside its request.
pub(super) const EARLY: &str = r#"{"type":"req","id":"c2","method":"status"}"#;
/// The nonce that only the shim may see.
pub(super) const FRESH_NONCE: &str = "of-another-connection";
/// What the gateway issues with its acceptance.
pub(super) const ISSUED: &str = "issued";

fn challenge(nonce: &str) -> Value {
    json!({"type": "event", "event": "connect.challenge", "payload": {"nonce": nonce, "ts": 1}})
}

fn hello(event: Event) -> Value {
    json!({"type": "res", "id": "c1", "ok": true, "payload": {"type": "hello-ok", "of": format!("{event:?}"),
        "auth": {"deviceToken": ISSUED, "role": "operator", "scopes": ["operator.read"]}}})
}

fn refusal() -> Value {
    json!({"type": "res", "id": "c1", "ok": false, "error": {"code": "NOT_PAIRED", "message": "pairing required",
        "details": {"code": "PAIRING_REQUIRED", "reason": "scope-upgrade"}}})
}

/// What each end has heard so far, and whether its connection has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Heard {
    pub(super) client: (Vec<u8>, bool),
    pub(super) gateway: (Vec<u8>, bool),
    pub(super) fresh: (Vec<u8>, bool),
}

/// One path, walked to its end.
pub(super) struct Walk {
    /// What was heard when the last event of the path had had its effect.
    pub(super) then: Heard,
    /// Whether the session was over by then.
    pub(super) over_then: bool,
    /// Whether the gateway had got a request when it answered.
    pub(super) asked: bool,
    /// What was heard in the end.
    pub(super) finally: Heard,
}

/// What comes after the last event of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// Both peers are silent until the handshake is over, and leave.
    Silence,
    /// The shim is told to stop.
    Stop,
}

pub(super) fn walk(world: &World, path: &[Event], next: Then) -> Walk {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(walked(world, path, next))
}

async fn walked(world: &World, path: &[Event], next: Then) -> Walk {
    let (client, client_end) = duplex(ROOM);
    let (gateway, gateway_end) = duplex(ROOM);
    let (fresh, fresh_end) = duplex(ROOM);
    world.engine.breaker.forget_all().await;
    let session = world.session(wire(fresh_end));
    let ending = session.ending.clone();
    let (client_end, gateway_end) = (wire(client_end), wire(gateway_end));
    let handshake = tokio::spawn(session.begin(client_end, gateway_end, None));
    let mut ends = Ends {
        client: Some(client),
        gateway: Some(gateway),
        fresh: Some(fresh),
        heard: Heard::default(),
    };
    let mut asked = false;
    for event in path {
        if matches!(event, Event::Hello | Event::Refusal) {
            asked |= !connects(&ends.heard.gateway.0).is_empty();
        }
        ends.does(*event, world).await;
        ends.hear();
    }
    let (then, over_then) = (ends.heard.clone(), ends.heard.client.1);

    if next == Then::Stop {
        ending.cancel();
    }
    // Nobody says any more: the handshake has to come to its end by itself.
    let begun = timeout(TIMEOUT + SLACK, handshake).await;
    let begun = begun.unwrap_or_else(|_| unreachable!("{path:?}: the handshake hangs"));
    ends.hear();
    if let Ok(Some(lasting)) = begun.unwrap() {
        let relay = tokio::spawn(lasting.run());
        sleep(MOMENT).await;
        ends.hear();
        for end in [Event::ClientEnd, Event::GatewayEnd, Event::FreshEnd] {
            ends.does(end, world).await;
        }
        let over = timeout(SLACK, relay).await;
        let over = over.unwrap_or_else(|_| unreachable!("{path:?}: the session hangs"));
        let _ = over.unwrap();
    }
    ends.hear();
    Walk {
        then,
        over_then,
        asked,
        finally: ends.heard,
    }
}

/// The peers' ends of the connections, and what they have heard.
struct Ends {
    client: Option<DuplexStream>,
    gateway: Option<DuplexStream>,
    fresh: Option<DuplexStream>,
    heard: Heard,
}

impl Ends {
    /// Does it, and waits until everybody waits.
    async fn does(&mut self, event: Event, world: &World) {
        let end = match (event.is_clients(), event.is_fresh()) {
            (true, _) => &mut self.client,
            (_, true) => &mut self.fresh,
            _ => &mut self.gateway,
        };
        match event.bytes(world) {
            Some(bytes) => {
                if let Some(end) = end {
                    // A shim that has closed the connection takes nothing any more.
                    let _ = end.write_all(&bytes).await;
                }
            }
            None if event == Event::Later => sleep(TIMEOUT / 3).await,
            None => {
                self.hear();
                self.leave(event);
            }
        }
        sleep(MOMENT).await;
    }

    fn leave(&mut self, event: Event) {
        match event {
            Event::ClientEnd => self.client = None,
            Event::GatewayEnd => self.gateway = None,
            _ => self.fresh = None,
        }
    }

    fn hear(&mut self) {
        let Heard {
            client,
            gateway,
            fresh,
        } = &mut self.heard;
        hear(&mut self.client, client);
        hear(&mut self.gateway, gateway);
        hear(&mut self.fresh, fresh);
    }
}

fn hear(end: &mut Option<DuplexStream>, (heard, over): &mut (Vec<u8>, bool)) {
    while let Some(end) = end {
        match end.read_buf(heard).now_or_never() {
            None => return,
            Some(Ok(0) | Err(_)) => {
                *over = true;
                return;
            }
            Some(Ok(_)) => {}
        }
    }
}

fn wire(stream: DuplexStream) -> Wire {
    Wire {
        stream: Stream::Memory(stream),
        unread: BytesMut::new(),
    }
}

const ROOM: usize = 8 * 1024;
/// The clock moves on by this only when nobody has anything left to do.
const MOMENT: Duration = Duration::from_millis(1);
/// What a refusal may take beyond the handshake: the gateway's close, and the client's.
const SLACK: Duration = Duration::from_secs(3);
