//! The handshake as it runs: bytes of both sides, until the gateway has answered.
//!
//! Whatever is not understood, or does not come in time, is relayed untouched: the gateway is the one that decides.

mod deferred;

use std::io;
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, timeout_at};

use super::message::{Answer, Challenge, Connect, Hello, Refusal, challenge};
use crate::relay::{Client, Wire};
use crate::ws::close::{NO_STATUS, POLICY_VIOLATION};
use crate::ws::scan::Sender;
use crate::ws::{Close, Item, Opcode, Scanner, frame};

pub use deferred::Deferred;

/// What a handshake may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The longest `connect` message that is read, in bytes; a longer one is left to the gateway.
    pub connect_frame: usize,
    /// How long the whole handshake may take.
    pub timeout: Duration,
}

/// Both ends of a session while its handshake runs.
#[derive(Debug)]
pub struct Exchange<'c> {
    /// The client's end, which outlives a handshake that is given up.
    pub client: &'c mut Client,
    /// The gateway's end.
    pub gateway: Wire,
    deadline: Instant,
    limits: Limits,
}

/// How a session opens.
#[derive(Debug)]
pub enum Opening {
    /// With a `connect` request, which still lies unread.
    Connect(Box<Request>),
    /// With something else; from here on it is relayed as it is.
    Untouched(Untouched),
    /// One side left.
    Left(Left),
}

/// How a handshake ended before its request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// Whether the gateway ended it; else the client did.
    pub by_gateway: bool,
    /// Whether the gateway's challenge had come.
    pub challenged: bool,
    /// What the gateway said when it ended it.
    pub close: Option<Close>,
}

/// A `connect` request and where its bytes are.
#[derive(Debug)]
pub struct Request {
    /// The request.
    pub connect: Connect,
    /// The challenge that this connection carried, if it carried one.
    pub challenge: Option<Challenge>,
    raw: usize,
    controls: Vec<u8>,
}

/// Why a session is relayed without its handshake being understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Untouched {
    /// The client's first message is no `connect` request.
    NotConnect,
    /// The client's bytes are not the frames of RFC 6455, or too long.
    NotFrames,
    /// No first message came in time.
    Silent,
}

/// What the gateway answered.
#[derive(Debug)]
pub enum Answered {
    /// `hello-ok`, with the bytes still unread.
    Hello(Box<Hello>),
    /// A refusal, with the bytes still unread.
    Refused {
        /// The whole message.
        message: Value,
        /// What it says.
        refusal: Refusal,
    },
    /// Something else, or nothing in time.
    Nothing,
    /// One side left.
    Left,
}

impl<'c> Exchange<'c> {
    /// A handshake that starts now.
    #[must_use]
    pub fn new(client: &'c mut Client, gateway: Wire, limits: Limits) -> Self {
        Self {
            client,
            gateway,
            deadline: Instant::now() + limits.timeout,
            limits,
        }
    }

    /// Lets the challenge through, and reads the client's first message without passing it on.
    ///
    /// # Errors
    ///
    /// When a socket fails.
    pub async fn open(&mut self) -> io::Result<Opening> {
        let deadline = self.deadline;
        match timeout_at(deadline, self.open_unbounded()).await {
            Ok(opening) => opening,
            Err(_) => Ok(Opening::Untouched(Untouched::Silent)),
        }
    }

