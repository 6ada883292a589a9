//! A client for one handshake, every detail of which can be turned: the right way and the wrong ways.

use std::net::{IpAddr, SocketAddr};
use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::device::{Claim, Payload, TestDevice};

pub const ADMIN: &str = "operator.admin";
pub const READ: &str = "operator.read";
pub const WRITE: &str = "operator.write";
pub const APPROVALS: &str = "operator.approvals";
pub const PAIRING: &str = "operator.pairing";
/// Every scope the probes look for.
pub const FULL: &[&str] = &[ADMIN, READ, WRITE, APPROVALS, PAIRING];
/// What the command line of 2026.2.19 pairs with.
pub const LEGACY: &[&str] = &[ADMIN, APPROVALS, PAIRING];

/// What the device signs as the nonce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Nonce {
    /// The one from this socket's challenge.
    Challenge,
    /// Another one, sent and signed.
    Other(String),
    /// None at all.
    Missing,
}

/// A handshake to be made. Starts as what works everywhere: local, `test`/`test`, protocol 3 to 4.
#[derive(Clone)]
pub struct Connect {
    pub addr: SocketAddr,
    pub source: Option<IpAddr>,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub client_id: String,
    pub client_mode: String,
    pub platform: String,
    pub device_family: Option<String>,
    pub display_name: Option<String>,
    pub role: Option<String>,
    pub scopes: Option<Vec<String>>,
    pub protocol: (i64, i64),
    pub token: Option<String>,
    pub password: Option<String>,
    pub device_token: Option<String>,
    pub bootstrap_token: Option<String>,
    pub device: Option<TestDevice>,
    pub payload: Payload,
    pub signed_at_offset_ms: i64,
    pub nonce: Nonce,
    /// Signed in the place of the token that is sent.
    pub signed_token: Option<String>,
    /// The last word on the parameters, after signing.
    pub tamper: Option<fn(&mut Value)>,
    /// Sent in the place of the `connect` request.
    pub instead: Option<String>,
    /// Sent right behind the `connect` frame, without waiting for the answer.
    pub early: Option<Value>,
}

/// How a handshake ended.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The status of a refused upgrade, and its body.
    pub http: Option<(u16, String)>,
    /// The challenge's payload.
    pub challenge: Option<Value>,
    /// `hello-ok`.
    pub hello: Option<Value>,
    /// The error of the answer to `connect`.
    pub error: Option<Value>,
    /// Close code and reason.
    pub close: Option<(u16, String)>,
    /// The open session, after `hello-ok`.
    pub session: Option<Session>,
}

/// An open session.
#[derive(Debug)]
pub struct Session {
    socket: WebSocketStream<TcpStream>,
    next_id: u64,
    end: Option<(u16, String)>,
    /// Events that came while an answer was awaited.
    pub events: Vec<Value>,
}

impl Connect {
    pub fn to(addr: SocketAddr) -> Self {
        Self {
            addr,
            source: None,
            path: "/".to_owned(),
            headers: Vec::new(),
            client_id: "test".to_owned(),
            client_mode: "test".to_owned(),
            platform: "linux".to_owned(),
            device_family: None,
            display_name: None,
            role: None,
            scopes: None,
            protocol: (3, 4),
            token: None,
            password: None,
            device_token: None,
            bootstrap_token: None,
            device: None,
            payload: Payload::V2,
            signed_at_offset_ms: 0,
            nonce: Nonce::Challenge,
            signed_token: None,
            tamper: None,
            instead: None,
            early: None,
        }
    }

    pub fn token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    pub fn without_token(mut self) -> Self {
        self.token = None;
        self
    }

    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    pub fn device_token(mut self, token: &str) -> Self {
        self.device_token = Some(token.to_owned());
        self
    }

    pub fn bootstrap_token(mut self, token: &str) -> Self {
        self.bootstrap_token = Some(token.to_owned());
        self
    }

