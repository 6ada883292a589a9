//! Reading the configuration again, and what the gateway's own files say, while sessions run.
//!
//! Everything is read, put together and bound before anything is changed: what cannot be used leaves all as it was, for
//! every gateway. A key either holds from now on, or keeps its old value until a restart and is named; nothing holds in
//! part.

mod changes;
mod history;
mod meant;
mod plan;
mod prepared;
mod secret;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::field::display;
use tracing::{error, info, warn};

use super::{Shim, systemd};
use crate::config::{Config, Finding, Origin, Problem, Problems};
use crate::engine::Engine;

pub use changes::{Change, Effect};
pub use history::{History, Refused, Waiting};
pub use meant::Meant;
use meant::Past;
use plan::Plan;
use prepared::Prepared;
pub(super) use secret::follow as follow_secret;

/// Reads the configuration as it was read at the start: the same file, flags and environment.
pub type Loader = Box<dyn Fn() -> Result<Vec<Config>, Problems> + Send + Sync>;

/// What reading again needs, and what came of it.
pub struct Reloads {
    again: Arc<Loader>,
    /// One at a time.
    turn: tokio::sync::Mutex<()>,
    history: Mutex<History>,
    /// Engines that were replaced or whose gateway is gone: their sessions may still run.
    past: Mutex<Vec<Past>>,
}

/// What a reload changed.
#[derive(Clone, Debug, Default)]
pub struct Reloaded {
    /// The keys that changed.
    pub changes: Vec<Change>,
    /// What an operator should know that was not so before.
    pub findings: Vec<Finding>,
}

impl fmt::Debug for Reloads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloads")
            .field("history", &self.history)
            .finish_non_exhaustive()
    }
}

impl Reloads {
    pub(super) fn new(again: Loader) -> Self {
        Self {
            again: Arc::new(again),
            turn: tokio::sync::Mutex::new(()),
            history: Mutex::default(),
            past: Mutex::default(),
        }
    }

    async fn load(&self) -> Result<Vec<Config>, Problems> {
        let again = Arc::clone(&self.again);
        let loading = tokio::task::spawn_blocking(move || again());
        loading.await.unwrap_or_else(|error| {
            let message = format!("the configuration could not be read: {error}");
            Err(problem(message))
        })
    }

    fn past(&self) -> MutexGuard<'_, Vec<Past>> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps an engine in mind that no new session goes to.
    fn passed(&self, config: Config, engine: &Arc<Engine>) {
        let mut past = self.past();
        past.retain(Past::is_alive);
        past.push(Past::new(config, engine));
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shim {
    /// What became of the reloads so far.
    #[must_use]
    pub fn reload_history(&self) -> History {
        self.reloads.history().clone()
    }

    /// Nothing is read again for as long as what is returned lives, so that no engine comes in the place of another.
    pub async fn undisturbed(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.reloads.turn.lock().await
    }

    /// Reads everything again, and lets it hold.
    ///
    /// # Errors
    ///
    /// When it cannot be used; then everything stays as it was, which is logged, too.
    pub async fn reload(self: &Arc<Self>) -> Result<Reloaded, Problems> {
        let _turn = self.reloads.turn.lock().await;
        systemd::reloading();
        let outcome = match self.reloads.load().await {
            Ok(configs) => self.take(configs).await,
            Err(problems) => Err(problems),
        };
        systemd::reloaded(outcome.is_ok());
        match &outcome {
            Ok(reloaded) => reloaded.log(),
            Err(problems) => {
                for problem in &problems.0 {
                    error!("{problem}");
                }
                error!("the configuration was not reloaded; what held before still holds");
            }
        }
        self.reloads.history().note(&outcome);
        outcome
    }

    async fn take(self: &Arc<Self>, mut read: Vec<Config>) -> Result<Reloaded, Problems> {
        if self.draining() {
            // Nobody comes to it any more: it follows for the sessions that it has.
            let fleet = self.fleet();
            read.retain(|config| fleet.named(&config.name).is_some());
        }
        let (plan, reloaded) = Plan::of(&self.fleet(), read)?;
        let prepared = Prepared::of(plan, self).await?;
        prepared.commit(self).await;
        Ok(reloaded)
    }
}

impl Reloaded {
    /// The changes that hold after a restart.
    pub fn waiting(&self) -> impl Iterator<Item = &Change> {
        let changes = self.changes.iter();
        changes.filter(|change| change.effect == Effect::Restart)
    }

    /// What is the same for all gateways is told once.
    fn add(&mut self, change: Change) {
        if change.gateway.is_some() || !self.changes.contains(&change) {
            self.changes.push(change);
        }
    }

    fn log(&self) {
        if self.changes.is_empty() {
            info!("read the configuration again; nothing has changed");
        }
        for change in &self.changes {
            let gateway = change.gateway.as_deref().map(display);
            match change.effect {
                Effect::Restart => warn!(gateway, "needs a restart: {change}"),
                _ => info!(gateway, "changed: {change}"),
            }
        }
        crate::log::findings(&self.findings);
    }
}

fn problem(message: String) -> Problems {
    Problems(vec![Problem {
        origin: Origin::Default,
        message,
        hint: None,
    }])
}