    async fn open_unbounded(&mut self) -> io::Result<Opening> {
        let mut challenge = Watched::new();
        let mut scanner = Scanner::new(Sender::Client, self.limits.connect_frame);
        challenge.pass(&mut self.gateway, self.client).await?;
        loop {
            match scanner.next(&self.client.wire.unread) {
                Err(_) => return Ok(Opening::Untouched(Untouched::NotFrames)),
                Ok(Some(Item::Control { opcode, raw })) => {
                    challenge.client_closes |= opcode == Opcode::Close;
                    let client = &mut self.client.wire;
                    client.hand_on(raw, &mut self.gateway).await?;
                    continue;
                }
                Ok(Some(Item::Message {
                    payload,
                    raw,
                    controls,
                    ..
                })) => {
                    let Ok(connect) = Connect::parse(&payload) else {
                        return Ok(Opening::Untouched(Untouched::NotConnect));
                    };
                    let challenge = self.await_challenge(challenge).await?;
                    return Ok(Opening::Connect(Box::new(Request {
                        connect,
                        challenge,
                        raw,
                        controls,
                    })));
                }
                Ok(None) => {}
            }
            tokio::select! {
                read = self.gateway.read_more() => {
                    if !matches!(read, Ok(1..)) {
                        let rest = self.gateway.unread.len();
                        self.client.hand_on(rest, &mut self.gateway.unread).await?;
                        return Ok(Opening::Left(challenge.left(true)));
                    }
                    challenge.pass(&mut self.gateway, self.client).await?;
                }
                read = self.client.wire.read_more() => {
                    if !matches!(read, Ok(1..)) {
                        return Ok(Opening::Left(challenge.left(false)));
                    }
                }
            }
        }
    }

    /// A client may be faster than the challenge: early ones send their request without waiting for it.
    async fn await_challenge(&mut self, mut watched: Watched) -> io::Result<Option<Challenge>> {
        let patience = (Instant::now() + CHALLENGE_PATIENCE).min(self.deadline);
        while watched.challenge.is_none() && !watched.hopeless {
            match timeout_at(patience, self.gateway.read_more()).await {
                Err(_) | Ok(Ok(0)) => break,
                Ok(read) => read?,
            };
            watched.pass(&mut self.gateway, self.client).await?;
        }
        Ok(watched.challenge)
    }

    /// Sends the client's own bytes.
    ///
    /// # Errors
    ///
    /// When the gateway's socket fails.
    pub async fn send_original(&mut self, request: &Request) -> io::Result<()> {
        let bytes = self.client.wire.unread.split_to(request.raw);
        self.gateway.send(&bytes).await
    }

    /// Drops the client's own bytes: they were never sent, and another request goes in their place.
    pub fn forget(&mut self, request: &Request) {
        let _ = self.client.wire.unread.split_to(request.raw);
    }

    /// Sends `message` in the place of the client's own bytes.
    ///
    /// # Errors
    ///
    /// When the gateway's socket fails.
    pub async fn send_instead(&mut self, request: &Request, message: &[u8]) -> io::Result<()> {
        self.forget(request);
        self.gateway.send(&request.controls).await?;
        self.send_message(message).await
    }

    /// Sends a text message to the gateway, as a client does.
    ///
    /// # Errors
    ///
    /// When the gateway's socket fails.
    pub async fn send_message(&mut self, message: &[u8]) -> io::Result<()> {
        let bytes = frame::encode(Opcode::Text, message, Some(masking_key()));
        self.gateway.send(&bytes).await
    }

    /// Waits for the answer to the request; its bytes stay unread, everything before it goes on to the client.
    ///
    /// Frames that the client sends meanwhile are kept back: gateways up to 2026.7.1 end a session that sends any.
    ///
    /// # Errors
    ///
    /// When a socket fails.
    pub async fn answer(&mut self, request_id: &str) -> io::Result<Answered> {
        let deadline = self.deadline;
        match timeout_at(deadline, self.answer_unbounded(request_id)).await {
            Ok(answered) => answered,
            Err(_) => Ok(Answered::Nothing),
        }
    }

    async fn answer_unbounded(&mut self, request_id: &str) -> io::Result<Answered> {
        let mut scanner = Scanner::new(Sender::Gateway, LONGEST_ANSWER);
        loop {
            match scanner.next(&self.gateway.unread) {
                Err(_) => return Ok(Answered::Nothing),
                Ok(Some(Item::Message { payload, raw, .. })) => {
                    if let Some(hello) = Hello::parse(&payload, request_id) {
                        return Ok(Answered::Hello(hello.into()));
                    }
                    match Answer::parse(&payload, request_id) {
                        Some(Answer::Hello(message)) => {
                            return Ok(Answered::Hello(Hello::from(message).into()));
                        }
                        Some(Answer::Refused { message, refusal }) => {
                            return Ok(Answered::Refused { message, refusal });
                        }
                        None => self.pass_on(raw).await?,
                    }
                    continue;
                }
                Ok(Some(Item::Control {
                    opcode: Opcode::Close,
                    ..
                })) => return Ok(Answered::Nothing),
                Ok(Some(Item::Control { raw, .. })) => {
                    self.pass_on(raw).await?;
                    continue;
                }
                Ok(None) => {}
            }
            let room = self.client.wire.unread.len() < self.limits.connect_frame;
            tokio::select! {
                read = self.gateway.read_more() => {
                    // However it went: a first answer may still be in hand.
                    if !matches!(read, Ok(1..)) {
                        return Ok(Answered::Nothing);
                    }
                }
                read = self.client.wire.read_more(), if room => {
                    if read? == 0 {
                        return Ok(Answered::Left);
                    }
                }
            }
        }
    }

