//! The doors that clients come in by: opened, led to the gateways behind them, and closed.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::Failure;
use super::fleet::Fleet;
use super::sockets::Sockets;
use crate::config::Config;
use crate::listen::{self, Limits};
use crate::served::{Door, Way};
use crate::tls::Listening;
use crate::workers::Workers;

/// Where a door opens.
pub(super) struct Listener {
    /// The address, as the configuration says it.
    pub(super) configured: SocketAddr,
    pub(super) listener: TcpListener,
    /// The same port of the other loopback address, where it could be had at once.
    pub(super) twin: Option<TcpListener>,
}

impl Listener {
    pub(super) const fn new(configured: SocketAddr, listener: TcpListener) -> Self {
        Self {
            configured,
            listener,
            twin: None,
        }
    }
}

/// Listens where the configurations say, on sockets that were handed over where there are any.
pub(super) async fn listen_at(
    configs: &[Config],
    sockets: &Sockets,
) -> Result<Vec<Listener>, Failure> {
    let handed_over = sockets.any();
    let mut listeners: Vec<Listener> = Vec::new();
    for config in configs {
        let address = config.listen;
        if listeners.iter().any(|known| known.configured == address) {
            continue;
        }
        let before = sockets.unclaimed().len();
        let listener = sockets
            .bind(address)
            .await
            .map_err(|error| listen::unavailable(config, &error).to_string())?;
        if handed_over && sockets.unclaimed().len() == before {
            warn!(
                "no socket for {address} was handed over; bound it, so that a restart refuses connections for a moment"
            );
        }
        listeners.push(Listener::new(address, listener));
    }
    for listener in &mut listeners {
        listener.twin = listen::twin(&listener.listener, sockets).await;
    }
    for address in sockets.unclaimed() {
        warn!(
            "a socket for {address} was handed over, but nothing is configured to listen there; it is closed"
        );
    }
    sockets.close_unclaimed();
    Ok(listeners)
}

/// A door that nobody has come in by yet.
pub(super) struct Opening {
    pub(super) door: Arc<Door>,
    listener: TcpListener,
    twin: Option<TcpListener>,
}

impl Opening {
    /// Makes a door of what is listened on; `None` where nothing is configured to listen there.
    ///
    /// # Errors
    ///
    /// When the certificate and the key are no pair.
    pub(super) fn prepare(
        listener: Listener,
        configs: &[Config],
        stop: &CancellationToken,
    ) -> Result<Option<Self>, Failure> {
        let Listener {
            configured,
            listener,
            twin,
        } = listener;
        let Some(config) = first_at(configs, configured) else {
            return Ok(None);
        };
        let tls = config.tls.files.clone().map(Listening::open).transpose()?;
        let address = listener.local_addr()?;
        let tls = tls.map(Arc::new);
        let door = Door::new(configured, address, tls, limits(config), stop);
        Ok(Some(Self {
            door: Arc::new(door),
            listener,
            twin,
        }))
    }

    /// Lets clients in.
    pub(super) fn open(self, clients: &TaskTracker, workers: &Arc<Workers>) {
        let Self {
            door,
            listener,
            twin,
        } = self;
        announce(&door);
        if let Some(tls) = &door.tls {
            let closed = door.closed().clone();
            clients.spawn(closed.run_until_cancelled_owned(Arc::clone(tls).follow()));
        }
        let workers = Arc::clone(workers);
        clients.spawn(listen::serve(listener, twin, door, workers));
    }
}

/// Has every door lead to the gateways that are configured to be behind it, from the next request on.
pub(super) fn lead(fleet: &Fleet) {
    for door in &fleet.doors {
        let behind = fleet
            .each()
            .filter(|(_, config)| config.listen == door.configured);
        let ways = behind.map(|(served, config)| Way {
            hosts: config.hosts.clone(),
            served: Arc::clone(served),
        });
        door.lead(ways.collect());
        if let Some(config) = first_at(&fleet.configs, door.configured) {
            door.limit(limits(config));
        }
    }
}

/// Closes a door for good, where another is not: `left` are those that stay open.
pub(super) fn close(door: &Door, left: &[Arc<Door>], sockets: &Sockets) {
    if !door.closed().is_cancelled() {
        info!(
            "no longer listening on {}; its live sessions go on",
            door.address
        );
    }
    door.close();
    release(door.address, left, sockets);
}

/// Lets go of the sockets at an address and at the other loopback address beside it, but for those of these doors.
pub(super) fn release(address: SocketAddr, left: &[Arc<Door>], sockets: &Sockets) {
    let addresses = [Some(address), listen::twin_of(address)];
    for address in addresses.into_iter().flatten() {
        if !left.iter().any(|door| door.address == address) {
            sockets.release(address);
        }
    }
}

/// The first gateway with this address. What holds for a whole door is the same for all behind it.
pub(super) fn first_at(configs: &[Config], address: SocketAddr) -> Option<&Config> {
    configs.iter().find(|config| config.listen == address)
}

fn announce(door: &Door) {
    for way in door.ways().iter() {
        let front = way.served.front();
        let _entered = front.span.enter();
        info!(
            gateway = %front.dialer.gateway.authority(),
            store = %front.engine.resolver.store().describe(),
            mode = way.served.mode.get().as_str(),
            "listening on {}{}",
            door.address,
            if door.tls.is_some() { ", TLS" } else { "" }
        );
    }
}

const fn limits(config: &Config) -> Limits {
    Limits {
        connections: config.limits.connections,
        header_bytes: config.limits.header_bytes,
        header_timeout: config.limits.header_timeout,
        vanished_timeout: config.limits.vanished_timeout,
    }
}
