//! Forgets refusals as soon as what they rest on has changed.

use std::sync::Arc;

use tokio::sync::broadcast::error::RecvError;

use super::Footing;
use crate::control::Link;
use crate::engine::Engine;

/// Listens to the store, the gateway and the operator, for as long as the engine lives.
pub async fn run(engine: Arc<Engine>) {
    let breaker = &engine.breaker;
    let mut records = engine.resolver.changes();
    let mut resolutions = engine.control.resolutions();
    let mut standing = engine.control.watch();
    let mut modes = engine.mode.changes();
    let mut link_was_up = false;
    loop {
        tokio::select! {
            changed = records.changed() => match changed {
                Ok(()) => review(&engine).await,
                Err(_) => return,
            },
            resolved = resolutions.recv() => match resolved {
                Ok(request_id) => resolve(&engine, &request_id).await,
                Err(RecvError::Lagged(_)) => breaker.forget_all().await,
                Err(RecvError::Closed) => return,
            },
            changed = standing.changed() => {
                if changed.is_err() {
                    return;
                }
                let up = standing.borrow_and_update().link == Link::Up;
                if up && !link_was_up {
                    // The gateway may have been restarted with another configuration.
                    breaker.forget_all().await;
                }
                link_was_up = up;
            },
            changed = modes.changed() => match changed {
                Ok(()) => breaker.forget_all().await,
                Err(_) => return,
            },
        }
    }
}

/// Forgets the refusals of devices whose records say something else by now.
async fn review(engine: &Engine) {
    let refusals: Vec<_> = engine.breaker.all().collect();
    for refusal in refusals {
        let Some(device) = &refusal.device else {
            continue;
        };
        // An unreadable store says nothing about the device.
        let Ok(record) = engine.resolver.resolve(device).await else {
            continue;
        };
        if Footing::of(record.as_deref()) != *refusal.footing() {
            engine.breaker.forget(&refusal).await;
        }
    }
}

/// Somebody approved or rejected a request: the next attempt has to be judged anew.
async fn resolve(engine: &Engine, request_id: &str) {
    let refusals: Vec<_> = engine
        .breaker
        .all()
        .filter(|refusal| refusal.refusal().request_id.as_deref() == Some(request_id))
        .collect();
    if refusals.is_empty() {
        return;
    }
    // Before anyone is released who would ask it.
    engine.resolver.invalidate();
    for refusal in refusals {
        engine.breaker.forget(&refusal).await;
    }
}
