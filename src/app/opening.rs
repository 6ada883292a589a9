//! From configurations to a shim that serves: everything that can fail comes before anybody is let in.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::assemble::Parts;
use super::doors::{self, Listener, Opening};
use super::succession::{Heir, Wishes};
use super::{Failure, Fleet, Loader, Reloads, Sessions, Shim, Sockets, reload, saved};
use crate::admin::{self, Admin};
use crate::config::{Config, Mode};
use crate::delegate::Claim;
use crate::engine::ModeSwitch;
use crate::telemetry::Telemetry;
use crate::workers::Workers;

/// A shim that lets nobody in yet.
pub(super) struct Prepared {
    shim: Arc<Shim>,
    openings: Vec<Opening>,
}

/// A shim that serves.
pub(super) struct Running {
    pub(super) shim: Arc<Shim>,
    pub(super) doors: TaskTracker,
    pub(super) admin: Admin,
    /// Where the process that has taken over reaches this one.
    pub(super) older: Option<Admin>,
    /// The process that has taken over, which notices when this one ends.
    pub(super) heir: Option<Heir>,
}

impl Prepared {
    /// Puts together what stands before each gateway, and who gets there by which door.
    pub(super) fn new(
        configs: Vec<Config>,
        again: Loader,
        listeners: Vec<Listener>,
        sockets: Arc<Sockets>,
        wishes: Wishes,
    ) -> Result<Self, Failure> {
        // What lies there is believed from the first look at it on: the mode, the key and its mark.
        admin::secure(&configs);
        let shim = Shim {
            fleet: ArcSwap::default(),
            clients: TaskTracker::new(),
            sockets,
            telemetry: Telemetry::new()?,
            started: Instant::now(),
            sessions: Sessions::default(),
            reloads: Reloads::new(again),
            workers: Arc::new(Workers::start()?),
            wishes,
            stop: CancellationToken::new(),
            changes: tokio::sync::RwLock::default(),
            successor: OnceLock::new(),
        };
        shim.telemetry.keep_time();
        let openings = listeners
            .into_iter()
            .filter_map(|listener| Opening::prepare(listener, &configs, &shim.stop).transpose());
        let openings = openings.collect::<Result<Vec<_>, _>>()?;
        let gathered = configs.iter().map(|config| {
            let mode = Arc::new(ModeSwitch::new(saved::at_start(config)));
            Parts::gather(config, &shim.telemetry, mode)
        });
        let gathered = gathered.collect::<Result<Vec<_>, _>>()?;
        let claims = gathered.iter().map(Parts::claim);
        let claims = claims.collect::<Result<Vec<_>, _>>()?;
        claims.into_iter().flatten().for_each(Claim::keep);
        let served = gathered.into_iter().map(|parts| parts.start_anew(&shim));
        let fleet = Fleet {
            served: served.collect(),
            doors: openings.iter().map(|one| Arc::clone(&one.door)).collect(),
            configs: Arc::new(configs),
        };
        doors::lead(&fleet);
        shim.fleet.store(Arc::new(fleet));
        let shim = Arc::new(shim);
        for served in &shim.fleet().served {
            reload::follow_secret(&shim, &served.name, &served.front().engine);
        }
        Ok(Self { shim, openings })
    }

    /// Waits until it knows the gateways as well as a shim before it did, so that nobody notices the change.
    pub(super) async fn settle(&self) {
        let fleet = self.shim.fleet();
        let each = fleet.served.iter().map(|served| async {
            let front = served.front();
            front.engine.control.settled(SETTLING).await;
        });
        join_all(each).await;
    }

    /// Follows what the shim before it was told since this one was started.
    pub(super) async fn catch_up(&self) {
        for (served, config) in self.shim.fleet().each() {
            let mode = saved::resolve(config).mode;
            if served.mode.get() != mode {
                served.mode.set(mode);
            }
            let engine = Arc::clone(&served.front().engine);
            if mode == Mode::Off && engine.delegate.is_retired() {
                engine.control.retire().await;
            }
        }
    }

    /// Lets clients and commands in. `takes_over`: the shim that answers commands now is the one whose place this one
    /// takes.
    pub(super) async fn open(self, takes_over: bool) -> Running {
        let Self { shim, openings } = self;
        for opening in openings {
            opening.open(&shim.clients, &shim.workers);
        }
        shim.clients.close();
        let admin = admin::start(&shim.configs(), Arc::clone(&shim), takes_over).await;
        Running {
            doors: shim.clients.clone(),
            shim,
            admin,
            older: None,
            heir: None,
        }
    }
}

/// How long a new process may take to find out where it stands with its gateways before it takes over all the same.
const SETTLING: Duration = Duration::from_secs(2);
