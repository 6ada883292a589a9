//! The admin surface: how the shim's own commands, a browser and monitoring reach the shim itself.
//!
//! Mostly it is HTTP on a Unix socket in the data directory. Whoever may open that may do everything: it lies where only
//! its owner can enter, and so does the key of the delegate. A port on loopback does the same for whoever has the token
//! ([`token`]; another one is for the metrics alone), and one more port answers the probes of an orchestrator, and nothing else. What may come in where is
//! decided in one place (`gate`), what is answered in another (`route`).
//!
//! It serves until the last session is over, so that a shim that drains can be watched.

mod approve;
pub mod client;
mod gate;
mod live;
mod metrics;
mod mode;
mod older;
pub mod page;
mod ready;
pub mod relay;
mod reload;
mod route;
mod serve;
#[cfg(unix)]
mod socket;
mod status;
pub mod token;
mod unpair;
mod upgrade;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
#[cfg(unix)]
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::app::{self, Shim};
use crate::config::Config;
use crate::listen::{bind_twin, twin_of};
use crate::private;
use gate::{Gate, Tokens};
use serve::Surface;
use token::{TokenError, Use};

pub use client::{Client, ClientError};

/// Where the socket of a shim with this data directory is, unless `admin.socket` says otherwise.
#[must_use]
pub fn socket(data: &Path) -> PathBuf {
    data.join("admin.sock")
}

/// The admin surface of a running shim; dropping it ends it.
#[derive(Debug)]
pub struct Admin {
    calls: TaskTracker,
    stop: CancellationToken,
    #[cfg(unix)]
    socket: Arc<Mutex<Option<socket::Socket>>>,
    /// Where the socket is, and what is served there.
    #[cfg(unix)]
    place: Option<(PathBuf, Surface)>,
}

impl Admin {
    fn new() -> Self {
        Self {
            calls: TaskTracker::new(),
            stop: CancellationToken::new(),
            #[cfg(unix)]
            socket: Arc::default(),
            #[cfg(unix)]
            place: None,
        }
    }

    fn surface(&self, shim: &Arc<Shim>, gate: Gate) -> Surface {
        Surface::new(
            Arc::clone(shim),
            gate,
            self.stop.clone(),
            self.calls.clone(),
        )
    }

    /// Takes no more calls. Its socket's file stays with whoever has put another there.
    pub fn resign(&self) {
        self.stop.cancel();
    }

    /// Completes when the last call has been answered; to be asked when no more can come.
    pub async fn ended(&self) {
        self.calls.close();
        self.calls.wait().await;
    }

    /// Takes its socket's place back from a process that was to take over, and did not come to serve.
    pub async fn reclaim(&self) {
        #[cfg(unix)]
        if let Some((path, surface)) = &self.place
            && self.has_lost_its_place()
        {
            listen_on_socket(self, path, surface.clone(), true).await;
        }
    }

    #[cfg(unix)]
    fn has_lost_its_place(&self) -> bool {
        let held = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        held.as_ref().is_some_and(|socket| !socket.is_there())
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.resign();
    }
}

/// Starts to serve it, until it resigns. What cannot be had is told, tried again, and costs nothing but itself: sessions
/// come first.
///
/// `takes_over`: the shim that answers there now is the one whose place this one takes.
pub async fn start(configs: &[Config], shim: Arc<Shim>, takes_over: bool) -> Admin {
    #[cfg_attr(not(unix), expect(unused_mut, reason = "there is no socket"))]
    let mut admin = Admin::new();
    let Some(config) = configs.first() else {
        return admin;
    };
    #[cfg(unix)]
    if let Some(path) = &config.admin.socket {
        // Where each gateway has a directory elsewhere, nobody else makes it; a failure shows when the socket is bound.
        let _ = private::directory(&config.base);
        let surface = admin.surface(&shim, Gate::Socket);
        listen_on_socket(&admin, path, surface.clone(), takes_over).await;
        admin.place = Some((path.clone(), surface));
    }
    if let Some(address) = config.admin.listen {
        match tokens(&config.base) {
            Ok(tokens) => listen_on_port(address, admin.surface(&shim, Gate::Port(tokens))).await,
            Err(error) => warn!("no admin port at {address}: {error}"),
        }
    }
    if let Some(address) = config.admin.probes {
        listen_on_port(address, admin.surface(&shim, Gate::Probes)).await;
    }
    admin
}

