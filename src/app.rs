//! From a configuration to a running shim, and to its end.

mod assemble;
mod doors;
mod fleet;
mod reload;
pub mod saved;
mod sessions;
mod signals;
mod sockets;
mod stop;
mod succession;
mod systemd;

use std::error::Error;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use crate::admin;
use crate::config::Config;
use crate::engine::ModeSwitch;
use crate::listen;
use crate::telemetry::Telemetry;

use assemble::Parts;
use doors::{Listener, Opening};
pub use fleet::Fleet;
pub use reload::{Change, Effect, History, Loader, Refused, Reloaded, Reloads, Waiting};
use saved::Source;
pub use sessions::{Circle, Sessions};
use signals::{Signal, Signals};
pub use sockets::Sockets;
pub use succession::Start;
use succession::Wishes;

/// What ends a run.
pub type Failure = Box<dyn Error + Send + Sync>;

/// A running shim, as the admin surface sees it.
#[derive(Debug)]
pub struct Shim {
    /// The gateways that it stands before, and the doors to them.
    fleet: ArcSwap<Fleet>,
    /// What goes on at the doors.
    clients: TaskTracker,
    sockets: Arc<Sockets>,
    /// What it knows of its own work.
    pub telemetry: Telemetry,
    /// When it started.
    pub started: Instant,
    /// The sessions under way, those of the past configurations included.
    pub sessions: Sessions,
    /// The configuration that holds, and how it is read again.
    pub reloads: Reloads,
    wishes: Wishes,
    /// Cancelled when nobody may come in any more.
    stop: CancellationToken,
}

impl Shim {
    /// The gateways that it stands before, and the doors to them, as they are now.
    #[must_use]
    pub fn fleet(&self) -> Arc<Fleet> {
        self.fleet.load_full()
    }

    /// The configurations that hold now, one for each gateway.
    #[must_use]
    pub fn configs(&self) -> Arc<Vec<Config>> {
        Arc::clone(&self.fleet.load().configs)
    }

    /// Whether it has stopped listening, and waits for its sessions to end.
    #[must_use]
    pub fn draining(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Lets a new version take over; returns the id of its process. This one keeps the sessions that it has.
    ///
    /// # Errors
    ///
    /// Why this one goes on.
    pub async fn upgrade(&self) -> Result<u32, String> {
        if self.draining() {
            return Err("this shim is about to end".to_owned());
        }
        self.wishes.ask().await
    }
}

/// A shim that serves.
struct Running {
    shim: Arc<Shim>,
    doors: TaskTracker,
    admin: admin::Admin,
    /// Cancelled when the admin surface is no longer this process's to serve.
    resign: CancellationToken,
}

/// Listens where the configurations say and runs until the process is told to stop, or another has taken its place and
/// the last session has ended.
///
/// # Errors
///
/// When a port cannot be bound or the delegate's key cannot be used.
pub async fn run(configs: Vec<Config>, again: Loader, mut start: Start) -> Result<(), Failure> {
    let outcome = run_as(configs, again, &mut start).await;
    if let Err(error) = &outcome {
        start.failed(&error.to_string());
    }
    outcome
}

async fn run_as(configs: Vec<Config>, again: Loader, start: &mut Start) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let listeners = listen_at(&configs, &start.sockets).await?;
    let (wishes, mut wished) = Wishes::new();
    let sockets = Arc::clone(&start.sockets);
    let mut running = open(
        configs,
        again,
        listeners,
        sockets,
        wishes,
        start.takes_over(),
    )
    .await?;
    if start.takes_over() {
        running.settle().await;
    }
    start.serves();
    systemd::ready();
    tokio::spawn(systemd::watchdog());
    let handed_over = loop {
        let asked = tokio::select! {
            signal = signals.next() => match signal {
                Signal::Stop => break false,
                Signal::Reload => {
                    let shim = Arc::clone(&running.shim);
                    // What comes of it is in the log, and whatever it waits for, the shim can be stopped.
                    tokio::spawn(async move { shim.reload().await });
                    continue;
                }
                Signal::Upgrade => None,
            },
            asked = wished.recv() => asked,
        };
        let outcome = running.hand_over(start).await;
        let done = outcome.is_ok();
        if let Some(asked) = asked {
            let _ = asked.send(outcome);
        }
        if done {
            break true;
        }
    };
    start.sockets.close();
    if handed_over {
        running.lock_up();
        running.resign.cancel();
        let sessions = running.shim.sessions.clone();
        info!(
            sessions = sessions.len(),
            "the live sessions stay with this process until they end"
        );
        let ended = tokio::select! {
            () = running.idle() => true,
            () = signals.stop() => false,
        };
        if ended {
            running.answered().await;
            info!("the last session has ended; the new process goes on alone");
            return Ok(());
        }
    }
    running.stop(signals.stop()).await;
    Ok(())
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
    let same = config.clone();
    let again: Loader = Box::new(move || Ok(vec![same.clone()]));
    serve_reloading(config, again, listener, shutdown).await
}

