//! Upgrades: the same request to the gateway, and two plain sockets where it agrees.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures_util::FutureExt as _;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderName, HeaderValue, ORIGIN, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, TRANSFER_ENCODING,
    UPGRADE,
};
use hyper::upgrade::OnUpgrade;
use hyper::{HeaderMap, Request, Response, StatusCode};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::OwnedSemaphorePermit;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tracing::{Instrument as _, Span, debug};

use super::forward::origin_form;
use super::headers::{self, Attribution};
use super::{Body, Front, respond};
use crate::app::Circle;
use crate::config::Mode;
use crate::dial::{Opened, Redial, wire};
use crate::engine::Visit;
use crate::identity::Circumstances;
use crate::relay::{RelayStats, was_stopped};
use crate::session::{Lasting, Session};
use crate::ws::Close;
use crate::ws::close::TRY_AGAIN_LATER;

/// Whether a request asks for another protocol on its connection.
pub(crate) fn is_upgrade(headers: &HeaderMap) -> bool {
    headers.contains_key(UPGRADE)
        && headers
            .get_all(CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|token| token.trim().eq_ignore_ascii_case("upgrade"))
}

/// Where the session comes from, read before the headers are cleansed.
pub(super) fn visit(attribution: Attribution, user: Option<String>, headers: &HeaderMap) -> Visit {
    Visit {
        circumstances: Circumstances {
            direct_local: attribution == Attribution::Local && headers::has_loopback_host(headers),
            has_origin: headers.contains_key(ORIGIN),
        },
        user,
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
        #[cfg(test)]
        rehearsed: None,
    };
    let session = Session {
        engine: Arc::clone(&front.engine),
        visit,
        client_address: attribution.address(),
        pacing: Arc::clone(&front.pacing),
        limits: front.limits,
        idle: front.idle,
        decisive: front.trust.decisive_headers().map(str::to_owned).collect(),
        trace: OnceLock::new(),
        before: OnceLock::new(),
        attempt: OnceLock::new(),
        row: front.engine.telemetry.enter(attribution.address()),
        ending: front.sessions.ending(),
        redial,
    };
    if let Some(place) = deferral(front, &session).await
        && let Some(response) = switching(&session.redial.request)
    {
        let begun = Begun::of(front);
        let deferred = in_its_place(async move {
            if let Some(client) = client.await.ok().and_then(wire) {
                begun.goes_on(session.begin_deferred(client, place).await);
            }
        });
        front
            .sessions
            .spawn(deferred.instrument(front.span.clone()));
        return response;
    }
    let redial = &session.redial;
    let place = match session.place().await {
        Ok(place) => place,
        Err(none) => return turn_away(front, client, &redial.request, &none.to_string()),
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
            let begun = Begun::of(front);
            let session = in_its_place(async move {
                let client = match client.await {
                    Ok(client) => wire(client),
                    Err(error) => return debug!("an upgrade came to nothing: {error}"),
                };
                let Some(client) = client else {
                    return debug!("an upgraded connection is no plain socket");
                };
                begun.goes_on(session.begin(client, gateway, place).await);
            });
            front.sessions.spawn(session.instrument(front.span.clone()));
            response.map(|()| respond::full(Bytes::new()))
        }
    }
}

/// A handshake takes some kilobytes, which would be moved half a dozen times before its task has begun.
fn in_its_place<F: Future<Output = ()>>(handshake: F) -> Pin<Box<F>> {
    Box::pin(handshake)
}

/// Where a session that has begun goes on.
struct Begun {
    sessions: Circle,
    span: Span,
}

impl Begun {
    fn of(front: &Front) -> Self {
        Self {
            sessions: front.sessions.clone(),
            span: front.span.clone(),
        }
    }

    /// In a task of its own, so that all that its handshake took is given back.
    fn goes_on(self, begun: io::Result<Option<Lasting>>) {
        match begun {
            Ok(Some(lasting)) => {
                let session = lasting.run().map(over);
                self.sessions.spawn(session.instrument(self.span));
            }
            Ok(None) => over(Ok(RelayStats::default())),
            Err(error) => over(Err(error)),
        }
    }
}

