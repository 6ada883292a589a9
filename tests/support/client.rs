//! A client for one handshake, every detail of which can be turned: the right way and the wrong ways.

use std::net::{IpAddr, SocketAddr};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};

use super::device::{Claim, Payload, TestDevice};
pub use super::outcome::Outcome;
pub use super::session::Session;

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
    /// Sent before anything else, as a proxy does.
    pub ahead: Vec<u8>,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub client_id: String,
    pub client_mode: String,
    pub version: String,
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

impl Connect {
    pub fn to(addr: SocketAddr) -> Self {
        Self {
            addr,
            source: None,
            ahead: Vec::new(),
            path: "/".to_owned(),
            headers: Vec::new(),
            client_id: "test".to_owned(),
            client_mode: "test".to_owned(),
            version: "1.0.0".to_owned(),
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

    pub fn ahead(mut self, bytes: &[u8]) -> Self {
        self.ahead = bytes.to_vec();
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
        let mut stream = self.tcp().await;
        stream.write_all(&self.ahead).await.unwrap();
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
            "version": self.version,
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
        let mut session = Session::new(socket);
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
        let early = self.early.as_ref().map(Value::to_string);
        session.send_together([Some(text), early]).await;
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