/// The same, with a configuration that can be read again.
///
/// # Errors
///
/// When the delegate's key cannot be used.
pub async fn serve_reloading(
    config: Config,
    again: Loader,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Failure> {
    let listeners = vec![Listener::new(config.listen, listener)];
    serve_opened(vec![config], again, listeners, shutdown).await
}

/// The same for several gateways: each door has a listener, by the address in the configurations.
///
/// # Errors
///
/// When the delegate's key cannot be used.
pub async fn serve_all(
    configs: Vec<Config>,
    listeners: Vec<(SocketAddr, TcpListener)>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Failure> {
    let same = configs.clone();
    let again: Loader = Box::new(move || Ok(same.clone()));
    let listeners = listeners.into_iter();
    let listeners = listeners.map(|(address, listener)| Listener::new(address, listener));
    let listeners = listeners.collect();
    serve_opened(configs, again, listeners, shutdown).await
}

async fn serve_opened(
    configs: Vec<Config>,
    again: Loader,
    listeners: Vec<Listener>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Failure> {
    let (wishes, _) = Wishes::new();
    let sockets = Arc::default();
    let mut running = open(configs, again, listeners, sockets, wishes, false).await?;
    shutdown.await;
    running.stop(std::future::pending()).await;
    Ok(())
}

async fn listen_at(configs: &[Config], sockets: &Sockets) -> Result<Vec<Listener>, Failure> {
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

async fn open(
    configs: Vec<Config>,
    again: Loader,
    listeners: Vec<Listener>,
    sockets: Arc<Sockets>,
    wishes: Wishes,
    takes_over: bool,
) -> Result<Running, Failure> {
    let shim = Shim {
        fleet: ArcSwap::default(),
        clients: TaskTracker::new(),
        sockets,
        telemetry: Telemetry::new()?,
        started: Instant::now(),
        sessions: Sessions::default(),
        reloads: Reloads::new(again),
        wishes,
        stop: CancellationToken::new(),
    };
    shim.telemetry.keep_time();
    let openings = listeners
        .into_iter()
        .filter_map(|listener| Opening::prepare(listener, &configs, &shim.stop).transpose());
    let openings = openings.collect::<Result<Vec<_>, _>>()?;
    let gathered = configs.iter().map(|config| {
        let mode = Arc::new(ModeSwitch::new(first_mode(config)));
        Parts::gather(config, &shim.telemetry, mode)
    });
    let gathered = gathered.collect::<Result<Vec<_>, _>>()?;
    let served = gathered.into_iter().map(|parts| parts.start_anew(&shim));
    let fleet = Fleet {
        served: served.collect(),
        doors: openings.iter().map(|one| Arc::clone(&one.door)).collect(),
        configs: Arc::new(configs),
    };
    doors::lead(&fleet);
    for opening in openings {
        opening.open(&shim.clients);
    }
    shim.clients.close();
    shim.fleet.store(Arc::new(fleet));
    let shim = Arc::new(shim);
    for served in &shim.fleet().served {
        reload::follow_secret(&shim, &served.name, &served.front().engine);
    }
    let resign = CancellationToken::new();
    let admin = admin::start(
        &shim.configs(),
        Arc::clone(&shim),
        resign.clone(),
        takes_over,
    )
    .await;
    Ok(Running {
        doors: shim.clients.clone(),
        shim,
        admin,
        resign,
    })
}

/// The mode to begin in: a switch outlives a restart, but not an edit of the configuration.
fn first_mode(config: &Config) -> crate::config::Mode {
    let resolved = saved::resolve(config);
    let mode = resolved.mode.as_str();
    match &resolved.source {
        Source::Configuration => {}
        Source::Switched { .. } => {
            warn!(gateway = %config.name, "the mode is {mode}, {}", resolved.clause())
        }
        Source::Unusable { .. } => {
            error!(gateway = %config.name, "the mode is {mode}, {}", resolved.clause())
        }
        Source::Edited { .. } => {
            info!(gateway = %config.name, "the mode is {mode}, {}", resolved.clause());
            saved::forget_or_warn(&config.data);
        }
    }
    resolved.mode
}

impl Running {
    /// Lets nobody in any more, at any door.
    fn lock_up(&self) {
        self.shim.stop.cancel();
    }

    /// Waits until it knows the gateways as well as a shim before it did, so that nobody notices the change.
    async fn settle(&self) {
        let fleet = self.shim.fleet();
        let engines = fleet.served.iter().map(|served| served.front());
        for front in engines {
            front.engine.control.settled(SETTLING).await;
        }
    }

    /// Has a new process take over; its id.
    async fn hand_over(&self, start: &Start) -> Result<u32, String> {
        let outcome = match self.may_hand_over() {
            Err(why) => Err(why),
            Ok(()) => succession::start(start).await,
        };
        match &outcome {
            Ok(pid) => {
                systemd::succeeded_by(*pid);
                info!(pid, "a new process has taken over");
            }
            Err(why) => error!("not upgraded, this process goes on: {why}"),
        }
        outcome
    }

    fn may_hand_over(&self) -> Result<(), String> {
        if std::process::id() == 1 {
            let text = "this is the first process of a container, which ends with it; start a new container instead";
            return Err(text.to_owned());
        }
        for (served, config) in self.shim.fleet().each() {
            let mode = served.mode.get();
            if saved::resolve(config).mode != mode {
                saved::keep(config, mode).map_err(|error| {
                    let file = saved::file(&config.data);
                    let mode = mode.as_str();
                    format!(
                        "the new process would not know of the mode {mode}: {}: {error}",
                        file.display()
                    )
                })?;
            }
        }
        Ok(())
    }
}

/// How long a new process may take to find out where it stands with its gateways before it takes over all the same.
const SETTLING: std::time::Duration = std::time::Duration::from_secs(2);
