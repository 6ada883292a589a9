//! From configurations to a shim that serves: everything that can fail comes before anybody is let in.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::doors::{Closed, Listener, limits};
use super::succession::Wishes;
use super::{Failure, Loader, Reloads, Sessions, Shim, assemble, reload, saved};
use crate::admin::{self, Admin};
use crate::config::{Config, Mode};
use crate::engine::ModeSwitch;
use crate::listen;
use crate::served::{Door, Served};
use crate::telemetry::Telemetry;
use crate::tls::Listening;
use crate::workers::Workers;

/// A shim that lets nobody in yet.
pub(super) struct Prepared {
    shim: Arc<Shim>,
    doors: Vec<Closed>,
}

/// A shim that serves.
pub(super) struct Running {
    pub(super) shim: Arc<Shim>,
    pub(super) doors: TaskTracker,
    pub(super) admin: Admin,
    /// Where the process that has taken over reaches this one.
    pub(super) older: Option<Admin>,
}

impl Prepared {
    /// Puts together what stands before each gateway, and who gets there by which door.
    pub(super) fn new(
        configs: Vec<Config>,
        again: Loader,
        listeners: Vec<Listener>,
        wishes: Wishes,
    ) -> Result<Self, Failure> {
        let mut shim = Shim {
            served: Vec::new(),
            doors: Vec::new(),
            telemetry: Telemetry::new()?,
            started: Instant::now(),
            sessions: Sessions::default(),
            reloads: Reloads::new(configs.clone(), again),
            workers: Arc::new(Workers::start()?),
            wishes,
            stop: CancellationToken::new(),
            changes: tokio::sync::RwLock::default(),
            successor: OnceLock::new(),
        };
        shim.telemetry.keep_time();
        let mut behind: BTreeMap<SocketAddr, (Vec<Arc<Served>>, listen::Limits)> = BTreeMap::new();
        let mut certificates: BTreeMap<SocketAddr, Arc<Listening>> = BTreeMap::new();
        for config in &configs {
            if let (Some(files), false) =
                (&config.tls.files, certificates.contains_key(&config.listen))
            {
                let listening = Listening::open(files.clone())?;
                certificates.insert(config.listen, Arc::new(listening));
            }
            let mode = Arc::new(ModeSwitch::new(saved::at_start(config)));
            let front = assemble::front(config, &shim, mode, None)?;
            let (name, hosts) = (config.name.clone(), config.hosts.clone());
            let served = Arc::new(Served::new(name, hosts, front));
            let (others, _) = behind
                .entry(config.listen)
                .or_insert_with(|| (Vec::new(), limits(config)));
            others.push(Arc::clone(&served));
            shim.served.push(served);
        }
        let mut doors = Vec::new();
        for listener in listeners {
            let Some((served, limits)) = behind.remove(&listener.configured) else {
                continue;
            };
            let door = Arc::new(Door {
                address: listener.listener.local_addr()?,
                tls: certificates.remove(&listener.configured),
                served,
            });
            shim.doors.push(Arc::clone(&door));
            doors.push(Closed {
                listener,
                door,
                limits,
            });
        }
        let shim = Arc::new(shim);
        for served in &shim.served {
            reload::follow_secret(&shim, &served.name, &served.front().engine);
        }
        Ok(Self { shim, doors })
    }

    /// Waits until it knows the gateways as well as a shim before it did, so that nobody notices the change.
    pub(super) async fn settle(&self) {
        let each = self.shim.served.iter().map(|served| async {
            let front = served.front();
            front.engine.control.settled(SETTLING).await;
        });
        join_all(each).await;
    }

    /// Follows what the shim before it was told since this one was started.
    pub(super) async fn catch_up(&self) {
        for (served, config) in self.shim.served.iter().zip(self.shim.configs().iter()) {
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
        let Self { shim, doors } = self;
        let tasks = TaskTracker::new();
        for door in doors {
            door.open(&tasks, &shim.workers, &shim.stop);
        }
        tasks.close();
        let admin = admin::start(&shim.configs(), Arc::clone(&shim), takes_over).await;
        Running {
            shim,
            doors: tasks,
            admin,
            older: None,
        }
    }
}

/// How long a new process may take to find out where it stands with its gateways before it takes over all the same.
const SETTLING: Duration = Duration::from_secs(2);
