//! Upgraded connections to the gateway, opened by the client's own request as often as it takes.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
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
    /// It agreed, and this is the socket.
    Switched(Response<()>, Wire),
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
            Opened::Switched(_, wire) => Ok(wire),
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
        let (mut sender, mut connection) = http1::Builder::new()
            .preserve_header_case(true)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(broke_off)?;
        // Both in this task, so that none has to be made, and woken, for a connection that is handed on at once.
        let mut answer = pin!(sender.send_request(self.request.clone()));
        let mut over = false;
        let answered = poll_fn(|cx| {
            over = over || connection.poll_without_shutdown(cx).is_ready();
            answer.as_mut().poll(cx)
        });
        let response = match answered.await {
            Ok(response) => response,
            Err(error) => return Err(self.dialer.explain(broke_off(error)).await),
        };
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            if !over {
                tokio::spawn(connection);
            }
            return Ok(Opened::Answered(response));
        }
        if !over {
            let handed_over = poll_fn(|cx| connection.poll_without_shutdown(cx));
            handed_over.await.map_err(broke_off)?;
        }
        let parts = connection.into_parts();
        let wire = Wire {
            stream: parts.io.into_inner(),
            unread: BytesMut::from(parts.read_buf.as_ref()),
        };
        let mut response = response.map(|_| ());
        response.extensions_mut().remove::<OnUpgrade>();
        Ok(Opened::Switched(response, wire))
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
