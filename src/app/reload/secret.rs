//! A gateway that was given another secret: the shim notices by itself.

use std::sync::{Arc, Weak};

use tracing::{debug, info, warn};

use super::super::{Shim, assemble};
use crate::config::Config;
use crate::engine::Engine;

/// Whenever the gateway refuses the shim itself, its files are read again. That is as often as the shim's own session
/// is tried: at most every half second, later every ten.
pub(in crate::app) fn follow(shim: &Arc<Shim>, name: &str, engine: &Arc<Engine>) {
    let mut refusals = engine.control.refusals();
    let (shim, engine) = (Arc::downgrade(shim), Arc::downgrade(engine));
    let name = name.to_owned();
    tokio::spawn(async move {
        while refusals.changed().await.is_ok() {
            if read_again(&shim, &name, &engine).await.is_none() {
                return;
            }
        }
    });
}

/// `None` where there is nobody left who could use it.
async fn read_again(shim: &Weak<Shim>, name: &str, engine: &Weak<Engine>) -> Option<()> {
    let (shim, engine) = (shim.upgrade()?, engine.upgrade()?);
    let _turn = shim.reloads.turn.lock().await;
    let read = match shim.reloads.load().await {
        Ok(read) => read,
        Err(problems) => {
            debug!(
                "the gateway refuses the shim, and the configuration cannot be read again: {problems}"
            );
            return Some(());
        }
    };
    let Some(new) = read.iter().find(|config| config.name == name) else {
        return Some(());
    };
    if !is_the_same(&shim, new, &engine) {
        return Some(());
    }
    let mut rules = (*engine.rules()).clone();
    if new.gateway.auth == rules.auth {
        return Some(());
    }
    if new.gateway.auth.takes_users() || rules.auth.takes_users() {
        warn!(gateway = %name, "the gateway asks for other proofs than it did; run: scope-shim reload");
        return Some(());
    }
    info!(gateway = %name, "the gateway's secret has changed; going on with the new one");
    rules.auth = new.gateway.auth.clone();
    rules.facts = new.gateway.facts.clone();
    assemble::govern(&engine, rules).await;
    let mut fleet = (*shim.fleet()).clone();
    let configs = Arc::make_mut(&mut fleet.configs);
    for config in configs.iter_mut().filter(|config| config.name == name) {
        config.gateway.auth = new.gateway.auth.clone();
        config.gateway.facts = new.gateway.facts.clone();
    }
    shim.fleet.store(Arc::new(fleet));
    Some(())
}

/// Whether the configuration, as it can be read now, is about the gateway that refuses: a secret is shown to no other.
fn is_the_same(shim: &Shim, new: &Config, engine: &Arc<Engine>) -> bool {
    let fleet = shim.fleet();
    let Some((served, config)) = fleet.named(&new.name) else {
        return false;
    };
    Arc::ptr_eq(&served.front().engine, engine)
        && config.gateway.url == new.gateway.url
        && config.gateway.state == new.gateway.state
}