    pub fn client(mut self, id: &str, mode: &str) -> Self {
        (self.client_id, self.client_mode) = (id.to_owned(), mode.to_owned());
        self
    }

    pub fn platform(mut self, platform: &str) -> Self {
        platform.clone_into(&mut self.platform);
        self
    }

    pub fn device_family(mut self, family: &str) -> Self {
        self.device_family = Some(family.to_owned());
        self
    }

    pub fn display_name(mut self, name: &str) -> Self {
        self.display_name = Some(name.to_owned());
        self
    }

    pub fn role(mut self, role: &str) -> Self {
        self.role = Some(role.to_owned());
        self
    }

    pub fn scopes(mut self, scopes: &[&str]) -> Self {
        self.scopes = Some(scopes.iter().map(|&scope| scope.to_owned()).collect());
        self
    }

    pub fn protocol(mut self, min: i64, max: i64) -> Self {
        self.protocol = (min, max);
        self
    }

    pub fn device(mut self, device: &TestDevice) -> Self {
        self.device = Some(device.clone());
        self
    }

    pub fn payload(mut self, payload: Payload) -> Self {
        self.payload = payload;
        self
    }

    pub fn signed_ago(mut self, seconds: i64) -> Self {
        self.signed_at_offset_ms = -seconds * 1000;
        self
    }

    pub fn nonce(mut self, nonce: Nonce) -> Self {
        self.nonce = nonce;
        self
    }

    pub fn signing_token(mut self, token: &str) -> Self {
        self.signed_token = Some(token.to_owned());
        self
    }

    pub fn tampered(mut self, tamper: fn(&mut Value)) -> Self {
        self.tamper = Some(tamper);
        self
    }

    pub fn saying(mut self, text: &str) -> Self {
        self.instead = Some(text.to_owned());
        self
    }

    pub fn early(mut self, frame: Value) -> Self {
        self.early = Some(frame);
        self
    }

