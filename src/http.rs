//! The HTTP side of a client connection: upgrades become sessions, everything else is forwarded as it is.

mod answered;
mod forbidden;
pub mod forward;
pub mod headers;
pub mod pacing;
pub mod rebound;
pub mod respond;
pub mod upgrade;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use hyper::body::Incoming;
use hyper::header::HOST;
use hyper::{Request, Response};
use tracing::{Instrument as _, Span};

use crate::app::Circle;
use crate::dial::Dialer;
use crate::engine::Engine;
use crate::handshake::drive::Limits;
use crate::served::Door;
use forward::Upstream;
use headers::{Attribution, Peer, Trust};
use pacing::Pacing;

/// A response body, whoever made it.
pub type Body = BoxBody<Bytes, hyper::Error>;

/// What every client connection shares.
#[derive(Debug)]
pub struct Front {
    /// What decides on handshakes.
    pub engine: Arc<Engine>,
    /// How the gateway is reached.
    pub dialer: Arc<Dialer>,
    /// Which proxies are believed.
    pub trust: Trust,
    /// The gateway's budget for unfinished handshakes.
    pub pacing: Arc<Pacing>,
    /// What a handshake may take.
    pub limits: Limits,
    /// How long a session may be silent.
    pub idle: Option<Duration>,
    /// Names the gateway on the log's lines, where there are several.
    pub span: Span,
    /// The sessions under way; an upgraded connection is out of hyper's sight.
    pub sessions: Circle,
}

/// One client connection.
#[derive(Debug)]
pub struct Connection {
    /// Where it came in.
    pub door: Arc<Door>,
    /// The client, or the proxy before it.
    pub peer: Peer,
    /// The address that the client connected to.
    pub asked: SocketAddr,
    /// Whether it is under TLS.
    pub tls: bool,
    /// The host that the client named when TLS began, in lower case.
    pub sni: Option<String>,
    /// Whether it found no place among the others, and is only to be told so.
    pub full: bool,
    /// The connection to the gateway that carries its plain requests.
    pub upstream: Upstream,
}

impl Connection {
    /// A connection from this peer.
    #[must_use]
    pub fn new(door: Arc<Door>, peer: Peer) -> Self {
        Self {
            asked: door.address,
            door,
            peer,
            tls: false,
            sni: None,
            full: false,
            upstream: Upstream::default(),
        }
    }

    /// Answers one request.
    ///
    /// # Errors
    ///
    /// None: what goes wrong becomes a response.
    pub async fn serve(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Infallible> {
        let Some(served) = self.door.leads(&request, self.sni.as_deref()) else {
            return Ok(respond::misdirected());
        };
        if request.headers().get_all(HOST).iter().nth(1).is_some() {
            return Ok(respond::two_hosts());
        }
        let front = served.front();
        if self.full {
            return Ok(upgrade::no_place(&front, request));
        }
        let span = front.span.clone();
        let attribution = front.trust.attribute(self.peer, request.headers());
        // A name that the operator gave leads to this machine with reason, and who has a certificate for a name owns it.
        let attribution = match self.tls || self.door.names(&served) {
            true => attribution,
            false => rebound::doubt(attribution, self.peer, request.headers(), self.asked),
        };
        let answer = self.through(&front, attribution, request);
        Ok(answer.instrument(span).await)
    }

    /// Answers a request for the gateway behind this front.
    async fn through(
        &self,
        front: &Arc<Front>,
        attribution: Attribution,
        mut request: Request<Incoming>,
    ) -> Response<Body> {
        let user = front.trust.user(self.peer, attribution, request.headers());
        let visit = upgrade::visit(attribution, user, request.headers());
        front
            .trust
            .cleanse(self.peer, attribution, request.headers_mut());
        if self.tls {
            headers::tell_of_tls(self.peer.address, attribution, request.headers_mut());
        }
        let response = if upgrade::is_upgrade(request.headers()) {
            Box::pin(upgrade::serve(front, attribution, visit, request)).await
        } else {
            let forwarded = self
                .upstream
                .forward(&front.dialer, attribution.side(), request);
            let response = Box::pin(forwarded).await;
            front.engine.telemetry.request(response.status());
            response
        };
        forbidden::explain(front, self.peer.address, attribution, response).await
    }
}
