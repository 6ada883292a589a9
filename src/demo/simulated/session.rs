//! One WebSocket: challenge, handshake, then calls and events until it closes.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::claims::Claims;
use super::frames::{self, Kind};
use super::handshake::Admission;
use super::hello::{Hello, challenge, shutdown};
use super::http::{Request, Wire};
use super::locality::Ingress;
use super::profile::{MESSAGE_LIMIT, Profile};
use super::random;
use super::refusal::Refusal;
use super::schema;
use super::socket::{Ending, Read, Socket};
use super::world::{Outgoing, World, now_ms};
use super::{Connect, Outcome};

/// Runs a gateway session to its end.
pub(super) async fn run(
    world: &Arc<World>,
    wire: Wire,
    peer: SocketAddr,
    request: &Request,
    ingress: Ingress,
    client: IpAddr,
    stop: &CancellationToken,
) -> io::Result<()> {
    let mut socket = Socket::new(wire);
    let mut seen = Connect::new(peer, &request.target, &request.headers);
    let scope_cap = request.header("x-openclaw-scopes");
    let shaken = tokio::select! {
        shaken = handshake(world, &mut socket, &ingress, scope_cap, &mut seen) => shaken,
        () = stop.cancelled() => Ok(Err(Ending::close(1012, "service restart"))),
    };
    world.release(client);
    match shaken {
        Ok(Ok(welcome)) => {
            let admission = &welcome.admission;
            seen.outcome = Outcome::Admitted {
                scopes: admission.scopes.clone(),
                method: admission.method.name().to_owned(),
            };
            world.record(seen);
            converse(world, socket, welcome, stop).await
        }
        Ok(Err(ending)) => {
            if let Some(outcome) = &ending.outcome {
                seen.outcome = outcome.clone();
            }
            world.record(seen);
            socket.end(ending.close).await
        }
        Err(error) => {
            world.record(seen);
            Err(error)
        }
    }
}

struct Welcome {
    admission: Admission,
    claims: Claims,
    request_id: Value,
    connection_id: String,
}

async fn handshake(
    world: &World,
    socket: &mut Socket,
    ingress: &Ingress,
    scope_cap: Option<&str>,
    seen: &mut Connect,
) -> io::Result<Result<Welcome, Ending>> {
    let profile = world.profile();
    let nonce = random::uuid()?;
    socket
        .send_json(&challenge(profile, &nonce, now_ms()))
        .await?;
    let deadline = Instant::now() + profile.handshake_timeout();
    let limit = profile.handshake_message_limit();
    let message = match timeout_at(deadline, socket.message(limit)).await {
        // Every version closes silent sockets with a plain 1000.
        Err(_elapsed) => return Ok(Err(Ending::close(1000, ""))),
        Ok(read) => match read? {
            Read::Message(message) => message,
            Read::Fault(fault) => return Ok(Err(Ending::fault(fault))),
            Read::Closed(message) => return Ok(Err(Ending::gone(message.as_ref()))),
        },
    };
    seen.frame.clone_from(&message.payload);
    seen.raw.clone_from(&message.raw);
    let Ok(frame) = serde_json::from_slice::<Value>(&message.payload) else {
        return Ok(Err(Ending::close(1000, "")));
    };
    if !is_request(&frame) {
        return Ok(Err(Ending::close(1008, "invalid request frame")));
    }
    let request_id = frame["id"].clone();
    let params = frame.get("params").cloned().unwrap_or_default();
    let refusal = if frame["method"] != "connect" {
        Some(Refusal::invalid(
            "invalid handshake: first request must be connect",
        ))
    } else {
        schema::fault(profile, &params)
            .map(|fault| Refusal::invalid(format!("invalid connect params: {fault}")))
    };
    if let Some(refusal) = refusal {
        return socket.refuse(&request_id, refusal).await.map(Err);
    }
    if let Some(early) = early_frame(profile, socket, limit).await? {
        let refusal = Refusal::invalid("invalid handshake: first request must be connect");
        return socket.refuse(&early["id"], refusal).await.map(Err);
    }
    let claims = Claims::from_params(&params);
    let verdict = world.decide(&claims, ingress, &nonce, scope_cap)?;
    world.publish(&verdict.events);
    match verdict.outcome {
        Err(refusal) => socket.refuse(&request_id, refusal).await.map(Err),
        Ok(admission) => {
            let connection_id = random::uuid()?;
            Ok(Ok(Welcome {
                admission,
                claims,
                request_id,
                connection_id,
            }))
        }
    }
}

