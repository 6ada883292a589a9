//! Reading the configuration again, and what the gateway's own files say, while sessions run.
//!
//! Everything is read and put together before anything is changed: what cannot be used leaves all as it was. A key
//! either holds from now on, or keeps its old value until a restart and is named; nothing holds in part.

mod certificates;
mod changes;
mod secret;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use arc_swap::ArcSwap;
use tracing::{error, info, warn};

use super::{Shim, assemble, saved, systemd};
use crate::clock;
use crate::config::{Config, Finding, Origin, Problem, Problems};
use crate::engine::Engine;
use crate::http::Front;
use crate::served::Served;

pub use changes::{Change, Effect};
use changes::{differences, effective};
pub(super) use secret::follow as follow_secret;

/// Reads the configuration as it was read at the start: the same file, flags and environment.
pub type Loader = Box<dyn Fn() -> Result<Vec<Config>, Problems> + Send + Sync>;

/// What reading again needs, and what came of it.
pub struct Reloads {
    again: Arc<Loader>,
    /// What holds now.
    current: ArcSwap<Vec<Config>>,
    /// One at a time.
    turn: tokio::sync::Mutex<()>,
    failed: Mutex<Option<Failed>>,
    /// Engines that were replaced, by the name of their gateway: their sessions may still run.
    past: Mutex<Vec<(String, Weak<Engine>)>>,
}

/// A reload that was refused; the configuration before it still holds.
#[derive(Clone, Debug)]
pub struct Failed {
    /// When, in milliseconds since the epoch.
    pub at_ms: i64,
    /// Why.
    pub problems: Problems,
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
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

impl Reloads {
    pub(super) fn new(configs: Vec<Config>, again: Loader) -> Self {
        Self {
            again: Arc::new(again),
            current: ArcSwap::from_pointee(configs),
            turn: tokio::sync::Mutex::new(()),
            failed: Mutex::default(),
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

    fn past(&self) -> MutexGuard<'_, Vec<(String, Weak<Engine>)>> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self) -> MutexGuard<'_, Option<Failed>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shim {
    /// The configurations that hold now, one for each gateway.
    #[must_use]
    pub fn configs(&self) -> Arc<Vec<Config>> {
        self.reloads.current.load_full()
    }

    /// The last reload, where it was refused.
    #[must_use]
    pub fn reload_failed(&self) -> Option<Failed> {
        self.reloads.failed().clone()
    }

    /// The engine of a gateway's new sessions, and those that a reload replaced and whose sessions still run.
    #[must_use]
    pub fn engines(&self, served: &Served) -> Vec<Arc<Engine>> {
        let past = self.reloads.past();
        let past = past.iter().filter(|(of, _)| *of == served.name);
        let past = past.filter_map(|(_, engine)| engine.upgrade());
        [Arc::clone(&served.front().engine)]
            .into_iter()
            .chain(past)
            .collect()
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
        systemd::ready();
        match &outcome {
            Ok(reloaded) => reloaded.log(),
            Err(problems) => {
                for problem in &problems.0 {
                    error!("{problem}");
                }
                error!("the configuration was not reloaded; what held before still holds");
            }
        }
        *self.reloads.failed() = outcome.as_ref().err().map(|problems| Failed {
            at_ms: clock::now_ms(),
            problems: problems.clone(),
        });
        outcome
    }

    async fn take(self: &Arc<Self>, read: Vec<Config>) -> Result<Reloaded, Problems> {
        let before = self.configs();
        let mut reloaded = Reloaded::default();
        let mut after = Vec::new();
        let mut steps = Vec::new();
        for (served, old) in self.served.iter().zip(before.iter()) {
            let Some(new) = read.iter().find(|config| config.name == old.name) else {
                reloaded.changes.push(Change::gone(&old.name));
                after.push(old.clone());
                continue;
            };
            let changes = differences(old, new);
            let config = effective(old, new, &changes);
            let step = Step::prepare(self, served, old, &config, &changes)?;
            steps.push(step);
            let known = |finding: &&Finding| !old.findings.contains(finding);
            reloaded
                .findings
                .extend(new.findings.iter().filter(known).cloned());
            reloaded.changes.extend(changes);
            after.push(config);
        }
        for config in &read {
            if !before.iter().any(|old| old.name == config.name) {
                reloaded.changes.push(Change::added(&config.name));
            }
        }
        certificates::renew(&self.doors, &after)?;
        for step in steps {
            step.perform(self).await;
        }
        self.reloads.current.store(Arc::new(after));
        Ok(reloaded)
    }
}

/// What one gateway gets, put together and not yet in its place.
struct Step {
    served: Arc<Served>,
    config: Config,
    front: Front,
    /// Its engine is another, not the one before with other rules.
    replaced: bool,
    /// Somebody edited the mode.
    mode_edited: bool,
}

impl Step {
    fn prepare(
        shim: &Shim,
        served: &Arc<Served>,
        old: &Config,
        config: &Config,
        changes: &[Change],
    ) -> Result<Self, Problems> {
        let before = served.front();
        let replaced = changes.iter().any(|change| change.effect == Effect::Engine);
        let front = if replaced {
            let traces = before.engine.traces.clone();
            assemble::front(config, shim, Arc::clone(&served.mode), traces)
                .map_err(|error| problem(error.to_string()))?
        } else {
            assemble::around(config, old, &before)
        };
        Ok(Self {
            served: Arc::clone(served),
            mode_edited: old.mode != config.mode,
            config: config.clone(),
            front,
            replaced,
        })
    }

    async fn perform(self, shim: &Arc<Shim>) {
        let Self {
            served,
            config,
            front,
            replaced,
            mode_edited,
        } = self;
        let before = served.front();
        let engine = Arc::clone(&front.engine);
        served.replace(front);
        if replaced {
            let mut past = shim.reloads.past();
            past.retain(|(_, engine)| engine.strong_count() > 0);
            past.push((served.name.clone(), Arc::downgrade(&before.engine)));
            drop(past);
            follow_secret(shim, &served.name, &engine);
        } else {
            assemble::govern(&engine, assemble::rules(&config)).await;
        }
        restrain_past(shim, &served.name, &config).await;
        if mode_edited {
            served.mode.set(config.mode);
            saved::forget_or_warn(&config.data);
        }
    }
}

/// What the operator allows holds for the sessions of past engines, too.
async fn restrain_past(shim: &Shim, name: &str, config: &Config) {
    let past = shim.reloads.past().clone();
    let past = past.iter().filter(|(of, _)| of == name);
    for engine in past.filter_map(|(_, engine)| engine.upgrade()) {
        let mut rules = (*engine.rules()).clone();
        rules.policy = config.policy.clone();
        assemble::govern(&engine, rules).await;
    }
}

impl Reloaded {
    fn log(&self) {
        if self.changes.is_empty() {
            info!("read the configuration again; nothing has changed");
        }
        for change in &self.changes {
            match change.effect {
                Effect::Restart => warn!(gateway = %change.gateway, "needs a restart: {change}"),
                _ => info!(gateway = %change.gateway, "changed: {change}"),
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
