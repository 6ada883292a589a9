//! Upgraded connections to the gateway, opened by the client's own request as often as it takes.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use super::{Dialer, Side};
use crate::relay::Wire;
use crate::stream::Stream;

/// How a session gets another connection to the gateway: by the same request.
#[derive(Clone, Debug)]
pub struct Redial {
    /// How the gateway is reached.
    pub dialer: Arc<Dialer>,
    /// On whose behalf.
    pub side: Side,
    /// The request, fit for the gateway.
    pub request: Request<Empty<Bytes>>,
    /// How long the gateway may take to answer it.
    pub patience: Duration,
    /// The connection that a test has ready instead.
    #[cfg(test)]
    pub(crate) rehearsed: Option<Arc<std::sync::Mutex<Option<Wire>>>>,
}

/// What the gateway made of an upgrade request.
#[derive(Debug)]
pub enum Opened {
    /// It agreed.
    Switched(Response<Incoming>, OnUpgrade),
    /// It answered something else.
    Answered(Response<Incoming>),
}

impl Redial {
    /// Opens another session with the gateway by the same request.
    ///
    /// # Errors
    ///
    /// When the gateway cannot be reached or does not agree.
    pub async fn open(&self) -> io::Result<Wire> {
        #[cfg(test)]
        if let Some(rehearsed) = &self.rehearsed {
            let ready = rehearsed.lock().ok().and_then(|mut wire| wire.take());
            return ready.ok_or_else(|| io::ErrorKind::ConnectionRefused.into());
        }
        match self.request_upgrade().await.map_err(io::Error::other)? {
            Opened::Answered(response) => {
                Err(io::Error::other(format!("HTTP {}", response.status())))
            }
            Opened::Switched(_, upgraded) => {
                let upgraded = upgraded.await.map_err(io::Error::other)?;
                wire(upgraded).ok_or_else(|| io::Error::other("no plain socket"))
            }
        }
    }

    /// Sends the request.
    ///
    /// # Errors
    ///
    /// When the gateway cannot be reached, breaks off or does not answer, as a clause for "the gateway at …".
    pub async fn request_upgrade(&self) -> Result<Opened, String> {
        let late = |_| Err(format!("does not answer within {:?}", self.patience));
        timeout(self.patience, self.ask())
            .await
            .unwrap_or_else(late)
    }

    async fn ask(&self) -> Result<Opened, String> {
        let stream = self
            .dialer
            .dial(self.side)
            .await
            .map_err(|error| format!("does not answer: {error}"))?;
        let (mut sender, connection) = http1::Builder::new()
            .preserve_header_case(true)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(broke_off)?;
        tokio::spawn(connection.with_upgrades());
        let mut response = match sender.send_request(self.request.clone()).await {
            Ok(response) => response,
            Err(error) => return Err(self.dialer.explain(broke_off(error)).await),
        };
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(Opened::Answered(response));
        }
        let upgrade = hyper::upgrade::on(&mut response);
        Ok(Opened::Switched(response, upgrade))
    }
}

fn broke_off(error: hyper::Error) -> String {
    format!("broke off: {error}")
}

/// The socket under an upgraded connection, with what was read from it too early.
#[must_use]
pub fn wire(upgraded: Upgraded) -> Option<Wire> {
    let parts = upgraded.downcast::<TokioIo<Stream>>().ok()?;
    Some(Wire {
        stream: parts.io.into_inner(),
        unread: BytesMut::from(parts.read_buf.as_ref()),
    })
}
