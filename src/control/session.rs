//! One control session: challenge, connect, then calls and events until it ends.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::sync::{Notify, broadcast, mpsc, oneshot, watch};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::handshake::client::Request as UpgradeRequest;
use tokio_tungstenite::tungstenite::http::header::ORIGIN;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::{Call, CallError, Settings, retirement, wanted_scopes};
use crate::clock;
use crate::delegate::PLATFORM;
use crate::device::DeviceId;
use crate::dial::Side;
use crate::handshake::message::{Answer, Connect, Refusal, challenge};
use crate::profile::{Evidence, Version};
use crate::rewrite;
use crate::stream::Stream;

/// An open session.
pub(super) struct Session {
    socket: WebSocketStream<Stream>,
    evidence: Evidence,
    next_id: u64,
}

/// Why no session came about.
pub(super) enum OpenError {
    /// The gateway refused the handshake.
    Refused(Refusal),
    /// It did not get that far.
    Failed(String),
}

/// Why a session ended.
pub(super) enum Ended {
    /// Nobody holds a handle any more.
    HandlesGone,
    /// The gateway removed the delegate.
    DelegateRemoved,
    /// The delegate is to be taken out of use.
    Retired,
    /// The connection is gone.
    Lost(String),
}

/// Who the session says it is.
#[derive(Clone, Copy)]
struct Client {
    id: &'static str,
    mode: &'static str,
}

/// What the delegate pairs as: a name that no real client uses, so that gateways from 2026.8.2, which drop an older
/// silently paired device of the same client, mode and name, never drop this one for another.
const DELEGATE: Client = Client {
    id: "test",
    mode: "test",
};

/// What gateways from 2026.3.13 let in on loopback with the shared secret, paired or not.
const BACKEND: Client = Client {
    id: "gateway-client",
    mode: "backend",
};

/// A page of the gateway's own.
const PAGE: Client = Client {
    id: "openclaw-control-ui",
    mode: "webchat",
};

impl Session {
    pub(super) async fn open(settings: &Settings, scopes: &[String]) -> Result<Self, OpenError> {
        timeout(OPEN_TIMEOUT, Self::handshake(settings, DELEGATE, scopes))
            .await
            .unwrap_or_else(|_| {
                Err(OpenError::Failed(format!(
                    "no handshake within {OPEN_TIMEOUT:?}"
                )))
            })
    }

    async fn handshake(
        settings: &Settings,
        client: Client,
        scopes: &[String],
    ) -> Result<Self, OpenError> {
        let failed = |error: WsError| OpenError::Failed(describe(&error));
        let side = match settings.user {
            Some(_) => Side::Remote,
            None => Side::Local,
        };
        let stream = settings
            .dialer
            .dial(side)
            .await
            .map_err(|error| OpenError::Failed(error.to_string()))?;
        let upgrade = upgrade(settings, client).map_err(failed)?;
        let (mut socket, _) = match client_async(upgrade, stream).await {
            Ok(opened) => opened,
            Err(error) => {
                let said = settings.dialer.explain(describe(&error)).await;
                return Err(OpenError::Failed(said));
            }
        };
        let nonce = loop {
            let payload = next_payload(&mut socket).await.map_err(never_opened)?;
            if let Some(challenge) = challenge(&payload) {
                break challenge.nonce;
            }
        };
        let request = connect_request(settings, client, scopes, &nonce);
        socket.send(Message::text(request)).await.map_err(failed)?;
        loop {
            let payload = next_payload(&mut socket).await.map_err(never_opened)?;
            match Answer::parse(&payload, CONNECT_ID) {
                None => {}
                Some(Answer::Refused { refusal, .. }) => return Err(OpenError::Refused(refusal)),
                Some(Answer::Hello(message)) => {
                    return Ok(Self {
                        socket,
                        evidence: evidence(&message),
                        next_id: 1,
                    });
                }
            }
        }
    }

    pub(super) const fn evidence(&self) -> &Evidence {
        &self.evidence
    }

    /// Serves calls and events until the session ends.
    pub(super) async fn serve(
        mut self,
        calls: &mut mpsc::Receiver<Call>,
        lost: &Notify,
        pairing: &watch::Sender<u64>,
        resolved: &broadcast::Sender<String>,
        retired: &mut watch::Receiver<bool>,
    ) -> Ended {
        let mut waiting: HashMap<String, oneshot::Sender<Result<Value, CallError>>> =
            HashMap::new();
        loop {
            tokio::select! {
                call = calls.recv() => {
                    let Some(call) = call else {
                        self.close().await;
                        return Ended::HandlesGone;
                    };
                    if let Err(error) = self.send(call, &mut waiting).await {
                        return Ended::Lost(describe(&error));
                    }
                }
                () = retirement(retired) => {
                    self.close().await;
                    return Ended::Retired;
                }
                () = lost.notified() => return Ended::DelegateRemoved,
                message = timeout(SILENCE, self.socket.next()) => match message {
                    Err(_) => return Ended::Lost(format!("the gateway was silent for {SILENCE:?}")),
                    Ok(None) => return Ended::Lost("the gateway closed the connection".to_owned()),
                    Ok(Some(Err(error))) => return Ended::Lost(describe(&error)),
                    Ok(Some(Ok(Message::Close(frame)))) => return closed(frame),
                    Ok(Some(Ok(message))) => received(&message.into_data(), &mut waiting, pairing, resolved),
                },
            }
        }
    }

