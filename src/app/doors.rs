//! Where clients come in: listened at first, opened when there is something to lead them to.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::{Failure, Sockets};
use crate::config::Config;
use crate::listen;
use crate::served::Door;
use crate::workers::Workers;

/// Where a door will open.
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

/// A door that is still closed: clients wait in the system's queue.
pub(super) struct Closed {
    pub(super) listener: Listener,
    pub(super) door: Arc<Door>,
    pub(super) limits: listen::Limits,
}

impl Closed {
    /// Lets clients in, until `stop`.
    pub(super) fn open(
        self,
        tasks: &TaskTracker,
        workers: &Arc<Workers>,
        stop: &CancellationToken,
    ) {
        let Self {
            listener,
            door,
            limits,
        } = self;
        if let Some(tls) = &door.tls {
            let follow = Arc::clone(tls).follow();
            tasks.spawn(stop.clone().run_until_cancelled_owned(follow));
        }
        announce(&door);
        let Listener { listener, twin, .. } = listener;
        let workers = Arc::clone(workers);
        tasks.spawn(listen::serve(
            listener,
            twin,
            door,
            limits,
            workers,
            stop.clone(),
        ));
    }
}

fn announce(door: &Door) {
    for served in &door.served {
        let front = served.front();
        let _entered = front.span.enter();
        info!(
            gateway = %front.dialer.gateway.authority(),
            store = %front.engine.resolver.store().describe(),
            mode = served.mode.get().as_str(),
            "listening on {}{}",
            door.address,
            if door.tls.is_some() { ", TLS" } else { "" }
        );
    }
}

/// How many clients a door takes, and how patient it is.
pub(super) const fn limits(config: &Config) -> listen::Limits {
    listen::Limits {
        connections: config.limits.connections,
        header_bytes: config.limits.header_bytes,
        header_timeout: config.limits.header_timeout,
    }
}
