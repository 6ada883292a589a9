//! A reload in two halves: first all that can fail, none of which anybody notices, then all that is noticed, none of
//! which can fail.

use std::io::{self, ErrorKind::AddrInUse};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

use super::plan::{Before, Plan, Wanted};
use super::{follow_secret, problem};
use crate::admin;
use crate::app::assemble::{self, Parts};
use crate::app::doors::{self, Listener, Opening, first_at};
use crate::app::{Fleet, Shim, older, saved};
use crate::config::{Config, Problems};
use crate::confine;
use crate::delegate::Claim;
use crate::engine::ModeSwitch;
use crate::http::Front;
use crate::listen;
use crate::served::{Door, Served};
use crate::tls::Renewed;

/// A reload that can be taken.
pub(super) struct Prepared {
    steps: Vec<Step>,
    gone: Vec<(Arc<Served>, Config)>,
    configs: Vec<Config>,
    certificates: Vec<(Arc<Door>, Renewed)>,
    openings: Vec<Opening>,
    /// What makes it last, once it holds.
    claims: Vec<Claim>,
}

/// What one gateway gets.
enum Step {
    /// The same engine, for sessions that are let in by another configuration.
    Governed(Before, Config, Box<Front>),
    /// An engine of its own, for its next sessions.
    Replaced(Before, Config, Box<Parts>),
    /// It was not there before.
    Added(Config, Box<Parts>),
}

impl Prepared {
    /// Reads, gathers and binds what the plan needs.
    ///
    /// # Errors
    ///
    /// When any of it cannot be had; then nothing is left of the rest.
    pub(super) async fn of(plan: Plan, shim: &Shim) -> Result<Self, Problems> {
        let Plan { wanted, gone } = plan;
        let configs: Vec<Config> = wanted.iter().map(|wanted| wanted.config.clone()).collect();
        let beyond: Vec<_> = configs.iter().filter_map(confine::beyond).collect();
        if !beyond.is_empty() {
            return Err(Problems(beyond));
        }
        admin::secure(&configs);
        let certificates = certificates(&shim.fleet().doors, &configs)?;
        let steps = wanted.into_iter().map(|wanted| Step::prepare(wanted, shim));
        let steps = steps.collect::<Result<Vec<_>, _>>()?;
        let openings = openings(shim, &configs).await?;
        let claims = match claims(&steps) {
            Ok(claims) => claims,
            Err(problems) => {
                let_go(openings, shim);
                return Err(problems);
            }
        };
        Ok(Self {
            steps,
            gone,
            configs,
            certificates,
            openings,
            claims,
        })
    }

    /// Lets it hold.
    pub(super) async fn commit(self, shim: &Arc<Shim>) {
        let before = shim.fleet();
        self.claims.into_iter().for_each(Claim::keep);
        for (door, renewed) in self.certificates {
            if let Some(tls) = &door.tls {
                tls.show(renewed);
            }
        }
        if let Some(config) = self.configs.first() {
            crate::log::change(config.log);
        }
        // First: one that has only another name now holds those of its old one to what is allowed.
        for (served, config) in self.gone {
            shim.reloads.passed(config, &served.front().engine);
        }
        let mut served = Vec::new();
        for step in self.steps {
            served.push(step.perform(shim).await);
        }
        let (kept, closing): (Vec<_>, Vec<_>) = before
            .doors
            .iter()
            .cloned()
            .partition(|door| first_at(&self.configs, door.configured).is_some());
        let opened = self.openings.iter().map(|one| Arc::clone(&one.door));
        let fleet = Fleet {
            doors: kept.into_iter().chain(opened).collect(),
            configs: Arc::new(self.configs),
            served,
        };
        doors::lead(&fleet);
        for opening in self.openings {
            opening.open(&shim.clients, &shim.workers);
        }
        for door in closing {
            doors::close(&door, &fleet.doors, &shim.sockets);
        }
        shim.fleet.store(Arc::new(fleet));
    }
}

/// What the files of the doors hold now that stay open.
fn certificates(
    doors: &[Arc<Door>],
    configs: &[Config],
) -> Result<Vec<(Arc<Door>, Renewed)>, Problems> {
    let mut renewed = Vec::new();
    for door in doors {
        let config = first_at(configs, door.configured);
        let files = config.and_then(|config| config.tls.files.clone());
        if let (Some(tls), Some(files)) = (&door.tls, files) {
            let read = tls.prepare(files);
            let read = read.map_err(|error| problem(error.to_string()))?;
            renewed.push((Arc::clone(door), read));
        }
    }
    Ok(renewed)
}

/// Doors at the addresses where nobody listens yet.
async fn openings(shim: &Shim, configs: &[Config]) -> Result<Vec<Opening>, Problems> {
    let before = shim.fleet();
    let mut openings: Vec<Opening> = Vec::new();
    for config in configs {
        let address = config.listen;
        let opened = openings.iter().map(|one| &one.door);
        if before
            .doors
            .iter()
            .chain(opened)
            .any(|door| door.configured == address)
        {
            continue;
        }
        match opening(shim, config, configs).await {
            Ok(opening) => openings.extend(opening),
            Err(problems) => {
                let_go(openings, shim);
                return Err(problems);
            }
        }
    }
    Ok(openings)
}

