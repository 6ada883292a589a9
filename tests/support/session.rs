//! An open session: calls, events, and what it really may do.

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// An open session.
#[derive(Debug)]
pub struct Session {
    socket: WebSocketStream<TcpStream>,
    next_id: u64,
    end: Option<(u16, String)>,
    /// Events that came while an answer was awaited.
    pub events: Vec<Value>,
}

impl Session {
    pub(super) fn new(socket: WebSocketStream<TcpStream>) -> Self {
        Self {
            socket,
            next_id: 1,
            end: None,
            events: Vec::new(),
        }
    }

    /// Sends several frames in one go.
    pub(super) async fn send_together(&mut self, frames: impl IntoIterator<Item = Option<String>>) {
        for frame in frames.into_iter().flatten() {
            self.socket.feed(Message::text(frame)).await.unwrap();
        }
        self.socket.flush().await.unwrap();
    }

    /// Calls a method: its payload, or its error.
    pub async fn call(&mut self, method: &str, params: Value) -> Result<Value, Value> {
        let id = format!("r{}", self.next_id);
        self.next_id += 1;
        let request = json!({ "type": "req", "id": id, "method": method, "params": params });
        self.send(&request).await;
        loop {
            let frame = match self.frame().await {
                Ok(frame) => frame,
                Err((code, reason)) => return Err(json!({ "closed": code, "message": reason })),
            };
            if frame["type"] == "event" {
                self.events.push(frame);
            } else if frame["id"] == id.as_str() {
                let ok = frame["ok"] == true;
                return if ok {
                    Ok(frame["payload"].clone())
                } else {
                    Err(frame["error"].clone())
                };
            }
        }
    }

    /// Calls something under this id; under which it was answered.
    pub async fn answered_under(&mut self, id: &str) -> String {
        let call = json!({ "type": "req", "id": id, "method": "system-presence", "params": {} });
        self.send(&call).await;
        loop {
            match self.frame().await {
                Err((code, reason)) => return format!("closed {code} {reason}"),
                Ok(frame) if frame["type"] == "event" => self.events.push(frame),
                Ok(frame) => return frame["id"].as_str().unwrap_or_default().to_owned(),
            }
        }
    }

    /// A call's result in one word or the error's message.
    pub async fn verdict(&mut self, method: &str, params: Value) -> String {
        match self.call(method, params).await {
            Ok(_) => "OK".to_owned(),
            Err(error) => error["message"].as_str().unwrap_or_default().to_owned(),
        }
    }

    /// What the session really may do: `r`ead, `w`rite, `A`dmin, `a`pprovals, `p`airing, or `·`; of one
    /// that is closed, how.
    pub async fn letters(&mut self) -> String {
        let probes = [
            ('r', "system-presence", json!({})),
            ('w', "chat.abort", json!({ "sessionKey": "scope-probe" })),
            // Unknown methods are the administrator's, in every version, and change nothing.
            ('A', "scope.probe", json!({})),
            (
                'a',
                "exec.approval.resolve",
                json!({ "id": "scope-probe", "decision": "deny" }),
            ),
            ('p', "device.pair.list", json!({})),
        ];
        let mut letters = String::new();
        for (letter, method, params) in probes {
            let denied = match self.call(method, params).await {
                Ok(_) => false,
                Err(error) if error.get("closed").is_some() => return format!("closed: {error}"),
                Err(error) => {
                    let message = error["message"].as_str().unwrap_or_default();
                    message.starts_with("missing scope") || message.starts_with("unauthorized role")
                }
            };
            if !denied {
                letters.push(letter);
            }
        }
        if letters.is_empty() {
            "·".to_owned()
        } else {
            letters
        }
    }

    /// Sends any frame; into the void, if the socket is closed already.
    pub async fn send(&mut self, frame: &Value) {
        let _closed = self.socket.send(Message::text(frame.to_string())).await;
    }

    /// The next event of this name; events that come before it are kept.
    pub async fn event(&mut self, name: &str) -> Value {
        if let Some(index) = self.events.iter().position(|event| event["event"] == name) {
            return self.events.remove(index)["payload"].clone();
        }
        loop {
            let frame = self.frame().await.unwrap();
            if frame["event"] == name {
                return frame["payload"].clone();
            }
            self.events.push(frame);
        }
    }

    /// Waits for the end of the socket: code and reason.
    pub async fn closed(&mut self) -> (u16, String) {
        loop {
            if let Err(close) = self.frame().await {
                return close;
            }
        }
    }

    /// Closes the socket in order.
    pub async fn close(mut self) {
        let _already = self.socket.close(None).await;
        self.closed().await;
    }

    /// The next JSON frame, or how the socket was closed.
    pub(super) async fn frame(&mut self) -> Result<Value, (u16, String)> {
        if let Some(end) = &self.end {
            return Err(end.clone());
        }
        let end = loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(frame))) => {
                    // The answer to a close is only queued; the other side waits for it.
                    let _gone = self.socket.flush().await;
                    let parts =
                        frame.map(|frame| (u16::from(frame.code), frame.reason.to_string()));
                    break parts.unwrap_or((1005, String::new()));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => break (1006, String::new()),
            }
        };
        self.end = Some(end.clone());
        Err(end)
    }
}
