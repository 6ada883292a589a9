//! One TCP connection: plain requests until one of them becomes a WebSocket.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::auth::Mode;
use super::http::{self, Request, Wire};
use super::profile::Profile;
use super::session;
use super::world::World;
use super::{Connect, Outcome};

/// Serves a connection until either side has had enough.
pub(super) async fn serve(
    world: Arc<World>,
    stream: TcpStream,
    peer: SocketAddr,
    stop: CancellationToken,
) {
    let _nodelay = stream.set_nodelay(true);
    let mut wire = Wire::new(stream);
    loop {
        let request = tokio::select! {
            request = wire.request() => request,
            () = stop.cancelled() => return,
        };
        // Broken clients are dropped, as any server does.
        let Ok(Some(request)) = request else { return };
        if request.is_upgrade() {
            let _closed = upgrade(&world, wire, peer, &request, &stop).await;
            return;
        }
        let answered = tokio::select! {
            answered = answer(&world, &mut wire, peer, &request) => answered,
            () = stop.cancelled() => return,
        };
        let close = request
            .header("connection")
            .is_some_and(|value| value.eq_ignore_ascii_case("close"));
        if answered.is_err() || close {
            return;
        }
    }
}

async fn upgrade(
    world: &Arc<World>,
    mut wire: Wire,
    peer: SocketAddr,
    request: &Request,
    stop: &CancellationToken,
) -> io::Result<()> {
    let profile = world.profile();
    let ingress = world.ingress(peer, &request.headers);
    let refused = |status| {
        let mut connect = Connect::new(peer, &request.target, &request.headers);
        connect.outcome = Outcome::HttpRefused(status);
        world.record(connect);
    };
    if ingress.unattributable {
        refused(403);
        let kind = "application/json; charset=utf-8";
        return wire
            .refuse("403 Forbidden", kind, &http::attribution_required())
            .await;
    }
    // The canvas socket: open up to 2026.3.13, behind the bearer token up to 2026.7, gone in 2026.8.
    let canvas = request.path() == "/__openclaw__/ws";
    if canvas && profile == Profile::Pending {
        refused(401);
        return wire
            .refuse("401 Unauthorized", "text/plain; charset=utf-8", "")
            .await;
    }
    if canvas && profile < Profile::Pending {
        wire.stream.write_all(&switching(request)).await?;
        return session::echo(wire, stop).await;
    }
    let client = ingress.client.unwrap_or_else(|| peer.ip());
    if !world.acquire(client) {
        refused(503);
        let text = "Too many unauthenticated sockets";
        return wire
            .refuse("503 Service Unavailable", "text/plain; charset=utf-8", text)
            .await;
    }
    let switched = wire.stream.write_all(&switching(request)).await;
    if switched.is_err() {
        world.release(client);
        return switched;
    }
    session::run(world, wire, peer, request, ingress, client, stop).await
}

/// The 101 answer. The first subprotocol offered is taken, extensions never are.
fn switching(request: &Request) -> Vec<u8> {
    let key = request.header("sec-websocket-key").unwrap_or_default();
    let accept = digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{key}{GUID}").as_bytes());
    let mut answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n",
        STANDARD.encode(accept.as_ref())
    );
    if let Some(protocol) = request
        .header("sec-websocket-protocol")
        .and_then(|list| list.split(',').next())
    {
        answer.push_str(&format!("Sec-WebSocket-Protocol: {}\r\n", protocol.trim()));
    }
    answer.push_str("\r\n");
    answer.into_bytes()
}

async fn answer(
    world: &World,
    wire: &mut Wire,
    peer: SocketAddr,
    request: &Request,
) -> io::Result<()> {
    let body = wire.body(request).await?;
    let path = request.path();
    // 2026.2.19 has no health page: the Control UI answers every path.
    let health = path == "/healthz" && world.profile() != Profile::Literal;
    if health && request.method == "GET" {
        return wire
            .respond_json("200 OK", &json!({ "ok": true, "status": "live" }))
            .await;
    }
    if world.ingress(peer, &request.headers).unattributable {
        let refusal = http::attribution_required();
        return wire
            .respond(
                "403 Forbidden",
                "application/json; charset=utf-8",
                refusal.as_bytes(),
            )
            .await;
    }
    match (request.method.as_str(), path) {
        ("POST", "/tools/invoke") => invoke(world, wire, request).await,
        ("POST", "/v1/echo") => {
            let kind = request
                .header("content-type")
                .unwrap_or("application/octet-stream")
                .to_owned();
            wire.respond("200 OK", &kind, &body).await
        }
        ("GET", "/__openclaw/control-ui-config.json") if world.profile() != Profile::Literal => {
            page_settings(world, wire, request).await
        }
        ("GET", "/v1/headers") => wire.respond_json("200 OK", &json!(request.headers)).await,
        ("GET", "/v1/stream") => stream(world, wire, request.target.ends_with("?gated")).await,
        ("GET" | "HEAD", _) => {
            wire.respond("200 OK", "text/html; charset=utf-8", PAGE.as_bytes())
                .await
        }
        _ => {
            wire.respond(
                "405 Method Not Allowed",
                "text/plain; charset=utf-8",
                b"Method Not Allowed",
            )
            .await
        }
    }
}

/// The settings of the Control UI. From 2026.5.7 they want the shared secret.
async fn page_settings(world: &World, wire: &mut Wire, request: &Request) -> io::Result<()> {
    let closed = world.profile() == Profile::Latest && request.header("authorization").is_none();
    let (status, body) = if closed {
        let error = json!({ "message": "Unauthorized", "type": "unauthorized" });
        ("401 Unauthorized", json!({ "error": error }))
    } else {
        let version = world.profile().version();
        (
            "200 OK",
            json!({ "basePath": "", "serverVersion": version }),
        )
    };
    wire.respond_json(status, &body).await
}

async fn invoke(world: &World, wire: &mut Wire, request: &Request) -> io::Result<()> {
    let bearer = request
        .header("authorization")
        .and_then(|value| value.strip_prefix("Bearer "));
    let allowed = match &world.policy.mode {
        Mode::None => true,
        Mode::Token(secret) | Mode::Password(secret) => bearer == Some(secret),
    };
    if !allowed {
        let error = json!({ "error": { "message": "Unauthorized", "type": "unauthorized" } });
        return wire.respond_json("401 Unauthorized", &error).await;
    }
    wire.respond_json(
        "200 OK",
        &json!({ "ok": true, "result": { "content": [] } }),
    )
    .await
}

/// Five events, each its own chunk; gated ones after the first wait for a permit.
async fn stream(world: &World, wire: &mut Wire, gated: bool) -> io::Result<()> {
    wire.start_chunks().await?;
    for number in 1..=5 {
        if gated && number > 1 {
            let Ok(permit) = world.chunks.acquire().await else {
                return Ok(());
            };
            permit.forget();
        }
        wire.chunk(&format!("data: {number}\n\n")).await?;
    }
    wire.stream.write_all(b"0\r\n\r\n").await
}

const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const PAGE: &str = "<!doctype html>\n<html lang=\"en\"><head><title>OpenClaw Control</title></head>\
                    <body>simulated gateway</body></html>\n";