fn let_go(openings: Vec<Opening>, shim: &Shim) {
    for opening in openings {
        doors::release(opening.door.address, &shim.fleet().doors, &shim.sockets);
    }
}

/// What the gateways need in their data directories that get an engine of their own.
fn claims(steps: &[Step]) -> Result<Vec<Claim>, Problems> {
    let claims = steps.iter().filter_map(Step::parts).map(Parts::claim);
    let claims = claims.collect::<Result<Vec<_>, _>>();
    let claims = claims.map_err(|error| problem(error.to_string()))?;
    Ok(claims.into_iter().flatten().collect())
}

async fn opening(
    shim: &Shim,
    config: &Config,
    configs: &[Config],
) -> Result<Option<Opening>, Problems> {
    let bound = bind(shim, config).await;
    let listener = bound.map_err(|error| Problems(vec![listen::unavailable(config, &error)]))?;
    let address: Option<SocketAddr> = listener.local_addr().ok();
    let twin = listen::twin(&listener, &shim.sockets).await;
    let listener = Listener {
        twin,
        ..Listener::new(config.listen, listener)
    };
    Opening::prepare(listener, configs, &shim.stop).map_err(|error| {
        if let Some(address) = address {
            doors::release(address, &shim.fleet().doors, &shim.sockets);
        }
        problem(error.to_string())
    })
}

/// The process before this one lets go of its doors when this one serves, and may need a moment for that.
async fn bind(shim: &Shim, config: &Config) -> io::Result<TcpListener> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let there = !older::find(&config.base).is_empty();
        match shim.sockets.bind(config.listen).await {
            Err(error) if error.kind() == AddrInUse && there && Instant::now() < deadline => {
                sleep(PAUSE).await;
            }
            outcome => return outcome,
        }
    }
}

impl Step {
    fn parts(&self) -> Option<&Parts> {
        match self {
            Self::Governed(..) => None,
            Self::Replaced(_, _, parts) | Self::Added(_, parts) => Some(parts),
        }
    }

    fn prepare(wanted: Wanted, shim: &Shim) -> Result<Self, Problems> {
        let Wanted { config, before } = wanted;
        let gather = |mode| {
            let parts = Parts::gather(&config, &shim.telemetry, mode);
            let parts = parts.map_err(|error| problem(error.to_string()))?;
            Ok(Box::new(parts))
        };
        Ok(match before {
            None => {
                let mode = ModeSwitch::new(saved::resolve(&config).mode);
                let parts = gather(Arc::new(mode))?;
                Self::Added(config, parts)
            }
            Some(before) if before.replaced => {
                let parts = gather(Arc::clone(&before.served.mode))?;
                Self::Replaced(before, config, parts)
            }
            Some(before) => {
                let front = before.served.front();
                let front = assemble::around(&config, &before.config, &front);
                Self::Governed(before, config, Box::new(front))
            }
        })
    }

    async fn perform(self, shim: &Arc<Shim>) -> Arc<Served> {
        match self {
            Self::Governed(before, config, front) => {
                let engine = Arc::clone(&front.engine);
                before.served.replace(*front);
                assemble::govern(&engine, assemble::rules(&config)).await;
                restrain_past(shim, &config).await;
                before.go_on(&config)
            }
            Self::Replaced(before, config, parts) => {
                let past = before.served.front();
                let traces = past.engine.traces.clone();
                before.served.replace(parts.start(shim, traces));
                shim.reloads.passed(before.config.clone(), &past.engine);
                follow_secret(shim, &config.name, &before.served.front().engine);
                restrain_past(shim, &config).await;
                before.go_on(&config)
            }
            Self::Added(config, parts) => {
                let served = parts.start_anew(shim);
                served.mode.set(saved::at_start(&config));
                follow_secret(shim, &config.name, &served.front().engine);
                restrain_past(shim, &config).await;
                served
            }
        }
    }
}

impl Before {
    /// A mode that somebody edited holds; one that was switched at run time stays otherwise.
    fn go_on(self, config: &Config) -> Arc<Served> {
        if self.config.mode != config.mode {
            self.served.mode.set(config.mode);
            saved::forget_or_warn(&config.data);
        }
        self.served
    }
}

/// What the operator allows holds for the sessions of past engines, too.
async fn restrain_past(shim: &Shim, config: &Config) {
    let past = shim.reloads.past().clone();
    for engine in past.iter().filter_map(|past| past.of(config)) {
        let mut rules = (*engine.rules()).clone();
        rules.policy = config.policy.clone();
        rules.auth.admit_users_of(&config.gateway.auth);
        assemble::govern(&engine, rules).await;
    }
}

/// How long a door may take to become free.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(20);
