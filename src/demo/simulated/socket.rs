//! Messages on a socket, and how it ends.

use std::io;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

use super::Outcome;
use super::frames::{self, Assembler, Fault, Kind, Message};
use super::http::Wire;
use super::refusal::Refusal;

/// The end of a socket: what is remembered of it, and the close frame to send, if any.
pub(super) struct Ending {
    pub(super) outcome: Option<Outcome>,
    pub(super) close: Option<(u16, String)>,
}

impl Ending {
    pub(super) fn close(code: u16, reason: &str) -> Self {
        Self {
            outcome: Some(Outcome::Closed {
                code,
                reason: reason.to_owned(),
            }),
            close: Some((code, reason.to_owned())),
        }
    }

    /// The client left first.
    pub(super) fn gone(message: Option<&Message>) -> Self {
        let parts = message
            .map(|message| frames::close_parts(&message.payload).unwrap_or((1000, String::new())));
        Self {
            outcome: None,
            close: parts,
        }
    }

    /// What is said to a peer that breaks the protocol.
    pub(super) fn fault(fault: Fault) -> Self {
        match fault {
            Fault::Protocol => Self::close(1002, ""),
            Fault::TooLarge => Self::close(1009, ""),
        }
    }
}

/// The wire with messages on it; pings are answered on the way.
pub(super) struct Socket {
    pub(super) wire: Wire,
    assembler: Assembler,
    peer_closed: bool,
}

pub(super) enum Read {
    Message(Message),
    Fault(Fault),
    /// With the close message, if there was one.
    Closed(Option<Message>),
}

impl Socket {
    pub(super) fn new(wire: Wire) -> Self {
        Self {
            wire,
            assembler: Assembler::default(),
            peer_closed: false,
        }
    }

    /// The next message. Safe to cancel: unfinished input stays in the buffer.
    pub(super) async fn message(&mut self, limit: usize) -> io::Result<Read> {
        loop {
            match self.assembler.next(&mut self.wire.buffer, limit) {
                Err(fault) => return Ok(Read::Fault(fault)),
                Ok(Some(message)) => match message.kind {
                    Kind::Ping => {
                        let pong = frames::encode(10, &message.payload);
                        self.wire.stream.write_all(&pong).await?;
                    }
                    Kind::Pong => {}
                    Kind::Close => {
                        self.peer_closed = true;
                        return Ok(Read::Closed(Some(message)));
                    }
                    Kind::Text | Kind::Binary => return Ok(Read::Message(message)),
                },
                Ok(None) => {
                    if !self.wire.fill().await? {
                        self.peer_closed = true;
                        return Ok(Read::Closed(None));
                    }
                }
            }
        }
    }

    pub(super) async fn send_json(&mut self, value: &Value) -> io::Result<()> {
        self.wire
            .stream
            .write_all(&frames::text(&value.to_string()))
            .await
    }

    /// Sends the refusal; the caller closes.
    pub(super) async fn refuse(
        &mut self,
        request_id: &Value,
        refusal: Refusal,
    ) -> io::Result<Ending> {
        let error = refusal.error();
        let answer = json!({ "type": "res", "id": request_id, "ok": false, "error": error });
        self.send_json(&answer).await?;
        let details = refusal.details.unwrap_or_default();
        Ok(Ending {
            outcome: Some(Outcome::Refused {
                code: refusal.code.to_owned(),
                detail: details["code"].as_str().map(str::to_owned),
                message: refusal.message,
            }),
            close: Some((refusal.close_code, refusal.close_reason)),
        })
    }

    /// Says goodbye and waits a moment for the other side to do the same.
    pub(super) async fn end(mut self, close: Option<(u16, String)>) -> io::Result<()> {
        if let Some((code, reason)) = close {
            self.wire
                .stream
                .write_all(&frames::close(code, &reason))
                .await?;
            let farewell = async {
                while !self.peer_closed {
                    self.wire.buffer.clear();
                    if !self.wire.fill().await? {
                        break;
                    }
                    if self
                        .wire
                        .buffer
                        .first()
                        .is_some_and(|byte| byte & 0x0f == 8)
                    {
                        break;
                    }
                }
                io::Result::Ok(())
            };
            let _late = timeout(FAREWELL, farewell).await;
        }
        self.wire.stream.shutdown().await
    }
}

const FAREWELL: Duration = Duration::from_secs(2);