    async fn pass_on(&mut self, raw: usize) -> io::Result<()> {
        self.client.hand_on(raw, &mut self.gateway.unread).await
    }

    /// What the gateway has closed the handshake with, where it did so instead of an answer.
    #[must_use]
    pub fn close(&self) -> Option<Close> {
        let mut scanner = Scanner::new(Sender::Gateway, LONGEST_ANSWER);
        match scanner.next(&self.gateway.unread) {
            Ok(Some(Item::Control {
                opcode: Opcode::Close,
                ..
            })) => Some(Close::of_gateway(&self.gateway.unread)),
            _ => None,
        }
    }

    /// Shows the client `message` instead of the answer that lies unread.
    pub fn show_instead(&mut self, message: &str) {
        let mut scanner = Scanner::new(Sender::Gateway, LONGEST_ANSWER);
        if let Ok(Some(Item::Message { raw, controls, .. })) = scanner.next(&self.gateway.unread) {
            let rest = self.gateway.unread.split_off(raw);
            let shown = frame::encode(Opcode::Text, message.as_bytes(), None);
            self.gateway.unread = BytesMut::from(controls.as_slice());
            self.gateway.unread.extend_from_slice(&shown);
            self.gateway.unread.unsplit(rest);
        }
    }

    /// The code that the gateway closes a refused handshake with; whatever else it says is left unsaid.
    pub async fn close_code(&mut self) -> u16 {
        timeout_at(Instant::now() + CLOSE_PATIENCE, self.await_close())
            .await
            .ok()
            .flatten()
            .unwrap_or(POLICY_VIOLATION)
    }

    async fn await_close(&mut self) -> Option<u16> {
        let mut scanner = Scanner::new(Sender::Gateway, LONGEST_ANSWER);
        loop {
            match scanner.next(&self.gateway.unread) {
                Err(_) => return None,
                Ok(Some(Item::Control {
                    opcode: Opcode::Close,
                    ..
                })) => {
                    let close = Close::of_gateway(&self.gateway.unread);
                    return Some(close.code).filter(|code| *code != NO_STATUS);
                }
                Ok(Some(Item::Control { raw, .. } | Item::Message { raw, .. })) => {
                    let _ = self.gateway.unread.split_to(raw);
                    continue;
                }
                Ok(None) => {}
            }
            if self.gateway.read_more().await.ok()? == 0 {
                return None;
            }
        }
    }

    /// Waits for the challenge of a fresh gateway connection, which the client must not see: it has had one.
    ///
    /// # Errors
    ///
    /// When the socket fails.
    pub async fn fresh_nonce(gateway: &mut Wire, deadline: Instant) -> io::Result<Option<String>> {
        let mut scanner = Scanner::new(Sender::Gateway, CHALLENGE_LIMIT);
        let mut wait = async || {
            loop {
                match scanner.next(&gateway.unread) {
                    Err(_) => return Ok(None),
                    Ok(Some(Item::Message { payload, raw, .. })) => {
                        let _ = gateway.unread.split_to(raw);
                        if let Some(challenge) = challenge(&payload) {
                            return Ok(Some(challenge.nonce));
                        }
                        continue;
                    }
                    Ok(Some(Item::Control { raw, .. })) => {
                        let _ = gateway.unread.split_to(raw);
                        continue;
                    }
                    Ok(None) => {}
                }
                if gateway.read_more().await? == 0 {
                    return Ok(None);
                }
            }
        };
        timeout_at(deadline, wait()).await.unwrap_or(Ok(None))
    }

