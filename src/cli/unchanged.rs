//! What waits and what is paired, looked at without changing anything.
//!
//! A session of the shim's own pairs its device where that is not paired yet, so that one is opened only where it is.

use crate::app::Failure;
use crate::approval::Listing;
use crate::config::{Config, Environment};
use crate::doctor::Look;
use crate::doctor::subject::{is_expired, pending};
use crate::scope::ALL;

/// How a look is to be taken.
pub(super) enum Way {
    /// By the gateway itself: a session changes nothing.
    Session,
    /// From its pairing store, and what is to be said of the gateway.
    Store(Box<Listing>, String),
}

/// How to look.
///
/// # Errors
///
/// When there is no way that would change nothing.
pub(super) async fn way(config: &Config) -> Result<Way, Failure> {
    let look = Look::take(config, &Environment::of_process()).await;
    let Some(store) = &look.store.snapshot else {
        let running = look.shim.running.as_ref();
        if running.is_some_and(|running| running.delegate_paired) {
            return Ok(Way::Session);
        }
        let why = look.store.unreadable.clone().unwrap_or_default();
        let run = look.shim.invocation.command(&["run"]);
        return Err(format!(
            "the pairing store cannot be read ({why}), and the gateway cannot be asked before scope-shim's own device is \
             paired, which {run} does"
        )
        .into());
    };
    let own = look.delegate().and_then(|device| store.devices.get(device));
    if own.is_some_and(|record| record.approved_scopes.names_all(&ALL.into_iter().collect())) {
        return Ok(Way::Session);
    }
    let waiting = pending(&look).into_iter().filter(|request| {
        !is_expired(&look, request) && look.delegate() != Some(&request.device_id)
    });
    let listing = Listing::of_store(store, waiting.cloned().collect());
    let gateway = format!("{}, by its pairing store {}", look.url, look.store.path);
    Ok(Way::Store(Box::new(listing), gateway))
}
