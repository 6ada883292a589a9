//! A gateway that was given another secret: the shim notices by itself.

use std::sync::{Arc, Weak};

use tracing::{debug, info};

use super::super::{Shim, assemble};
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
    let new = read.iter().find(|config| config.name == name);
    let mut rules = (*engine.rules()).clone();
    let Some(new) = new.filter(|new| new.gateway.auth != rules.auth) else {
        return Some(());
    };
    info!(gateway = %name, "the gateway's secret has changed; going on with the new one");
    rules.auth = new.gateway.auth.clone();
    rules.facts = new.gateway.facts.clone();
    assemble::govern(&engine, rules).await;
    let mut current = (*shim.configs()).clone();
    for config in current.iter_mut().filter(|config| config.name == name) {
        config.gateway.auth = new.gateway.auth.clone();
        config.gateway.facts = new.gateway.facts.clone();
    }
    shim.reloads.current.store(Arc::new(current));
    Some(())
}
