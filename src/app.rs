//! From a configuration to a running shim.

mod assemble;
mod stop;

use std::collections::BTreeMap;
use std::error::Error;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::info;

use crate::admin;
use crate::config::Config;
use crate::listen;
use crate::served::{Door, Served};
use crate::telemetry::Telemetry;

/// What ends a run.
pub type Failure = Box<dyn Error + Send + Sync>;

/// A running shim, as the admin surface sees it.
#[derive(Debug)]
pub struct Shim {
    /// The gateways that it stands before, in the order of the configuration.
    pub served: Vec<Arc<Served>>,
    /// What it knows of its own work.
    pub telemetry: Telemetry,
    /// When it started.
    pub started: Instant,
    /// The sessions under way, those of the past configurations included.
    pub sessions: TaskTracker,
    /// The doors that clients come in by, once they are open.
    pub doors: OnceLock<Vec<Arc<Door>>>,
}

impl Shim {
    /// Where clients of this gateway come in.
    #[must_use]
    pub fn door(&self, served: &Served) -> Option<SocketAddr> {
        let doors = self.doors.get()?;
        let leads_there =
            |door: &&Arc<Door>| door.served.iter().any(|one| std::ptr::eq(&**one, served));
        doors.iter().find(leads_there).map(|door| door.address)
    }
}

/// Listens where the configurations say, one for each gateway, and runs until the process is told to stop.
///
/// # Errors
///
/// When a port cannot be bound or the delegate's key cannot be used.
pub async fn run(configs: Vec<Config>) -> Result<(), Failure> {
    let mut listeners = Vec::new();
    for config in &configs {
        if listeners
            .iter()
            .any(|(address, _)| *address == config.listen)
        {
            continue;
        }
        let listener = listen::bind(config.listen)
            .await
            .map_err(|error| format!("cannot listen on {}: {error}", config.listen))?;
        listeners.push((config.listen, listener));
    }
    serve_all(configs, listeners, stop::signal()).await
}

/// Runs for one gateway on a listener that is already bound, until `shutdown` completes.
///
/// # Errors
///
/// When the delegate's key cannot be used.
pub async fn serve(
    config: Config,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Failure> {
    let listeners = vec![(config.listen, listener)];
    serve_all(vec![config], listeners, shutdown).await
}

async fn serve_all(
    configs: Vec<Config>,
    listeners: Vec<(SocketAddr, TcpListener)>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Failure> {
    let mut shim = Shim {
        served: Vec::new(),
        telemetry: Telemetry::new()?,
        started: Instant::now(),
        sessions: TaskTracker::new(),
        doors: OnceLock::new(),
    };
    shim.telemetry.keep_time();
    let mut behind: BTreeMap<SocketAddr, (Vec<Arc<Served>>, listen::Limits)> = BTreeMap::new();
    for config in &configs {
        let front = assemble::front(config, &shim)?;
        let served = Arc::new(Served::new(
            config.name.clone(),
            config.hosts.clone(),
            front,
        ));
        let (others, _) = behind
            .entry(config.listen)
            .or_insert_with(|| (Vec::new(), limits(config)));
        others.push(Arc::clone(&served));
        shim.served.push(served);
    }
    let shim = Arc::new(shim);
    let stop = CancellationToken::new();
    let (doors, mut open) = (TaskTracker::new(), Vec::new());
    for (address, listener) in listeners {
        let Some((served, limits)) = behind.remove(&address) else {
            continue;
        };
        let door = Arc::new(Door {
            address: listener.local_addr()?,
            served,
        });
        announce(&door);
        open.push(Arc::clone(&door));
        doors.spawn(listen::serve(listener, door, limits, stop.clone()));
    }
    doors.close();
    let _ = shim.doors.set(open);
    let admin = admin::start(&configs, Arc::clone(&shim)).await;
    shutdown.await;
    stop.cancel();
    doors.wait().await;
    stop::drain(&shim.sessions).await;
    drop(admin);
    Ok(())
}

fn announce(door: &Door) {
    for served in &door.served {
        let front = served.front();
        info!(
            gateway = %front.dialer.gateway.authority(),
            store = %front.engine.resolver.store().describe(),
            mode = served.mode.get().as_str(),
            "listening on {}",
            door.address
        );
    }
}

const fn limits(config: &Config) -> listen::Limits {
    listen::Limits {
        connections: config.limits.connections,
        header_bytes: config.limits.header_bytes,
        header_timeout: config.limits.header_timeout,
    }
}
