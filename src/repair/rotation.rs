//! Carrying out a step of a plan.

use serde_json::json;

use super::plan::Step;
use crate::approval::{NotApproved, approve_unchanged, look};
use crate::audit::{Audit, Rule};
use crate::control::{Calls, Once};
use crate::handshake::message::OPERATOR;
use crate::scope::ScopeSet;

/// What a step came to.
#[derive(Clone, Debug)]
pub struct Carried {
    /// What the record names now.
    pub scopes: ScopeSet,
    /// What the token is issued for now.
    pub token: Option<ScopeSet>,
    /// How many requests were approved.
    pub approved: usize,
    /// Whether the token was replaced.
    pub rotated: bool,
    /// Whether the gateway left the record as it was, because it adds names only with an approval (2026.2.21).
    pub names_refused: bool,
}

impl Carried {
    /// Nothing was done, because the gateway adds no names.
    #[must_use]
    pub fn nothing(step: &Step) -> Self {
        Self {
            scopes: step.record.approved_scopes.clone(),
            token: step.token.clone(),
            approved: 0,
            rotated: false,
            names_refused: true,
        }
    }

    /// Whether the device holds another token than before.
    #[must_use]
    pub const fn changed_something(&self) -> bool {
        self.rotated || self.approved > 0
    }
}

/// Approves the requests of a step, replaces the token, and looks at what came of it.
///
/// # Errors
///
/// Why it was not done, or not as planned, in words.
pub async fn carry_out(session: &mut Once, audit: &Audit, step: &Step) -> Result<Carried, String> {
    let mut approved = 0;
    for request in &step.requests {
        match approve_unchanged(session, audit, Rule::Command, request).await {
            Ok(_) => approved += 1,
            // A running shim may have been faster.
            Err(NotApproved::Gone(None)) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    if let Some(scopes) = &step.rotate_to {
        let before = held(session, step).await?;
        unchanged(&before.scopes, step)?;
        rotate(session, audit, step, &before, scopes).await?;
    }
    let after = held(session, step).await?;
    // By meaning: 2026.2.21 forgets with an approval the names that it had added by itself when the device connected.
    if !after.scopes.implies_all(&step.record.approved_scopes) {
        return Err(format!(
            "it lost scopes while it was repaired, and now holds {}: run this again",
            after.scopes
        ));
    }
    let names_refused = step
        .rotate_to
        .as_ref()
        .is_some_and(|scopes| !after.scopes.names_all(scopes) && step.needs_names());
    Ok(Carried {
        scopes: after.scopes,
        token: after.token,
        approved,
        rotated: step.rotate_to.is_some(),
        names_refused,
    })
}

struct Held {
    scopes: ScopeSet,
    token: Option<ScopeSet>,
}

async fn held(session: &mut Once, step: &Step) -> Result<Held, String> {
    let listing = look(session).await.map_err(|error| error.to_string())?;
    let device = &step.record.device_id;
    let Some(record) = listing.devices.get(device) else {
        return Err("it is not paired any more".to_owned());
    };
    Ok(Held {
        scopes: record.approved_scopes.clone(),
        token: listing.token_scopes(device).cloned(),
    })
}

/// 2026.2.17 and 2026.2.19 replace what the record names by what the token gets: a scope that was approved a moment
/// ago must not be lost to that.
fn unchanged(now: &ScopeSet, step: &Step) -> Result<(), String> {
    if step.scopes.names_all(now) {
        return Ok(());
    }
    Err(format!(
        "it changed meanwhile, and now holds {now}: run this again"
    ))
}

async fn rotate(
    session: &mut Once,
    audit: &Audit,
    step: &Step,
    before: &Held,
    scopes: &ScopeSet,
) -> Result<(), String> {
    // Written first: what cannot be accounted for is not done.
    audit
        .rotation(&step.record, before.token.as_ref(), scopes)
        .map_err(|error| {
            format!(
                "the audit log {} cannot be written, and what cannot be accounted for is not done: {error}",
                audit.path().display()
            )
        })?;
    let params = json!({
        "deviceId": step.record.device_id.as_str(),
        "role": OPERATOR,
        "scopes": scopes.iter().collect::<Vec<_>>(),
    });
    // The answer may hold the new token, which is not for the shim.
    let answer = session.call("device.token.rotate", params).await;
    answer.map(drop).map_err(|error| error.to_string())
}
