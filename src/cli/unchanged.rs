//! What waits and what is paired, looked at without changing anything.
//!
//! A session of the shim's own pairs its device where that is not paired yet, so that one is opened only where it is.

use crate::app::Failure;
use crate::approval::Listing;
use crate::config::{Config, Environment};
use crate::doctor::Look;
use crate::doctor::known::{Certainty, Known, LAST_LITERAL};
use crate::doctor::subject::{is_expired, pending};
use crate::profile::{Evidence, Profile};
use crate::scope::ALL;

/// How a look is to be taken.
pub(super) enum Way {
    /// By the gateway itself: a session changes nothing.
    Session,
    /// From its pairing store.
    Store(Box<Stored>),
}

/// What the pairing store says.
pub(super) struct Stored {
    pub(super) listing: Listing,
    /// How the gateway behaves, as far as it is seen from outside.
    pub(super) profile: Profile,
    /// What is to be said of the gateway.
    pub(super) gateway: String,
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
    Ok(Way::Store(Box::new(Stored {
        listing: Listing::of_store(store, waiting.cloned().collect()),
        profile: profile(&look.version),
        gateway: format!("{}, by its pairing store {}", look.url, look.store.path),
    })))
}

fn profile(version: &Known) -> Profile {
    match &version.exact {
        Some((version, _)) => Profile::of_version(*version),
        None => Profile::from_evidence(&Evidence {
            version: None,
            has_server_host: version.until(LAST_LITERAL) == Certainty::Certain,
        }),
    }
}
