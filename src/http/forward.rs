//! Plain requests: Control UI assets, `/healthz`, `/v1/*`, `/tools/invoke`. Streamed both ways, unread.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::debug;

use super::answered::Answered;
use super::{Body, headers, respond};
use crate::dial::{DialError, Dialer, Side};
use crate::stream::Stream;

/// The gateway's end of a client connection, kept open between its requests: one to one, so that nothing of one
/// client ever waits behind another's. It serves requests for the same gateway only.
#[derive(Debug, Default)]
pub struct Upstream(Mutex<Option<Kept>>);

#[derive(Debug)]
struct Kept {
    dialer: Arc<Dialer>,
    side: Side,
    sender: SendRequest<Body>,
    since: Instant,
}

impl Upstream {
    /// Sends a request on and returns the gateway's response.
    pub async fn forward(
        &self,
        dialer: &Arc<Dialer>,
        side: Side,
        mut request: Request<Incoming>,
    ) -> Response<Body> {
        if request.method() == Method::CONNECT {
            let text = "this is no forward proxy; CONNECT is not served here";
            return respond::error(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", text);
        }
        headers::strip_hop_by_hop(request.headers_mut());
        *request.uri_mut() = origin_form(request.uri());
        match self.send(dialer, side, request).await {
            Ok(response) => response.map(|body| body.boxed()),
            Err(Failure::Client) => {
                let text = "scope-shim: the request's body is not what its head says";
                respond::error(StatusCode::BAD_REQUEST, "bad_request", text)
            }
            Err(Failure::Gateway(reason)) => {
                let text = format!(
                    "scope-shim: the gateway at {} {reason}",
                    dialer.gateway.authority()
                );
                respond::gateway_unreachable(&text)
            }
        }
    }

    async fn send(
        &self,
        dialer: &Arc<Dialer>,
        side: Side,
        request: Request<Incoming>,
    ) -> Result<Response<Incoming>, Failure> {
        let (parts, body) = request.into_parts();
        // A gateway ends a connection after five seconds without a request (Node's `keepAliveTimeout`), and a request that
        // crosses that end gets no answer: what changes nothing may be asked once more (RFC 9112, 9.3.1).
        let again = (parts.method.is_safe() && body.is_end_stream())
            .then(|| Request::from_parts(parts.clone(), respond::full(Bytes::new())));
        let mut request = Request::from_parts(parts, body.boxed());
        let longest = again.is_none().then_some(SURELY_OPEN);
        if let Some(mut sender) = self.take(dialer, side, longest).await {
            match sender.try_send_request(request).await {
                Ok(response) => return Ok(self.keep(dialer, side, sender, response).await),
                // The gateway had closed the idle connection, and nothing of the request has left; or it has, and may
                // leave once more.
                Err(mut error) => match error.take_message().or(again) {
                    Some(unanswered) => request = unanswered,
                    None => return Err(Failure::of(error.error())),
                },
            }
        }
        let mut sender = open(dialer, side)
            .await
            .map_err(|error| Failure::Gateway(format!("does not answer: {error}")))?;
        match sender.send_request(request).await {
            Ok(response) => Ok(self.keep(dialer, side, sender, response).await),
            Err(error) => Err(match Failure::of(&error) {
                Failure::Gateway(reason) => Failure::Gateway(dialer.explain(reason).await),
                Failure::Client => Failure::Client,
            }),
        }
    }

    /// The connection that is kept, where it fits and has not been kept for longer than `longest`.
    async fn take(
        &self,
        dialer: &Arc<Dialer>,
        side: Side,
        longest: Option<Duration>,
    ) -> Option<SendRequest<Body>> {
        let mut kept = self.0.lock().await.take()?;
        let same = kept.side == side && Arc::ptr_eq(&kept.dialer, dialer);
        let fresh = longest.is_none_or(|longest| kept.since.elapsed() < longest);
        (same && fresh && kept.sender.ready().await.is_ok()).then_some(kept.sender)
    }

    async fn keep(
        &self,
        dialer: &Arc<Dialer>,
        side: Side,
        sender: SendRequest<Body>,
        mut response: Response<Incoming>,
    ) -> Response<Incoming> {
        headers::strip_hop_by_hop(response.headers_mut());
        *self.0.lock().await = Some(Kept {
            dialer: Arc::clone(dialer),
            side,
            sender,
            since: Instant::now(),
        });
        response
    }
}

async fn open(dialer: &Dialer, side: Side) -> Result<SendRequest<Body>, DialError> {
    let stream = dialer.dial(side).await?;
    let (sender, connection) = handshake(stream)
        .await
        .map_err(|error| DialError::Connect(std::io::Error::other(error)))?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            debug!("a plain connection to the gateway ended: {error}");
        }
    });
    Ok(sender)
}

async fn handshake(
    stream: Stream,
) -> hyper::Result<(
    SendRequest<Body>,
    http1::Connection<TokioIo<Answered<Stream>>, Body>,
)> {
    http1::Builder::new()
        .preserve_header_case(true)
        .handshake(TokioIo::new(Answered::new(stream)))
        .await
}

/// A request to a proxy may name a whole URL; the gateway wants the path.
pub(super) fn origin_form(uri: &Uri) -> Uri {
    uri.path_and_query()
        .and_then(|path| path.as_str().parse().ok())
        .unwrap_or_else(|| Uri::from_static("/"))
}

/// Why there is no response.
enum Failure {
    /// Its request cannot be read to its end.
    Client,
    /// The gateway, as a clause for "the gateway at …".
    Gateway(String),
}

impl Failure {
    fn of(error: &hyper::Error) -> Self {
        match error.is_user() {
            true => Self::Client,
            false => Self::Gateway(format!("broke off: {error}")),
        }
    }
}

/// For how long nobody ends a connection that is kept. Other requests than those that can be repeated go out on no
/// older one.
const SURELY_OPEN: Duration = Duration::from_secs(1);
