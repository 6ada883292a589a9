//! The HTTP side of a client connection: upgrades become sessions, everything else is forwarded as it is.

mod forbidden;
pub mod forward;
pub mod headers;
pub mod pacing;
pub mod respond;
pub mod upgrade;

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use hyper::body::Incoming;
use hyper::{Request, Response};
use tokio_util::task::TaskTracker;

use crate::dial::Dialer;
use crate::engine::Engine;
use crate::handshake::drive::Limits;
use crate::served::Door;
use forward::Upstream;
use headers::Trust;
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
    /// The sessions under way; an upgraded connection is out of hyper's sight.
    pub sessions: TaskTracker,
}

/// One client connection.
#[derive(Debug)]
pub struct Connection {
    /// Where it came in.
    pub door: Arc<Door>,
    /// The client, or the proxy before it.
    pub peer: IpAddr,
    /// The connection to the gateway that carries its plain requests.
    pub upstream: Upstream,
}

impl Connection {
    /// A connection from this peer.
    #[must_use]
    pub fn new(door: Arc<Door>, peer: IpAddr) -> Self {
        Self {
            door,
            peer,
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
        mut request: Request<Incoming>,
    ) -> Result<Response<Body>, Infallible> {
        let Some(front) = self.door.leads(&request) else {
            return Ok(respond::misdirected());
        };
        let attribution = front.trust.attribute(self.peer, request.headers());
        let visit = upgrade::visit(attribution, request.headers());
        front
            .trust
            .cleanse(self.peer, attribution, request.headers_mut());
        let response = if upgrade::is_upgrade(request.headers()) {
            upgrade::serve(&front, attribution, visit, request).await
        } else {
            let response = self
                .upstream
                .forward(&front.dialer, attribution.side(), request)
                .await;
            front.engine.telemetry.request(response.status());
            response
        };
        Ok(forbidden::explain(&front, self.peer, attribution, response).await)
    }
}