    async fn send(
        &mut self,
        call: Call,
        waiting: &mut HashMap<String, oneshot::Sender<Result<Value, CallError>>>,
    ) -> Result<(), WsError> {
        // What somebody has given up on must not happen later.
        if call.answer.is_closed() {
            return Ok(());
        }
        let id = format!("shim-{}", self.next_id);
        self.next_id += 1;
        let request =
            json!({"type": "req", "id": id, "method": call.method, "params": call.params});
        waiting.retain(|_, answer| !answer.is_closed());
        waiting.insert(id, call.answer);
        self.socket.send(Message::text(request.to_string())).await
    }

    /// Removes a device from the gateway.
    pub(super) async fn remove(&mut self, device: &DeviceId) -> bool {
        let params = json!({"deviceId": device.as_str()});
        let removal = self.call_once("device.pair.remove", params);
        matches!(timeout(OPEN_TIMEOUT, removal).await, Ok(Ok(_)))
    }

    /// Ends the session in order.
    pub(super) async fn close(mut self) {
        let _ = self.socket.close(None).await;
    }

    /// One call on a session that serves nobody else.
    pub(super) async fn call_once(
        &mut self,
        method: &str,
        params: Value,
    ) -> Result<Value, CallError> {
        let request = json!({"type": "req", "id": method, "method": method, "params": params});
        self.socket
            .send(Message::text(request.to_string()))
            .await
            .map_err(|_| CallError::NotConnected)?;
        loop {
            let payload = next_payload(&mut self.socket)
                .await
                .map_err(|ended| match ended {
                    Ended::DelegateRemoved => CallError::DelegateRemoved,
                    _ => CallError::NotConnected,
                })?;
            if let Some(answer) = Answer::parse(&payload, method) {
                return result(answer);
            }
        }
    }
}

/// The upgrade request; where the gateway takes users from a proxy, with what a proxy says.
fn upgrade(settings: &Settings, client: Client) -> Result<UpgradeRequest, WsError> {
    let url = format!("ws://{}/", settings.dialer.gateway.authority());
    let mut request = url.into_client_request()?;
    if let Some(user) = &settings.user {
        request.headers_mut().extend(user.headers.clone());
        if client.id == PAGE.id
            && let Some(origin) = &user.origin
        {
            request.headers_mut().insert(ORIGIN, origin.clone());
        }
    }
    Ok(request)
}

/// Approves the delegate's pairing request where the gateway lets the shim do so; the ground in words.
pub(super) async fn approve_itself(settings: &Settings, request_id: &str) -> Option<&'static str> {
    if settings.user.is_none() {
        let approved = approve_as(BACKEND, settings, request_id).await;
        return approved.then_some("with the shared secret");
    }
    // Up to 2026.4.21 the page of a user whom a proxy names needs no pairing (2026.2.26, 2026.3.24 and 2026.4.21).
    let approved = approve_as(PAGE, settings, request_id).await;
    approved.then_some("as the user that gateway.user names")
}

/// As the gateway's own backend, which needs no pairing on loopback with the
/// shared secret (2026.2.26, and from 2026.3.13). It frees a delegate whose first request looked remote: such a
/// request blocks the silent approval for five minutes. The record counts as approved by its owner from then on.
async fn approve_as(client: Client, settings: &Settings, request_id: &str) -> bool {
    let attempt = async {
        let mut session = open_as(client, settings).await?;
        let params = json!({"requestId": request_id});
        session.call_once("device.pair.approve", params).await.ok()
    };
    matches!(timeout(OPEN_TIMEOUT, attempt).await, Ok(Some(_)))
}

/// A session that the gateway lets in without pairing it: as its own backend, or as the page of the shim's user.
pub(super) async fn open_unpaired(settings: &Settings) -> Option<Session> {
    let client = if settings.user.is_some() {
        PAGE
    } else {
        BACKEND
    };
    open_as(client, settings).await
}

async fn open_as(client: Client, settings: &Settings) -> Option<Session> {
    let scopes = wanted_scopes();
    let handshake = Session::handshake(settings, client, &scopes);
    timeout(OPEN_TIMEOUT, handshake).await.ok()?.ok()
}