    pub fn path(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn from(mut self, source: &str) -> Self {
        self.source = Some(source.parse().unwrap());
        self
    }

    /// As a client far away behind a proxy at 127.0.0.2.
    pub fn remote(self) -> Self {
        self.from("127.0.0.2")
            .header("x-forwarded-for", "203.0.113.9")
    }

    /// Opens a socket, without a handshake.
    pub async fn open(&self) -> Result<WebSocketStream<TcpStream>, (u16, String)> {
        let stream = self.tcp().await;
        let mut request = format!("ws://{}{}", self.addr, self.path)
            .into_client_request()
            .unwrap();
        for (name, value) in &self.headers {
            let name: HeaderName = name.parse().unwrap();
            let value = HeaderValue::from_str(value).unwrap();
            // Host is replaced, everything else is added.
            if name == "host" {
                request.headers_mut().insert(name, value);
            } else {
                request.headers_mut().append(name, value);
            }
        }
        match tokio_tungstenite::client_async(request, stream).await {
            Ok((socket, _response)) => Ok(socket),
            Err(Error::Http(response)) => {
                let body = response.body().as_deref().unwrap_or_default();
                Err((
                    response.status().as_u16(),
                    String::from_utf8_lossy(body).into_owned(),
                ))
            }
            Err(error) => panic!("upgrade failed: {error}"),
        }
    }

    async fn tcp(&self) -> TcpStream {
        let Some(source) = self.source else {
            return TcpStream::connect(self.addr).await.unwrap();
        };
        let socket = if source.is_ipv4() {
            TcpSocket::new_v4()
        } else {
            TcpSocket::new_v6()
        }
        .unwrap();
        socket.bind(SocketAddr::new(source, 0)).unwrap();
        socket.connect(self.addr).await.unwrap()
    }

    /// The `connect` parameters in answer to this nonce.
    pub fn params(&self, challenge_nonce: &str) -> Value {
        let mut client = json!({
            "id": self.client_id,
            "version": "1.0.0",
            "platform": self.platform,
            "mode": self.client_mode,
        });
        let optional = [
            ("deviceFamily", &self.device_family),
            ("displayName", &self.display_name),
        ];
        set(&mut client, &optional);
        let mut params = json!({
            "minProtocol": self.protocol.0,
            "maxProtocol": self.protocol.1,
            "client": client,
        });
        set(&mut params, &[("role", &self.role)]);
        if let Some(scopes) = &self.scopes {
            params["scopes"] = json!(scopes);
        }
        let mut auth = json!({});
        let secrets = [
            ("token", &self.token),
            ("password", &self.password),
            ("deviceToken", &self.device_token),
            ("bootstrapToken", &self.bootstrap_token),
        ];
        set(&mut auth, &secrets);
        if auth != json!({}) {
            params["auth"] = auth;
        }
        if let Some(device) = &self.device {
            params["device"] = self.proof(device, challenge_nonce);
        }
        if let Some(tamper) = self.tamper {
            tamper(&mut params);
        }
        params
    }

    fn proof(&self, device: &TestDevice, challenge_nonce: &str) -> Value {
        let nonce = match &self.nonce {
            Nonce::Challenge => challenge_nonce,
            Nonce::Other(nonce) => nonce,
            Nonce::Missing => "",
        };
        let sent = [&self.token, &self.device_token, &self.bootstrap_token];
        let sent = sent
            .into_iter()
            .find_map(Option::as_deref)
            .unwrap_or_default();
        let scopes = self.scopes.clone().unwrap_or_default();
        let claim = Claim {
            client_id: &self.client_id,
            client_mode: &self.client_mode,
            role: self.role.as_deref().unwrap_or("operator"),
            scopes: &scopes,
            signed_at_ms: now_ms() + self.signed_at_offset_ms,
            token: self.signed_token.as_deref().unwrap_or(sent),
            nonce,
            platform: &self.platform,
            device_family: self.device_family.as_deref().unwrap_or_default(),
        };
        let mut proof = json!({
            "id": device.id(),
            "publicKey": device.public_key(),
            "signature": device.sign(&device.payload(self.payload, &claim)),
            "signedAt": claim.signed_at_ms,
        });
        if self.nonce != Nonce::Missing {
            proof["nonce"] = nonce.into();
        }
        proof
    }

    /// Makes the handshake.
    pub async fn run(self) -> Outcome {
        let mut outcome = Outcome::default();
        let socket = match self.open().await {
            Ok(socket) => socket,
            Err(refused) => {
                return Outcome {
                    http: Some(refused),
                    ..outcome
                };
            }
        };
        let mut session = Session {
            socket,
            next_id: 1,
            end: None,
            events: Vec::new(),
        };
        let challenge = session.frame().await;
        let Ok(challenge) = challenge else {
            outcome.close = challenge.err();
            return outcome;
        };
        assert_eq!(
            challenge["event"], "connect.challenge",
            "the gateway speaks first"
        );
        let nonce = challenge["payload"]["nonce"].as_str().unwrap();
        let params = self.params(nonce);
        outcome.challenge = Some(challenge["payload"].clone());
        let connect = json!({ "type": "req", "id": "c1", "method": "connect", "params": params });
        let text = self.instead.clone().unwrap_or_else(|| connect.to_string());
        session.socket.feed(Message::text(text)).await.unwrap();
        if let Some(early) = &self.early {
            session
                .socket
                .feed(Message::text(early.to_string()))
                .await
                .unwrap();
        }
        session.socket.flush().await.unwrap();
        loop {
            match session.frame().await {
                Err(close) => {
                    outcome.close = Some(close);
                    return outcome;
                }
                Ok(frame) if frame["type"] == "event" => session.events.push(frame),
                Ok(frame) if frame["ok"] == true => {
                    outcome.hello = Some(frame["payload"].clone());
                    outcome.session = Some(session);
                    return outcome;
                }
                Ok(frame) => outcome.error = Some(frame["error"].clone()),
            }
        }
    }
}

impl Outcome {
    /// `error.code`.
    pub fn code(&self) -> &str {
        self.field(|error| &error["code"])
    }