/// Up to 2026.7.1 every message is handled on its own, so a second one that comes while the first
/// is being thought about finds no session yet and kills the connection. Later versions queue it.
async fn early_frame(
    profile: Profile,
    socket: &mut Socket,
    limit: usize,
) -> io::Result<Option<Value>> {
    if profile == Profile::Latest {
        return Ok(None);
    }
    let Ok(read) = timeout(THINKING, socket.message(limit)).await else {
        return Ok(None);
    };
    match read? {
        Read::Message(message) => {
            let frame = serde_json::from_slice(&message.payload).unwrap_or_default();
            Ok(is_request(&frame).then_some(frame))
        }
        Read::Fault(_) => Ok(Some(Value::Null)),
        Read::Closed(_) => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// `{type: "req", id, method, params?}` and nothing else.
fn is_request(frame: &Value) -> bool {
    let named = |key: &str| frame[key].as_str().is_some_and(|value| !value.is_empty());
    let known = ["type", "id", "method", "params"];
    frame
        .as_object()
        .is_some_and(|map| map.keys().all(|key| known.contains(&key.as_str())))
        && frame["type"] == "req"
        && named("id")
        && named("method")
}

/// After `hello-ok`: calls, answers, events.
async fn converse(
    world: &Arc<World>,
    mut socket: Socket,
    welcome: Welcome,
    stop: &CancellationToken,
) -> io::Result<()> {
    let id = NEXT_SESSION.fetch_add(1, Ordering::Relaxed);
    let (outbox, mut inbox) = mpsc::unbounded_channel();
    world.join(id, welcome.admission.clone(), &welcome.claims, outbox);
    let hello = Hello {
        profile: world.profile(),
        announced: world.policy.announced.as_deref(),
        admission: &welcome.admission,
        connection_id: &welcome.connection_id,
        presence: &world.presence(),
        state_dir: &world.state_dir.to_string_lossy(),
        auth_mode: world.policy.mode.name(),
        now_ms: now_ms(),
    }
    .payload();
    let answer = json!({ "type": "res", "id": welcome.request_id, "ok": true, "payload": hello });
    let ended = match socket.send_json(&answer).await {
        Ok(()) => talk(world, &mut socket, &welcome.admission, &mut inbox, stop).await,
        Err(error) => Err(error),
    };
    world.leave(id);
    socket.end(ended?).await
}

async fn talk(
    world: &Arc<World>,
    socket: &mut Socket,
    session: &Admission,
    inbox: &mut mpsc::UnboundedReceiver<Outgoing>,
    stop: &CancellationToken,
) -> io::Result<Option<(u16, String)>> {
    loop {
        let read = tokio::select! {
            biased;
            () = stop.cancelled() => {
                socket.send_json(&shutdown(world.profile())).await?;
                return Ok(Some((1012, "service restart".to_owned())));
            }
            Some(outgoing) = inbox.recv() => {
                match outgoing {
                    Outgoing::Frame(bytes) => socket.wire.stream.write_all(&bytes).await?,
                    Outgoing::Close(code, reason) => return Ok(Some((code, reason))),
                }
                continue;
            }
            read = socket.message(MESSAGE_LIMIT) => read?,
        };
        let message = match read {
            Read::Message(message) => message,
            Read::Fault(fault) => return Ok(Ending::fault(fault).close),
            Read::Closed(message) => return Ok(Ending::gone(message.as_ref()).close),
        };
        let Ok(frame) = serde_json::from_slice::<Value>(&message.payload) else {
            continue;
        };
        if !is_request(&frame) {
            let error = json!({ "code": "INVALID_REQUEST", "message": "invalid request frame" });
            let id = frame["id"].as_str().unwrap_or("invalid");
            socket
                .send_json(&json!({ "type": "res", "id": id, "ok": false, "error": error }))
                .await?;
            continue;
        }
        let method = frame["method"].as_str().unwrap_or_default();
        let reply = world.call(session, method, &frame["params"])?;
        let id = &frame["id"];
        let answer = match reply.result {
            Ok(payload) => json!({ "type": "res", "id": id, "ok": true, "payload": payload }),
            Err(error) => json!({ "type": "res", "id": id, "ok": false, "error": error }),
        };
        socket.send_json(&answer).await?;
        world.publish(&reply.events);
        if let Some((device_id, role)) = &reply.disconnect {
            world.disconnect(device_id, role.as_deref());
        }
    }
}

/// A socket without a protocol: what comes in goes out again.
pub(super) async fn echo(wire: Wire, stop: &CancellationToken) -> io::Result<()> {
    let mut socket = Socket::new(wire);
    loop {
        let read = tokio::select! {
            read = socket.message(MESSAGE_LIMIT) => read?,
            () = stop.cancelled() => return socket.end(Some((1012, "service restart".to_owned()))).await,
        };
        let close = match read {
            Read::Message(message) => {
                let opcode = if message.kind == Kind::Binary { 2 } else { 1 };
                socket
                    .wire
                    .stream
                    .write_all(&frames::encode(opcode, &message.payload))
                    .await?;
                continue;
            }
            Read::Fault(fault) => Ending::fault(fault).close,
            Read::Closed(message) => Ending::gone(message.as_ref()).close,
        };
        return socket.end(close).await;
    }
}

static NEXT_SESSION: AtomicU64 = AtomicU64::new(1);

/// About as long as a real gateway reads files before it answers a `connect`.
const THINKING: Duration = Duration::from_millis(3);
