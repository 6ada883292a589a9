//! Connections to the gateway, from the source address that says where the client is.
//!
//! The recipe that works on every version from 2026.2.17 to 2026.9.6: local clients from 127.0.0.1, which the gateway
//! does not list in `trustedProxies`, without any forwarded header; remote clients from a second loopback address that
//! it does list, with `X-Forwarded-For`.

mod redial;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use thiserror::Error;
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::time::timeout;

use crate::config::GatewayUrl;
use crate::stream::Stream;

pub use redial::{Opened, Redial, wire};

/// Where the client of a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// On this machine.
    Local,
    /// Anywhere else, or not to be told.
    Remote,
}

/// How the gateway is reached.
#[derive(Clone, Debug)]
pub struct Dialer {
    /// The gateway's address.
    pub gateway: GatewayUrl,
    /// The source address for local clients; `None` leaves it to the system.
    pub local_source: Option<IpAddr>,
    /// The source address for remote clients; `None` leaves it to the system.
    pub remote_source: Option<IpAddr>,
    /// How long one attempt may take.
    pub connect_timeout: Duration,
    /// How often the gateway was not reached.
    pub failures: Failures,
}

/// How often something failed. Cheap to clone; clones count together.
#[derive(Clone, Debug, Default)]
pub struct Failures(Arc<AtomicU64>);

impl Failures {
    /// So far.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Why the gateway was not reached. Its text is one clause, for "the gateway at … does not answer: …".
#[derive(Debug, Error)]
pub enum DialError {
    /// The name has no address.
    #[error("its name does not resolve: {0}")]
    Resolve(io::Error),
    /// Nothing accepts connections there.
    #[error("{0}")]
    Connect(io::Error),
    /// The source address is not one of this machine's.
    #[error("{address} is not an address of this machine: {source}")]
    Source {
        /// The source address.
        address: IpAddr,
        /// What the system said.
        source: io::Error,
    },
    /// No answer in time.
    #[error("no connection within {0:?}")]
    Timeout(Duration),
}

impl Dialer {
    /// Opens a connection on behalf of a client on this side.
    ///
    /// # Errors
    ///
    /// When the gateway does not accept one in time.
    pub async fn dial(&self, side: Side) -> Result<Stream, DialError> {
        let dialled = self.try_dial(side).await;
        if dialled.is_err() {
            self.failures.count();
        }
        dialled
    }

    async fn try_dial(&self, side: Side) -> Result<Stream, DialError> {
        let source = match side {
            Side::Local => self.local_source,
            Side::Remote => self.remote_source,
        };
        let stream = timeout(self.connect_timeout, self.connect(source))
            .await
            .map_err(|_| DialError::Timeout(self.connect_timeout))??;
        stream.set_nodelay(true).map_err(DialError::Connect)?;
        Ok(stream.into())
    }

    async fn connect(&self, source: Option<IpAddr>) -> Result<TcpStream, DialError> {
        let mut last = DialError::Connect(io::ErrorKind::AddrNotAvailable.into());
        for address in self.targets(source).await? {
            match connect_from(source, address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// The gateway's addresses; with a source, those of its family. A gateway bound to loopback listens on both
    /// 127.0.0.1 and ::1, on every version.
    async fn targets(&self, source: Option<IpAddr>) -> Result<Vec<SocketAddr>, DialError> {
        let resolved: Vec<SocketAddr> =
            lookup_host((self.gateway.host.as_str(), self.gateway.port))
                .await
                .map_err(DialError::Resolve)?
                .collect();
        let Some(source) = source else {
            return Ok(resolved);
        };
        let mut targets: Vec<SocketAddr> = resolved
            .iter()
            .copied()
            .filter(|target| target.is_ipv4() == source.is_ipv4())
            .collect();
        if targets.is_empty() && resolved.iter().all(|target| target.ip().is_loopback()) {
            let twin: IpAddr = if source.is_ipv4() {
                std::net::Ipv4Addr::LOCALHOST.into()
            } else {
                std::net::Ipv6Addr::LOCALHOST.into()
            };
            targets.push(SocketAddr::new(twin, self.gateway.port));
        }
        Ok(targets)
    }
}

async fn connect_from(source: Option<IpAddr>, target: SocketAddr) -> Result<TcpStream, DialError> {
    let socket = if target.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    };
    let socket = socket.map_err(DialError::Connect)?;
    if let Some(address) = source {
        socket
            .bind(SocketAddr::new(address, 0))
            .map_err(|source| DialError::Source { address, source })?;
    }
    socket.connect(target).await.map_err(DialError::Connect)
}