    /// `error.details.code`.
    pub fn detail(&self) -> &str {
        self.field(|error| &error["details"]["code"])
    }

    /// `error.details.reason`.
    pub fn reason(&self) -> &str {
        self.field(|error| &error["details"]["reason"])
    }

    /// `error.message`.
    pub fn message(&self) -> &str {
        self.field(|error| &error["message"])
    }

    /// `error.details.requestId`.
    pub fn request_id(&self) -> &str {
        self.field(|error| &error["details"]["requestId"])
    }

    fn field<'a>(&'a self, pick: fn(&'a Value) -> &'a Value) -> &'a str {
        self.error
            .as_ref()
            .and_then(|error| pick(error).as_str())
            .unwrap_or_default()
    }

    /// The device token that `hello-ok` hands out.
    pub fn device_token(&self) -> Option<&str> {
        self.hello.as_ref()?["auth"]["deviceToken"].as_str()
    }

    /// The session; panics with the refusal if there is none.
    pub fn admitted(self) -> Session {
        let why = format!("{:?} {:?} {:?}", self.http, self.error, self.close);
        self.session
            .unwrap_or_else(|| panic!("not admitted: {why}"))
    }

    /// In one line, as in the behaviour tables: `ok rwAap`, `PAIRING_REQUIRED/not-paired`, …
    pub async fn label(&mut self) -> String {
        if let Some(session) = &mut self.session {
            return format!("ok {}", session.letters().await);
        }
        if let Some((status, _)) = &self.http {
            return format!("http {status}");
        }
        let Some(error) = &self.error else {
            let (code, reason) = self.close.clone().unwrap_or_default();
            return format!("close {code} {reason}").trim_end().to_owned();
        };
        match (self.detail(), self.reason()) {
            ("", _) => format!(
                "{}: {}",
                self.code(),
                error["message"].as_str().unwrap_or_default()
            ),
            (detail, "") => detail.to_owned(),
            (detail, reason) => format!("{detail}/{reason}"),
        }
    }

    /// Everything about a refusal but the ids in it.
    pub fn whole(&self) -> String {
        let Some(error) = &self.error else {
            return match &self.hello {
                Some(_) => "ok".to_owned(),
                None => format!("{:?} {:?}", self.http, self.close),
            };
        };
        let mut details = Vec::new();
        for (key, value) in error["details"].as_object().into_iter().flatten() {
            let value = match (key.as_str(), value) {
                ("requestId" | "deviceId", _) => "…".to_owned(),
                (_, Value::String(text)) => text.clone(),
                (_, value) => value.to_string(),
            };
            details.push(format!("{key}={value}"));
        }
        let (code, reason) = self.close.clone().unwrap_or_default();
        let reason = match reason.split_once("(requestId: ") {
            Some((text, _id)) => format!("{text}(requestId: …"),
            None => reason,
        };
        let (kind, message) = (self.code(), self.message());
        let details = if details.is_empty() {
            String::new()
        } else {
            format!(" · {}", details.join(", "))
        };
        let reason = if reason == message {
            "same".to_owned()
        } else {
            reason
        };
        format!("{kind}: {message}{details} · close {code} {reason}")
            .trim_end()
            .to_owned()
    }
}

impl Session {
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

    /// A call's result in one word or the error's message.
    pub async fn verdict(&mut self, method: &str, params: Value) -> String {
        match self.call(method, params).await {
            Ok(_) => "OK".to_owned(),
            Err(error) => error["message"].as_str().unwrap_or_default().to_owned(),
        }
    }

    /// What the session really may do: `r`ead, `w`rite, `A`dmin, `a`pprovals, `p`airing, or `·`.
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
    async fn frame(&mut self) -> Result<Value, (u16, String)> {
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

fn set(object: &mut Value, fields: &[(&str, &Option<String>)]) {
    for (key, value) in fields {
        if let Some(value) = value {
            object[*key] = value.clone().into();
        }
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}
