//! Carrying out a step of a plan.

use std::fmt;

use serde_json::json;

use super::approval::{NotApproved, approve};
use super::listing::look;
use super::plan::Step;
use crate::audit::Audit;
use crate::control::{CallError, Once};
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
    /// Whether the gateway adds names to a record only with an approval, and so did not add them.
    pub names_refused: bool,
}

impl Carried {
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
        match approve(session, audit, request).await {
            Ok(_) => approved += 1,
            // A running shim may have been faster.
            Err(NotApproved::Gone(None)) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    let mut rotated = false;
    let mut names_refused = false;
    if let Some(scopes) = &step.rotate_to {
        let before = held(session, step).await?;
        unchanged(&before.scopes, step)?;
        let outcome = rotate(session, audit, step, &before, scopes).await;
        match outcome {
            Ok(()) => rotated = true,
            Err(Refused::Gateway(CallError::Refused(_))) if !before.scopes.names_all(scopes) => {
                names_refused = true;
                let narrow = before
                    .token
                    .as_ref()
                    .is_some_and(|token| !token.names_all(&before.scopes));
                if narrow {
                    rotate(session, audit, step, &before, &before.scopes).await?;
                    rotated = true;
                }
            }
            Err(refused) => return Err(refused.into()),
        }
    }
    let after = held(session, step).await?;
    if !after.scopes.names_all(&step.record.approved_scopes) {
        return Err(format!(
            "it lost scopes while it was repaired, and now holds {}: run this again",
            after.scopes
        ));
    }
    Ok(Carried {
        scopes: after.scopes,
        token: after.token,
        approved,
        rotated,
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

enum Refused {
    Audit(String),
    Gateway(CallError),
}

async fn rotate(
    session: &mut Once,
    audit: &Audit,
    step: &Step,
    before: &Held,
    scopes: &ScopeSet,
) -> Result<(), Refused> {
    // Written first: what cannot be accounted for is not done.
    audit
        .rotation(&step.record, before.token.as_ref(), scopes)
        .map_err(|error| {
            Refused::Audit(format!(
                "the audit log {} cannot be written, and what cannot be accounted for is not done: {error}",
                audit.path().display()
            ))
        })?;
    let params = json!({
        "deviceId": step.record.device_id.as_str(),
        "role": OPERATOR,
        "scopes": scopes.iter().collect::<Vec<_>>(),
    });
    // The answer may hold the new token, which is not for the shim.
    let answer = session.call("device.token.rotate", params).await;
    answer.map(drop).map_err(Refused::Gateway)
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Audit(why) => f.write_str(why),
            Self::Gateway(error) => error.fmt(f),
        }
    }
}

impl From<Refused> for String {
    fn from(refused: Refused) -> Self {
        refused.to_string()
    }
}
