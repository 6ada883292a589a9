//! What somebody means by a gateway: all that works there in the shim's name, also what a reload has put aside.

use std::sync::{Arc, Weak};

use crate::app::Shim;
use crate::config::Config;
use crate::engine::Engine;

/// A gateway that the shim stands before, or stood before until a reload.
#[derive(Debug)]
pub struct Meant {
    /// How it is configured, or was.
    pub config: Config,
    /// The engine of its new sessions, or of the latest that there could be.
    pub engine: Arc<Engine>,
    /// Those that a reload has put aside, and whose sessions still run.
    pub past: Vec<Arc<Engine>>,
    /// Whether it is gone from the configuration.
    pub gone: bool,
}

/// An engine that no new session goes to.
#[derive(Clone)]
pub(super) struct Past {
    /// How its gateway was configured when it was put aside.
    config: Config,
    engine: Weak<Engine>,
}

impl Past {
    pub(super) fn new(config: Config, engine: &Arc<Engine>) -> Self {
        Self {
            config,
            engine: Arc::downgrade(engine),
        }
    }

    pub(super) fn is_alive(&self) -> bool {
        self.engine.strong_count() > 0
    }

    /// The engine, if it was of this gateway, or signs with its key, whatever its gateway was called.
    pub(super) fn of(&self, config: &Config) -> Option<Arc<Engine>> {
        let own = self.config.name == config.name || self.config.data == config.data;
        self.engine.upgrade().filter(|_| own)
    }
}

impl Shim {
    /// The gateway with this name, or all where none is named. One that is gone is there until its last session ends.
    #[must_use]
    pub fn meant(&self, name: Option<&str>) -> Vec<Meant> {
        let fleet = self.fleet();
        let past = self.reloads.past().clone();
        let served = fleet.meant(name).map(|(served, config)| Meant {
            config: config.clone(),
            engine: Arc::clone(&served.front().engine),
            past: past.iter().filter_map(|past| past.of(config)).collect(),
            gone: false,
        });
        let mut meant: Vec<Meant> = served.collect();
        for past in past.iter().rev() {
            if let Some(engine) = past.engine.upgrade()
                && name.is_none_or(|name| name == past.config.name)
                && fleet.each().all(|(_, config)| past.of(config).is_none())
            {
                let known = meant
                    .iter_mut()
                    .find(|known| past.of(&known.config).is_some());
                match known {
                    Some(known) => known.past.push(engine),
                    None => meant.push(Meant {
                        config: past.config.clone(),
                        engine,
                        past: Vec::new(),
                        gone: true,
                    }),
                }
            }
        }
        meant
    }
}

impl Meant {
    /// Every engine.
    pub fn engines(&self) -> impl Iterator<Item = &Arc<Engine>> {
        [&self.engine].into_iter().chain(&self.past)
    }
}