    /// Allows the handshake that much longer: time that somebody else took.
    pub fn extend(&mut self, by: Duration) {
        self.deadline += by;
    }

    /// Completes when the client leaves; what it sends meanwhile is kept, up to a limit.
    pub async fn left(&mut self) {
        self.client.wire.left(self.limits.connect_frame).await;
    }

    /// When the handshake has to be over.
    #[must_use]
    pub const fn deadline(&self) -> Instant {
        self.deadline
    }
}

/// Answers a client's request with `message` and closes its end.
///
/// Answer and close go out together: a client that gets the first alone closes by itself, and shows its own reason.
///
/// # Errors
///
/// When its socket fails.
pub async fn say_no(client: &mut Client, message: &Value, close: &Close) -> io::Result<()> {
    let answer = frame::encode(Opcode::Text, message.to_string().as_bytes(), None);
    client.close(answer, close).await?;
    // Closing a socket with unread bytes in it would reset it, and the client might never see the answer.
    let _ = timeout_at(Instant::now() + CLOSE_PATIENCE, client.wire.drain()).await;
    Ok(())
}

impl Wire {
    /// Completes when the other side leaves. What it sends meanwhile is kept; beyond `limit` bytes it is not listened to
    /// any more.
    async fn left(&mut self, limit: usize) {
        while self.unread.len() < limit {
            if self.read_more().await.is_ok_and(|read| read > 0) {
                continue;
            }
            return;
        }
        std::future::pending().await
    }

    /// Hands on so many of the unread bytes. Whoever gives up waiting for it loses none: what the other side has not taken
    /// yet stays unread.
    async fn hand_on(&mut self, bytes: usize, to: &mut Self) -> io::Result<()> {
        let mut bytes = (&mut self.unread).take(bytes);
        to.stream.write_all_buf(&mut bytes).await?;
        to.stream.flush().await
    }

    async fn drain(&mut self) {
        loop {
            self.unread.clear();
            if self.read_more().await.is_ok_and(|read| read > 0) {
                continue;
            }
            return;
        }
    }

    /// Reads more bytes behind the unread ones; 0 at the end.
    async fn read_more(&mut self) -> io::Result<usize> {
        self.unread.reserve(READ_AT_ONCE);
        self.stream.read_buf(&mut self.unread).await
    }
}

/// Passes the gateway's first messages on as soon as they are whole, and looks for the challenge among them.
struct Watched {
    scanner: Scanner,
    challenge: Option<Challenge>,
    /// There is none to be found any more.
    hopeless: bool,
    /// The gateway has said that it closes, and why.
    close: Option<Close>,
    /// The client has said so first.
    client_closes: bool,
}

impl Watched {
    const fn new() -> Self {
        Self {
            scanner: Scanner::new(Sender::Gateway, CHALLENGE_LIMIT),
            challenge: None,
            hopeless: false,
            close: None,
            client_closes: false,
        }
    }

    /// Half a message stays unread: the answer is looked for from there on, and a client that is told something else in
    /// its place must not be in the middle of it.
    async fn pass(&mut self, gateway: &mut Wire, client: &mut Client) -> io::Result<()> {
        let whole = self.look(&gateway.unread);
        client.hand_on(whole, &mut gateway.unread).await
    }

    /// How many of the bytes are whole messages; all of them where they are none.
    fn look(&mut self, bytes: &[u8]) -> usize {
        let mut whole = 0;
        while !self.hopeless {
            match self.scanner.next(bytes.get(whole..).unwrap_or_default()) {
                Ok(None) => return whole,
                Err(_) => self.hopeless = true,
                Ok(Some(Item::Control { opcode, raw })) => {
                    if opcode == Opcode::Close && self.close.is_none() {
                        let frame = bytes.get(whole..).unwrap_or_default();
                        self.close = Some(Close::of_gateway(frame));
                    }
                    whole += raw;
                }
                Ok(Some(Item::Message { payload, raw, .. })) => {
                    self.challenge = self.challenge.take().or_else(|| challenge(&payload));
                    whole += raw;
                }
            }
        }
        bytes.len()
    }