fn over(ended: io::Result<RelayStats>) {
    match ended {
        Ok(stats) => debug!(?stats, "session over"),
        Err(error) if was_stopped(&error) => debug!("session stopped"),
        Err(error) => debug!("session broke off: {error}"),
    }
}

/// A place among the clients that are answered without the gateway, where this is most likely one of those.
///
/// Only while there is a delegate: without one, a client that is no repeat could not be let in any more.
async fn deferral(front: &Front, session: &Session) -> Option<OwnedSemaphorePermit> {
    let engine = &front.engine;
    let able = engine.mode.get() == Mode::On
        && websocket_key(session.redial.request.headers()).is_some()
        && engine.control.standing().delegate_scopes.is_some();
    if !able || engine.breaker.is_quiet() || !engine.breaker.expects(&session.trace()).await {
        return None;
    }
    engine.breaker.place()
}

/// The request as the gateway gets it: without a body, and without compression. No gateway version negotiates it, and
/// compressed frames could not be read.
fn for_gateway(request: Request<Incoming>) -> Request<Empty<Bytes>> {
    let (mut parts, _) = request.into_parts();
    parts.uri = origin_form(&parts.uri);
    parts.headers.remove(SEC_WEBSOCKET_EXTENSIONS);
    parts.headers.remove(CONTENT_LENGTH);
    parts.headers.remove(TRANSFER_ENCODING);
    headers::nominate_nothing(&mut parts.headers);
    Request::from_parts(parts, Empty::new())
}

/// Tells a client that there is no place for it.
pub(super) fn no_place(front: &Front, mut request: Request<Incoming>) -> Response<Body> {
    let client = hyper::upgrade::on(&mut request);
    let told = match is_upgrade(request.headers()) {
        true => tell_why(front, client, &for_gateway(request), NO_PLACE),
        false => None,
    };
    told.unwrap_or_else(|| respond::no_place(NO_PLACE))
}

/// Tells a client why there is no gateway for it.
fn turn_away(
    front: &Front,
    client: OnUpgrade,
    request: &Request<Empty<Bytes>>,
    text: &str,
) -> Response<Body> {
    tell_why(front, client, request, text).unwrap_or_else(|| respond::gateway_unreachable(text))
}

/// A WebSocket client shows its user the reason of a close frame, but not the body of a refused upgrade; so the upgrade is
/// accepted and closed with 1013 at once. `None` where no WebSocket is asked for.
fn tell_why(
    front: &Front,
    client: OnUpgrade,
    request: &Request<Empty<Bytes>>,
    text: &str,
) -> Option<Response<Body>> {
    let response = switching(request)?;
    let frame = Close::new(TRY_AGAIN_LATER, text).server_frame();
    front.sessions.spawn(async move {
        if let Some(mut wire) = client.await.ok().and_then(wire) {
            let _ = wire.send(&frame).await;
            let _ = wire.stream.shutdown().await;
        }
    });
    Some(response)
}

/// The shim's own agreement to a WebSocket, as the gateway gives it: the first subprotocol offered is taken (every
/// version). `None` where no WebSocket is asked for.
fn switching(request: &Request<Empty<Bytes>>) -> Option<Response<Body>> {
    let key = websocket_key(request.headers())?;
    let mut response = Response::new(respond::full(Bytes::new()));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_str(&derive_accept_key(key.as_bytes())) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    let offered = text(request.headers(), &SEC_WEBSOCKET_PROTOCOL);
    let first = offered.iter().flat_map(|offered| offered.split(',')).next();
    if let Some(Ok(first)) = first.map(|first| HeaderValue::from_str(first.trim())) {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, first);
    }
    Some(response)
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

const NO_PLACE: &str =
    "scope-shim: every place for clients is taken; end some, or raise limits.connections";
