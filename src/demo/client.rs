//! A client as the gateway's command line is one: a handshake that its device signs, then one call.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::verdict::Verdict;
use crate::clock;
use crate::delegate::{Delegate, PLATFORM};
use crate::handshake::message::{Answer, Claims, Connect, Refusal, challenge};
use crate::rewrite;

/// Who connects, and with which secret.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client<'a> {
    /// The device that signs. A delegate is nothing but a device key in a file.
    pub(super) device: &'a Delegate,
    /// The token of `gateway.auth.token`, or what the client takes for it.
    pub(super) token: &'a str,
}

/// What a session is wanted for: a scope, and a method that needs it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    pub(super) scope: &'static str,
    pub(super) method: &'static str,
    /// The parameters of the call, as JSON.
    pub(super) params: &'static str,
}

/// What came of a handshake.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Let in.
    Connected {
        /// The gateway's welcome, whole.
        hello: String,
        /// What the call was answered.
        answer: Result<Value, Refusal>,
    },
    /// Refused, and how the socket was closed.
    Refused {
        refusal: Refusal,
        close: Option<(u16, String)>,
    },
    /// Neither.
    Failed(String),
}

type Socket = WebSocketStream<TcpStream>;

impl Client<'_> {
    /// Connects to `address`, asks for the wish's scope and, if let in, calls its method.
    pub(super) async fn attempt(&self, address: SocketAddr, wish: Wish) -> Outcome {
        match timeout(TIME_LIMIT, self.converse(address, wish)).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(why)) => Outcome::Failed(why),
            Err(_) => Outcome::Failed(format!("no answer within {TIME_LIMIT:?}")),
        }
    }

    async fn converse(&self, address: SocketAddr, wish: Wish) -> Result<Outcome, String> {
        let stream = TcpStream::connect(address)
            .await
            .map_err(|error| format!("cannot connect to {address}: {error}"))?;
        let (mut socket, _) = client_async(format!("ws://{address}/"), stream)
            .await
            .map_err(|error| describe(&error))?;
        let nonce = loop {
            let message = next(&mut socket).await?;
            if let Some(challenge) = challenge(message.as_bytes()) {
                break challenge.nonce;
            }
        };
        send(&mut socket, &self.request(wish, &nonce)).await?;
        let hello = match answer(&mut socket, CONNECT_ID).await? {
            Answer::Hello(message) => message.to_string(),
            Answer::Refused { refusal, .. } => {
                let close = close_of(&mut socket).await;
                return Ok(Outcome::Refused { refusal, close });
            }
        };
        let (method, params) = (wish.method, wish.params);
        let call =
            format!(r#"{{"type":"req","id":"{method}","method":"{method}","params":{params}}}"#);
        send(&mut socket, &call).await?;
        let answer = match answer(&mut socket, wish.method).await? {
            Answer::Hello(mut message) => Ok(message["payload"].take()),
            Answer::Refused { refusal, .. } => Err(refusal),
        };
        // The session has served; a gateway that is gone by now changes nothing.
        let _ = socket.close(None).await;
        let _ = close_of(&mut socket).await;
        Ok(Outcome::Connected { hello, answer })
    }

    fn request(&self, wish: Wish, nonce: &str) -> String {
        let mut message = json!({
            "type": "req", "id": CONNECT_ID, "method": "connect",
            "params": {
                "minProtocol": 3, "maxProtocol": 4,
                "client": {
                    "id": CLIENT, "displayName": "scope-shim demo", "version": env!("CARGO_PKG_VERSION"),
                    "platform": PLATFORM, "mode": CLIENT,
                },
                "caps": [], "role": "operator", "scopes": [wish.scope],
                "auth": {"token": self.token},
            },
        });
        if let Ok(connect) = Connect::parse(message.to_string().as_bytes()) {
            let device = self.device.prove(&connect.claims, nonce, clock::now_ms());
            message["params"]["device"] = rewrite::device_json(&device);
        }
        message.to_string()
    }
}

impl Outcome {
    pub(super) const fn verdict(&self) -> Verdict {
        match self {
            Self::Connected { answer: Ok(_), .. } => Verdict::Works,
            Self::Refused { .. } => Verdict::Refused,
            Self::Connected { .. } | Self::Failed(_) => Verdict::Failed,
        }
    }

    /// What the client was told.
    pub(super) fn told(&self, wish: Wish) -> String {
        match self {
            Self::Connected {
                answer: Ok(payload),
                ..
            } => {
                format!("connected; `{}` answers {}", wish.method, summary(payload))
            }
            Self::Connected {
                answer: Err(refusal),
                ..
            } => format!(
                "connected, but `{}` answers {}: {}",
                wish.method, refusal.code, refusal.message
            ),
            Self::Refused { refusal, close } => {
                let code = refusal.details_code.as_ref().unwrap_or(&refusal.code);
                let closed = close.as_ref().map_or_else(
                    || "not closed".to_owned(),
                    |(code, reason)| format!("close {code}: {reason}"),
                );
                format!("{code}, {closed}")
            }
            Self::Failed(why) => why.clone(),
        }
    }

    pub(super) fn is_refused_for_pairing(&self) -> bool {
        matches!(self, Self::Refused { refusal, .. } if refusal.wants_pairing())
    }
}

/// A device's public key as the gateway stores it.
pub(super) fn public_key(device: &Delegate) -> String {
    device.prove(&Claims::default(), "", 0).public_key
}

/// The beginning of an answer: enough to see that somebody really answered.
fn summary(payload: &Value) -> String {
    let text = payload.to_string();
    if text.chars().count() <= LONGEST_SUMMARY {
        return text;
    }
    let cut: String = text.chars().take(LONGEST_SUMMARY).collect();
    format!("{cut}…")
}

async fn send(socket: &mut Socket, text: &str) -> Result<(), String> {
    socket
        .send(Message::text(text))
        .await
        .map_err(|error| describe(&error))
}

async fn answer(socket: &mut Socket, id: &str) -> Result<Answer, String> {
    loop {
        let message = next(socket).await?;
        if let Some(answer) = Answer::parse(message.as_bytes(), id) {
            return Ok(answer);
        }
    }
}

async fn next(socket: &mut Socket) -> Result<String, String> {
    loop {
        match socket.next().await {
            None => return Err("the connection ended".to_owned()),
            Some(Err(error)) => return Err(describe(&error)),
            Some(Ok(Message::Text(text))) => return Ok(text.as_str().to_owned()),
            Some(Ok(Message::Close(frame))) => {
                return Err(frame.map_or_else(
                    || "closed without a code".to_owned(),
                    |frame| format!("closed with {}: {}", u16::from(frame.code), frame.reason),
                ));
            }
            Some(Ok(_)) => {}
        }
    }
}

/// Reads on to the close frame.
async fn close_of(socket: &mut Socket) -> Option<(u16, String)> {
    while let Some(Ok(message)) = socket.next().await {
        if let Message::Close(frame) = message {
            let frame = frame?;
            return Some((frame.code.into(), frame.reason.as_str().to_owned()));
        }
    }
    None
}

fn describe(error: &WsError) -> String {
    match error {
        WsError::Http(response) => format!("HTTP {}", response.status()),
        other => other.to_string(),
    }
}

/// The name under which the gateway's own command line connects; both its id and its mode.
pub(super) const CLIENT: &str = "cli";
const CONNECT_ID: &str = "connect-1";
const LONGEST_SUMMARY: usize = 60;
const TIME_LIMIT: Duration = Duration::from_secs(20);
