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
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsStream;

use crate::config::{Gateway, GatewayUrl};
use crate::stream::{Stream, fail_out_of_reach};
use crate::tls::{self, Dialing, Fingerprint, Trust};

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
    /// How long one attempt may take, TLS included.
    pub connect_timeout: Duration,
    /// How TLS is spoken; `None` for a gateway that does not.
    pub tls: Option<Dialing>,
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
    /// It accepts connections, but TLS does not come about.
    #[error(transparent)]
    Tls(#[from] tls::Failure),
}

impl Dialer {
    /// What the configuration says about reaching the gateway.
    ///
    /// # Errors
    ///
    /// When TLS cannot be spoken with a host of that name.
    pub fn new(gateway: &Gateway) -> Result<Self, tls::Failure> {
        let url = &gateway.url;
        let tls = url.tls.then(|| Dialing::new(url, &gateway.trust));
        Ok(Self {
            gateway: url.clone(),
            local_source: gateway.sources.local,
            remote_source: gateway.sources.remote,
            connect_timeout: gateway.connect_timeout,
            tls: tls.transpose()?,
            failures: Failures::default(),
        })
    }

    /// Opens a connection on behalf of a client on this side.
    ///
    /// # Errors
    ///
    /// When the gateway does not accept one in time, or does not show the right certificate.
    pub async fn dial(&self, side: Side) -> Result<Stream, DialError> {
        let dialled = self.in_time(self.open(side, self.tls.as_ref())).await;
        if dialled.is_err() {
            self.failures.count();
        }
        dialled
    }

    /// What to say of a gateway that accepted a connection and then did not go on as a gateway does: `said`, unless it
    /// speaks TLS and the shim does not.
    pub async fn explain(&self, said: String) -> String {
        match self.secret_certificate().await {
            Some(seen) => format!(
                "speaks TLS: give gateway.url as wss://{}, and gateway.fingerprint = \"{seen}\" once you have compared it",
                self.gateway.authority()
            ),
            None => said,
        }
    }

    /// The certificate of a gateway that is spoken to in plaintext and would rather speak TLS.
    async fn secret_certificate(&self) -> Option<Fingerprint> {
        if self.tls.is_some() {
            return None;
        }
        let nothing = Trust::Pinned(Fingerprint::of(&[]));
        let dialing = Dialing::new(&self.gateway, &nothing).ok()?;
        match self.in_time(self.open(Side::Local, Some(&dialing))).await {
            Err(DialError::Tls(tls::Failure::OtherThanPinned { seen, .. })) => Some(seen),
            _ => None,
        }
    }

    async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, DialError>>,
    ) -> Result<T, DialError> {
        timeout(self.connect_timeout, work)
            .await
            .map_err(|_| DialError::Timeout(self.connect_timeout))?
    }

    async fn open(&self, side: Side, tls: Option<&Dialing>) -> Result<Stream, DialError> {
        let source = match side {
            Side::Local => self.local_source,
            Side::Remote => self.remote_source,
        };
        let stream = self.connect(source).await?;
        stream.set_nodelay(true).map_err(DialError::Connect)?;
        Ok(match tls {
            None => stream.into(),
            Some(tls) => TlsStream::from(Box::pin(tls.handshake(stream)).await?).into(),
        })
    }

    async fn connect(&self, source: Option<IpAddr>) -> Result<TcpStream, DialError> {
        let deadline = Instant::now() + self.connect_timeout;
        let targets = self.targets(source).await?;
        let first = first_of(source, targets, deadline).await;
        first.map_err(|error| error.unwrap_or(DialError::Timeout(self.connect_timeout)))
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

/// A connection to the first address that accepts one, or why the last did not; `None` where it swallows everything.
async fn first_of(
    source: Option<IpAddr>,
    targets: Vec<SocketAddr>,
    deadline: Instant,
) -> Result<TcpStream, Option<DialError>> {
    let nowhere = io::ErrorKind::AddrNotAvailable;
    let mut last = Some(DialError::Connect(nowhere.into()));
    for (left, address) in (1..=targets.len() as u32).rev().zip(targets) {
        // One that swallows everything leaves time for the others.
        let share = deadline.saturating_duration_since(Instant::now()) / left;
        match timeout(share, connect_from(source, address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = Some(error),
            Err(_) => last = None,
        }
    }
    Err(last)
}

async fn connect_from(source: Option<IpAddr>, target: SocketAddr) -> Result<TcpStream, DialError> {
    let socket = if target.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    };
    let socket = socket.map_err(DialError::Connect)?;
    // To an address of its own the system connects from the same one.
    if let Some(address) = source.filter(|&source| source != target.ip()) {
        leave_port_to_connect(&socket);
        socket
            .bind(SocketAddr::new(address, 0))
            .map_err(|source| DialError::Source { address, source })?;
    }
    let stream = socket.connect(target).await.map_err(DialError::Connect)?;
    // Of a peer on this machine the system knows that it is gone.
    if !target.ip().is_loopback() {
        fail_out_of_reach(&stream, OUT_OF_REACH).map_err(DialError::Connect)?;
    }
    Ok(stream)
}

/// Lets the system choose the port when it knows the target, too: a port chosen before that is taken from all connections of
/// its address, and after some thousand handshakes in a minute there is none left. Where it cannot, it chooses as ever.
#[cfg(target_os = "linux")]
fn leave_port_to_connect(socket: &TcpSocket) {
    use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};
    let _ = setsockopt(socket, IpBindAddressNoPort, &true);
}

#[cfg(not(target_os = "linux"))]
const fn leave_port_to_connect(_socket: &TcpSocket) {}

/// How long a gateway on another machine may be out of reach before its connections end: as long as a client by default
/// (`limits.vanished_timeout`).
const OUT_OF_REACH: Duration = Duration::from_secs(120);

// Other systems refuse what comes to a full queue.
#[cfg(all(test, target_os = "linux"))]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    /// Somebody who listens and lets nobody in: the system drops what comes once as many wait as may.
    async fn swallower() -> (tokio::net::TcpListener, Vec<TcpStream>) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let listener = socket.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let mut waiting = Vec::new();
        let patience = Duration::from_millis(300);
        while let Ok(stream) = timeout(patience, TcpStream::connect(address)).await {
            waiting.push(stream.unwrap());
        }
        (listener, waiting)
    }

    #[tokio::test]
    async fn an_address_that_swallows_everything_leaves_time_for_the_others() {
        let (swallower, _waiting) = swallower().await;
        let well = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (dead, alive) = (swallower.local_addr().unwrap(), well.local_addr().unwrap());
        let soon = || Instant::now() + Duration::from_secs(2);
        let reached = first_of(None, vec![dead, alive], soon()).await.unwrap();
        assert_eq!(reached.peer_addr().unwrap(), alive);
        let swallowed = first_of(None, vec![dead], soon()).await.unwrap_err();
        assert!(swallowed.is_none(), "{swallowed:?}");
    }
}
