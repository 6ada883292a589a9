//! Upgrades: the same request to the gateway, and two plain sockets where it agrees.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderName, HeaderValue, ORIGIN, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, TRANSFER_ENCODING, UPGRADE,
};
use hyper::upgrade::OnUpgrade;
use hyper::{HeaderMap, Request, Response, StatusCode};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::OwnedSemaphorePermit;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tracing::debug;

use super::forward::origin_form;
use super::headers::{self, Attribution};
use super::{Body, Front, respond};
use crate::dial::{Opened, Redial, wire};
use crate::engine::Visit;
use crate::identity::Circumstances;
use crate::relay::was_stopped;
use crate::session::Session;
use crate::ws::Close;
use crate::ws::close::TRY_AGAIN_LATER;

/// Whether a request asks for another protocol on its connection.
pub(super) fn is_upgrade(headers: &HeaderMap) -> bool {
    headers.contains_key(UPGRADE)
        && headers
            .get_all(CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|token| token.trim().eq_ignore_ascii_case("upgrade"))
}

/// Where the session comes from, read before the headers are cleansed.
pub(super) fn visit(attribution: Attribution, headers: &HeaderMap) -> Visit {
    Visit {
        circumstances: Circumstances {
            direct_local: attribution == Attribution::Local && headers::has_loopback_host(headers),
            has_origin: headers.contains_key(ORIGIN),
        },
        cap: headers::scope_cap(headers),
        origin: text(headers, &ORIGIN),
        host: text(headers, &HOST),
    }
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

/// Serves an upgrade request.
pub(super) async fn serve(
    front: &Arc<Front>,
    attribution: Attribution,
    visit: Visit,
    mut request: Request<Incoming>,
) -> Response<Body> {
    let client = hyper::upgrade::on(&mut request);
    let redial = Redial {
        dialer: Arc::clone(&front.dialer),
        side: attribution.side(),
        request: for_gateway(request),
        patience: front.limits.timeout,
    };
    let Ok(place) = place(front, attribution).await else {
        let text = "scope-shim: too many handshakes of this address are waiting for the gateway; try again";
        return turn_away(front, client, &redial.request, text);
    };
    match redial.request_upgrade().await {
        Err(reason) => {
            let text = format!(
                "scope-shim: the gateway at {} {reason}",
                front.dialer.gateway.authority()
            );
            turn_away(front, client, &redial.request, &text)
        }
        Ok(Opened::Answered(mut response)) => {
            headers::strip_hop_by_hop(response.headers_mut());
            response.map(|body| body.boxed())
        }
        Ok(Opened::Switched(response, gateway)) => {
            let session = Session {
                engine: Arc::clone(&front.engine),
                visit,
                client_address: attribution.address(),
                redial,
                limits: front.limits,
                idle: front.idle,
            };
            front.sessions.spawn(async move {
                let ends = async { Ok::<_, hyper::Error>((client.await?, gateway.await?)) };
                let (client, gateway) = match ends.await {
                    Ok((client, gateway)) => (wire(client), wire(gateway)),
                    Err(error) => return debug!("an upgrade came to nothing: {error}"),
                };
                let (Some(client), Some(gateway)) = (client, gateway) else {
                    return debug!("an upgraded connection is no plain socket");
                };
                match session.run(client, gateway, place).await {
                    Ok(stats) => debug!(?stats, "session over"),
                    Err(error) if was_stopped(&error) => debug!("session stopped"),
                    Err(error) => debug!("session broke off: {error}"),
                }
            });
            let (parts, _) = response.into_parts();
            Response::from_parts(parts, respond::full(Bytes::new()))
        }
    }
}

/// A place among the unfinished handshakes, where the gateway counts them; `Err` if there is none in time.
async fn place(
    front: &Front,
    attribution: Attribution,
) -> Result<Option<OwnedSemaphorePermit>, ()> {
    if !front.engine.control.standing().profile.limits_handshakes() {
        return Ok(None);
    }
    front
        .pacing
        .place(attribution.address())
        .await
        .map(Some)
        .ok_or(())
}

/// The request as the gateway gets it: without a body, and without compression. No gateway version negotiates it, and
/// compressed frames could not be read.
fn for_gateway(request: Request<Incoming>) -> Request<Empty<Bytes>> {
    let (mut parts, _) = request.into_parts();
    parts.uri = origin_form(&parts.uri);
    parts.headers.remove(SEC_WEBSOCKET_EXTENSIONS);
    parts.headers.remove(CONTENT_LENGTH);
    parts.headers.remove(TRANSFER_ENCODING);
    Request::from_parts(parts, Empty::new())
}

/// Tells a client why there is no gateway for it. A WebSocket client shows its user the reason of a close frame, but
/// not the body of a refused upgrade; so the upgrade is accepted and closed with 1013 at once.
fn turn_away(
    front: &Front,
    client: OnUpgrade,
    request: &Request<Empty<Bytes>>,
    text: &str,
) -> Response<Body> {
    let Some(key) = websocket_key(request.headers()) else {
        return respond::gateway_unreachable(text);
    };
    let frame = Close::new(TRY_AGAIN_LATER, text).server_frame();
    front.sessions.spawn(async move {
        if let Some(mut wire) = client.await.ok().and_then(wire) {
            let _ = wire.stream.write_all(&frame).await;
            let _ = wire.stream.shutdown().await;
        }
    });
    let mut response = Response::new(respond::full(Bytes::new()));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_str(&derive_accept_key(key.as_bytes())) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}

fn websocket_key(headers: &HeaderMap) -> Option<String> {
    let websocket = headers
        .get(UPGRADE)?
        .to_str()
        .ok()?
        .eq_ignore_ascii_case("websocket");
    let key = headers.get(SEC_WEBSOCKET_KEY)?.to_str().ok()?;
    websocket.then(|| key.to_owned())
}
