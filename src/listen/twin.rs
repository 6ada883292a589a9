//! The other loopback address: `localhost` may mean `::1` as well, and a gateway on loopback listens on both (every
//! version). Without it, a browser that tries `::1` first would miss the shim wherever it stands in the gateway's place.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::app::Sockets;

/// Where else a shim that listens on `address` listens, if it can.
#[must_use]
pub fn of(address: SocketAddr) -> Option<SocketAddr> {
    (address.ip() == Ipv4Addr::LOCALHOST)
        .then(|| SocketAddr::new(Ipv6Addr::LOCALHOST.into(), address.port()))
}

/// The listener beside this one: one that was handed over, else bound here. `None` where none is needed, or somebody has
/// the port, which is told: clients that take that address for `localhost` go there.
pub async fn listener(listener: &TcpListener, sockets: &Sockets) -> Option<TcpListener> {
    let address = of(listener.local_addr().ok()?)?;
    match sockets.bind(address).await {
        Ok(twin) => Some(twin),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            warn!(
                "{address} is taken by another program: clients that try it first for `localhost` do not come here"
            );
            None
        }
        Err(error) => {
            debug!("not listening on {address}: {error}");
            None
        }
    }
}

/// Binds it. One that is taken may come free: the shim that is being replaced by this one has it until it stops.
pub(crate) async fn bind(address: SocketAddr, stop: &CancellationToken) -> Option<TcpListener> {
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return Some(listener),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => {
                debug!("not listening on {address}: {error}");
                return None;
            }
        }
        tokio::select! {
            () = stop.cancelled() => return None,
            () = tokio::time::sleep(BETWEEN_TRIES) => {}
        }
    }
}

const BETWEEN_TRIES: Duration = Duration::from_secs(1);

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;

    #[test]
    fn only_the_loopback_address_that_localhost_means_has_a_twin() {
        let twin = |address: &str| of(address.parse().unwrap()).map(|twin| twin.to_string());
        assert_eq!(twin("127.0.0.1:18780").as_deref(), Some("[::1]:18780"));
        for alone in [
            "127.0.0.2:1",
            "0.0.0.0:1",
            "[::1]:1",
            "[::]:1",
            "192.0.2.1:1",
        ] {
            assert_eq!(twin(alone), None, "{alone}");
        }
    }
}