/// Starts to serve those who look for a process whose place another has taken.
pub async fn start_older(shim: Arc<Shim>) -> Admin {
    let admin = Admin::new();
    #[cfg(unix)]
    if let Some(config) = shim.configs().first() {
        let path = app::older::socket(&config.base, std::process::id());
        listen_on_socket(&admin, &path, admin.surface(&shim, Gate::Socket), false).await;
    }
    #[cfg(not(unix))]
    let _ = shim;
    admin
}

/// Sees to it that the data directories are the shim's alone, and tells where they are not.
pub fn secure(configs: &[Config]) {
    let all = configs
        .iter()
        .flat_map(|config| [&config.base, &config.data]);
    for directory in all.collect::<BTreeSet<_>>() {
        if let Err(error) = private::secure_directory(directory) {
            warn!("the data directory is not the shim's alone: {error}");
        }
    }
}

fn tokens(data: &Path) -> Result<Tokens, TokenError> {
    Ok(Tokens {
        all: token::load_or_create(data, Use::Admin)?,
        metrics: Some(token::load_or_create(data, Use::Metrics)?),
    })
}

#[cfg(unix)]
async fn listen_on_socket(admin: &Admin, path: &Path, surface: Surface, takes_over: bool) {
    let mut door = Door {
        held: Arc::clone(&admin.socket),
        path: path.to_owned(),
        surface,
        serving: None,
    };
    if let Err(error) = door.open(takes_over).await {
        warn!(
            "no admin socket at {}: {error}; until there is, the other commands cannot reach this shim",
            path.display()
        );
    }
    let stop = door.surface.stop.clone();
    tokio::spawn(stop.run_until_cancelled_owned(door.stay_open()));
}

/// The way in through a socket.
#[cfg(unix)]
struct Door {
    held: Arc<Mutex<Option<socket::Socket>>>,
    path: PathBuf,
    surface: Surface,
    serving: Option<JoinHandle<()>>,
}

#[cfg(unix)]
impl Door {
    async fn open(&mut self, takes_over: bool) -> std::io::Result<()> {
        let (socket, listener) = socket::Socket::bind(&self.path, takes_over).await?;
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(socket);
        let serving = tokio::spawn(serve::serve(listener, self.surface.clone()));
        // Nobody comes through one whose name is gone.
        if let Some(before) = self.serving.replace(serving) {
            before.abort();
        }
        Ok(())
    }

    /// Opens it when it could not be opened before, and again when somebody has removed the socket.
    async fn stay_open(mut self) {
        loop {
            let is_open = self.serving.is_some();
            tokio::time::sleep(if is_open { LOOK_AFTER } else { TRY_AGAIN }).await;
            // It is the successor's place then, whether it is in it or not.
            let left = is_open && self.surface.shim.successor().is_some();
            if left || (is_open && !self.is_gone()) {
                continue;
            }
            if self.open(false).await.is_ok() {
                info!("admin socket at {}", self.path.display());
            }
        }
    }

    fn is_gone(&self) -> bool {
        let there = std::fs::symlink_metadata(&self.path);
        there.is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
    }
}

async fn listen_on_port(address: SocketAddr, surface: Surface) {
    match TcpListener::bind(address).await {
        Ok(listener) => {
            tokio::spawn(serve_port(listener, surface));
        }
        Err(error) => {
            warn!("no {} at {address}: {error}", surface.gate.name());
            tokio::spawn(surface.stop.clone().run_until_cancelled_owned(async move {
                loop {
                    tokio::time::sleep(TRY_AGAIN).await;
                    if let Ok(listener) = TcpListener::bind(address).await {
                        return serve_port(listener, surface).await;
                    }
                }
            }));
        }
    }
}

/// Serves a port, and the same one of the other loopback address, which a browser may take for `localhost`: whoever else
/// had that would be given the token.
async fn serve_port(listener: TcpListener, surface: Surface) {
    announce(&listener, &surface);
    let twin = listener.local_addr().ok().and_then(twin_of);
    let beside = async {
        let listener = bind_twin(twin?, &surface.stop).await?;
        serve::serve(listener, surface.clone()).await;
        Some(())
    };
    tokio::join!(serve::serve(listener, surface.clone()), beside);
}

fn announce(listener: &TcpListener, surface: &Surface) {
    if let Ok(address) = listener.local_addr() {
        info!("{} at http://{address}/", surface.gate.name());
    }
}

/// A shim that runs beside one that drains takes its place when that has ended.
const TRY_AGAIN: Duration = Duration::from_millis(200);
/// How often is looked whether the socket is still there.
#[cfg(unix)]
const LOOK_AFTER: Duration = Duration::from_secs(1);