fn connect_request(settings: &Settings, client: Client, scopes: &[String], nonce: &str) -> String {
    let mut message = json!({
        "type": "req", "id": CONNECT_ID, "method": "connect",
        "params": {
            "minProtocol": 3, "maxProtocol": 4,
            "client": {
                "id": client.id, "displayName": display_name(settings), "version": env!("CARGO_PKG_VERSION"),
                "platform": PLATFORM, "mode": client.mode,
            },
            "caps": [], "role": "operator", "scopes": scopes,
        },
    });
    if let (Some(secret), None) = (settings.secret.load().as_deref(), &settings.user) {
        message["params"]["auth"] = rewrite::auth_json(secret);
    }
    let text = message.to_string();
    match Connect::parse(text.as_bytes()) {
        Ok(connect) => {
            let device = settings
                .delegate
                .prove(&connect.claims, nonce, clock::now_ms());
            message["params"]["device"] = rewrite::device_json(&device);
            message.to_string()
        }
        Err(_) => text,
    }
}

/// A name of its own: gateways from 2026.8.2 drop an older silently paired device of the same client, mode and name, and
/// a second shim before the same gateway pairs as the same client.
fn display_name(settings: &Settings) -> String {
    format!("{NAME} {}", settings.delegate.device_id().short())
}

fn evidence(hello: &Value) -> Evidence {
    let version = |path: &str| {
        let said = hello.pointer(path).and_then(Value::as_str)?;
        Version::parse(said).map(|_| said.to_owned())
    };
    Evidence {
        // Gateways up to 2026.2.26 call themselves "dev", but name their version once they have found a newer one.
        version: version("/payload/server/version")
            .or_else(|| version("/payload/snapshot/updateAvailable/currentVersion")),
        has_server_host: hello.pointer("/payload/server/host").is_some(),
    }
}

async fn next_payload(socket: &mut WebSocketStream<Stream>) -> Result<Vec<u8>, Ended> {
    loop {
        match socket.next().await {
            None => return Err(closed(None)),
            Some(Err(error)) => return Err(Ended::Lost(describe(&error))),
            Some(Ok(Message::Close(frame))) => return Err(closed(frame)),
            Some(Ok(Message::Text(text))) => return Ok(text.as_bytes().to_vec()),
            Some(Ok(Message::Binary(bytes))) => return Ok(bytes.to_vec()),
            Some(Ok(_)) => {}
        }
    }
}

fn received(
    payload: &[u8],
    waiting: &mut HashMap<String, oneshot::Sender<Result<Value, CallError>>>,
    pairing: &watch::Sender<u64>,
    resolved: &broadcast::Sender<String>,
) {
    let Ok(message) = serde_json::from_slice::<Value>(payload) else {
        return;
    };
    if let Some(event) = message.get("event").and_then(Value::as_str) {
        if event.starts_with("device.pair.") {
            pairing.send_modify(|count| *count += 1);
            if let Some(request_id) = message
                .pointer("/payload/requestId")
                .and_then(Value::as_str)
                && event == "device.pair.resolved"
            {
                // Nobody may be listening.
                let _ = resolved.send(request_id.to_owned());
            }
        }
        return;
    }
    let Some(id) = message.get("id").and_then(Value::as_str) else {
        return;
    };
    if let Some(answer) = waiting.remove(id)
        && let Some(parsed) = Answer::parse(payload, id)
    {
        let _ = answer.send(result(parsed));
    }
}

fn result(answer: Answer) -> Result<Value, CallError> {
    match answer {
        Answer::Hello(mut message) => Ok(message
            .get_mut("payload")
            .map(Value::take)
            .unwrap_or_default()),
        Answer::Refused { refusal, .. } => Err(CallError::Refused(refusal)),
    }
}

fn closed(frame: Option<tokio_tungstenite::tungstenite::protocol::CloseFrame>) -> Ended {
    match frame {
        Some(frame) if u16::from(frame.code) == DEVICE_REMOVED => Ended::DelegateRemoved,
        Some(frame) => Ended::Lost(format!(
            "the gateway closed with {}: {}",
            frame.code, frame.reason
        )),
        None => Ended::Lost("the gateway closed the connection".to_owned()),
    }
}

fn never_opened(ended: Ended) -> OpenError {
    OpenError::Failed(match ended {
        Ended::Lost(why) => why,
        _ => "the gateway has removed the shim's own device".to_owned(),
    })
}

fn describe(error: &WsError) -> String {
    match error {
        WsError::Http(response) => format!("the gateway answered HTTP {}", response.status()),
        // The library takes an answer in very many very small pieces for an attack.
        WsError::AttackAttempt => {
            "the gateway's answer to the upgrade came in too many small pieces".to_owned()
        }
        other => other.to_string(),
    }
}

const CONNECT_ID: &str = "shim-connect";
/// What the display name of every delegate begins with.
pub(super) const NAME: &str = "scope-shim";
/// What gateways from 2026.4.21 close the sessions of a removed device with.
const DEVICE_REMOVED: u16 = 4001;
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// Gateways send a `tick` event every 30 s.
const SILENCE: Duration = Duration::from_secs(95);
