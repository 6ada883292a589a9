//! A handshake that the shim begins by itself: the gateway is not asked before it is known what for.

use std::io;
use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, timeout_at};

use super::{Exchange, Left, Limits, Opening, Request, Untouched};
use crate::handshake::message::{Challenge, Connect};
use crate::relay::{Client, Wire};
use crate::ws::scan::Sender;
use crate::ws::{Item, Opcode, Scanner, frame};

/// The client's end of a session that has no other end yet.
#[derive(Debug)]
pub struct Deferred<'c> {
    /// The client's end, which outlives a handshake that is given up.
    pub client: &'c mut Client,
    deadline: Instant,
    limits: Limits,
}

impl<'c> Deferred<'c> {
    /// A handshake that starts now.
    #[must_use]
    pub fn new(client: &'c mut Client, limits: Limits) -> Self {
        Self {
            client,
            deadline: Instant::now() + limits.timeout,
            limits,
        }
    }

    /// Sends a challenge, as gateways do, and reads the client's first message.
    ///
    /// # Errors
    ///
    /// When the socket fails.
    pub async fn open(&mut self, challenge: &Challenge) -> io::Result<Opening> {
        let event = json!({
            "type": "event", "event": "connect.challenge",
            "payload": {"nonce": challenge.nonce, "ts": challenge.ts_ms},
        });
        let event = frame::encode(Opcode::Text, event.to_string().as_bytes(), None);
        self.client.send(&event).await?;
        match timeout_at(self.deadline, self.first_message(challenge)).await {
            Ok(opening) => opening,
            Err(_) => Ok(Opening::Untouched(Untouched::Silent)),
        }
    }

    async fn first_message(&mut self, challenge: &Challenge) -> io::Result<Opening> {
        let mut scanner = Scanner::new(Sender::Client, self.limits.connect_frame);
        loop {
            match scanner.next(&self.client.wire.unread) {
                Err(_) => return Ok(Opening::Untouched(Untouched::NotFrames)),
                Ok(Some(Item::Control {
                    opcode: Opcode::Close,
                    ..
                })) => return Ok(Opening::Left(LEFT)),
                Ok(Some(Item::Control { raw, .. })) => {
                    // Nobody waits for an answer to it: no client checks its connection before it has one.
                    let _ = self.client.wire.unread.split_to(raw);
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
                    return Ok(Opening::Connect(Box::new(Request {
                        connect,
                        challenge: Some(challenge.clone()),
                        raw,
                        controls,
                    })));
                }
                Ok(None) => {}
            }
            if self.client.wire.read_more().await? == 0 {
                return Ok(Opening::Left(LEFT));
            }
        }
    }

    /// Allows the handshake that much longer: time that somebody else takes.
    pub fn extend(&mut self, by: Duration) {
        self.deadline += by;
    }

    /// Completes when the client leaves; what it says meanwhile is kept, up to a limit.
    pub async fn left(&mut self) {
        self.client.wire.left(2 * self.limits.connect_frame).await;
    }

    /// Goes on with a gateway, whose own challenge the client must not see: it has had one. Returns its nonce, too.
    ///
    /// # Errors
    ///
    /// When the gateway sends no challenge in time; then the client comes back.
    pub async fn join(self, mut gateway: Wire) -> Result<(Exchange<'c>, String), Self> {
        let deadline = self.deadline;
        match Exchange::fresh_nonce(&mut gateway, deadline).await {
            Ok(Some(nonce)) => {
                let exchange = Exchange {
                    client: self.client,
                    gateway,
                    deadline,
                    limits: self.limits,
                };
                Ok((exchange, nonce))
            }
            _ => Err(self),
        }
    }

    /// How long the handshake may go on.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

/// The challenge is the shim's own, and there is no gateway that could end it.
const LEFT: Left = Left {
    by_gateway: false,
    challenged: true,
    close: None,
};