    /// Whoever is told first that the other closes answers that, and may be the first to hang up then.
    fn left(self, by_gateway: bool) -> Left {
        Left {
            by_gateway: (by_gateway || self.close.is_some()) && !self.client_closes,
            challenged: self.challenge.is_some(),
            close: self.close,
        }
    }
}

/// A fresh masking key (RFC 6455 §5.3 wants it unpredictable).
fn masking_key() -> [u8; 4] {
    let mut key = [0; 4];
    // Without randomness the frame is still valid; the mask protects old caches on the way, and there are none here.
    let _ = getrandom::fill(&mut key);
    key
}

/// How long the gateway's close may lag behind its answer, and a client's behind ours.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);
const READ_AT_ONCE: usize = 8 * 1024;
/// A challenge is about 120 bytes long.
const CHALLENGE_LIMIT: usize = 16 * 1024;
/// How long a request may lie while the challenge is on its way; gateways send it as soon as they accept.
const CHALLENGE_PATIENCE: Duration = Duration::from_secs(2);
/// The gateways' own limit for one message (`policy.maxPayload`, every version).
const LONGEST_ANSWER: usize = 26_214_400;

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use tokio::io::{DuplexStream, duplex};

    use super::*;
    use crate::stream::Stream;

    fn wire(stream: DuplexStream) -> Wire {
        Wire {
            stream: Stream::Memory(stream),
            unread: BytesMut::new(),
        }
    }

    const LIMITS: Limits = Limits {
        connect_frame: 1024,
        timeout: Duration::from_secs(10),
    };

    #[tokio::test]
    async fn the_close_of_a_gateway_is_known_and_stays_in_its_place() {
        let close = Close::new(4001, "gateway auth changed");
        let frame = close.server_frame();
        let (_client, client_end) = duplex(1024);
        let (mut gateway, gateway_end) = duplex(1024);
        let mut client_end = Client::from(wire(client_end));
        let mut exchange = Exchange::new(&mut client_end, wire(gateway_end), LIMITS);
        assert_eq!(exchange.close(), None);
        gateway.write_all(&frame).await.unwrap();
        let answered = exchange.answer("c1").await.unwrap();
        assert!(matches!(answered, Answered::Nothing));
        assert_eq!(exchange.close(), Some(close));
        assert_eq!(exchange.gateway.unread, frame);
    }

    #[tokio::test]
    async fn a_close_before_the_request_is_known_and_reaches_the_client() {
        let close = Close::new(1012, "service restart");
        let frame = close.server_frame();
        let (mut client, client_end) = duplex(1024);
        let (mut gateway, gateway_end) = duplex(1024);
        let mut client_end = Client::from(wire(client_end));
        let mut exchange = Exchange::new(&mut client_end, wire(gateway_end), LIMITS);
        gateway.write_all(&frame).await.unwrap();
        drop(gateway);
        let Opening::Left(left) = exchange.open().await.unwrap() else {
            unreachable!("the gateway left");
        };
        assert!(left.by_gateway);
        assert_eq!(left.close, Some(close));
        drop(client_end);
        let mut taken = Vec::new();
        client.read_to_end(&mut taken).await.unwrap();
        assert_eq!(taken, frame);
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_client_does_not_take_in_time_is_left_for_later() {
        let (mut client, client_end) = duplex(64);
        let (mut gateway, gateway_end) = duplex(1024);
        let mut client_end = Client::from(wire(client_end));
        let mut exchange = Exchange::new(&mut client_end, wire(gateway_end), LIMITS);
        let event = frame::encode(Opcode::Binary, &[7; 200], None);
        gateway.write_all(&event).await.unwrap();
        let answered = exchange.answer("c1").await.unwrap();
        assert!(matches!(answered, Answered::Nothing));
        // A close would land inside of it.
        let close = Close::new(POLICY_VIOLATION, "");
        exchange.client.close(Vec::new(), &close).await.unwrap();
        let mut taken = Vec::new();
        client.read_to_end(&mut taken).await.unwrap();
        assert_eq!(taken.len(), 64);
        assert_eq!([&taken, &*exchange.gateway.unread].concat(), event);
    }
}
