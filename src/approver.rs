//! Approves pairing requests through the shim's own session with the gateway, where the operator's policy says so.

mod repairs;
mod upgrade;

use tracing::{debug, error, info, warn};

use crate::approval::{self, Candidate, Listing, LookError, NotApproved};
use crate::audit::Rule;
use crate::engine::Engine;

pub use repairs::run;
pub use upgrade::{Asking, upgrade, wait};

async fn look(engine: &Engine) -> Result<Listing, LookError> {
    approval::look(&mut &engine.control).await
}

/// Approves what was looked at just now; whether it is approved, and nothing but it.
async fn approve(engine: &Engine, rule: Rule, seen: &Candidate) -> bool {
    let request = &seen.request;
    let device = request.device_id.short();
    let outcome = approval::approve(&mut &engine.control, &engine.audit, rule, seen).await;
    match &outcome {
        Ok(_) => {
            engine.telemetry.approved(rule);
            info!(
                device, scopes = %request.scopes, before = %seen.held(), rule = rule.as_str(),
                "approved a pairing request"
            );
        }
        // Somebody else may have been faster.
        Err(why @ NotApproved::Call(_)) => {
            debug!(device, "a pairing request was not approved: {why}")
        }
        Err(why @ NotApproved::Grew { .. }) => {
            error!(device, "a pairing request was approved, and undone: {why}")
        }
        Err(why) => warn!(device, "a pairing request was not approved: {why}"),
    }
    outcome.is_ok()
}
