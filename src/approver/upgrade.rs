//! A device that asks for more than was approved for it, while its handshake waits.

use std::sync::Arc;
use std::time::Duration;

use super::{approve, look};
use crate::approval::Candidate;
use crate::audit::Rule;
use crate::config::LocalUpgrades;
use crate::device::DeviceRecord;
use crate::engine::{Engine, Visit};
use crate::handshake::message::{Claims, Refusal};
use crate::identity::{Credential, Identity};
use crate::scope::ScopeSet;

/// A session that was refused because its device holds too little.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    /// What it claims.
    pub claims: &'a Claims,
    /// Who it is.
    pub identity: &'a Identity,
    /// Where it comes from.
    pub visit: &'a Visit,
    /// What the gateway said.
    pub refusal: &'a Refusal,
}

impl Asking<'_> {
    /// The record of the device, where the refusal is about nothing but its scopes.
    ///
    /// Its proof held, so its id and key are the ones that were paired.
    fn device(&self) -> Option<&Arc<DeviceRecord>> {
        // Up to 2026.2.21 no reason is given; a known device is refused for its scopes there.
        let about_scopes = matches!(self.refusal.reason.as_deref(), None | Some("scope-upgrade"));
        match self.identity {
            Identity::Device { record, .. }
                if self.refusal.wants_pairing() && about_scopes && self.claims.is_operator() =>
            {
                Some(record)
            }
            _ => None,
        }
    }

    /// Whether it comes from this machine with the shared secret, and asks for nothing that the operator caps.
    fn may_be_approved(&self, engine: &Engine) -> bool {
        let local = self.visit.circumstances.direct_local && !self.visit.circumstances.has_origin;
        let shared = matches!(
            self.identity,
            Identity::Device {
                credential: Credential::Shared,
                ..
            }
        );
        engine.rules().policy.local_upgrades == LocalUpgrades::Approve
            && local
            && shared
            && self.is_allowed(engine, &self.claims.requested())
    }

    fn is_allowed(&self, engine: &Engine, scopes: &ScopeSet) -> bool {
        let client_id = &self.claims.client_id;
        let cap = self.visit.cap.as_ref();
        let policy = &engine.rules().policy;
        scopes.iter().all(|scope| {
            policy.allows(client_id, scope) && cap.is_none_or(|cap| cap.implies(scope))
        })
    }
}

/// Approves the request that a refused session left with the gateway, where `policy.local_upgrades` says so. Returns
/// who the session is from then on.
pub async fn upgrade(engine: &Engine, asking: Asking<'_>) -> Option<Identity> {
    let record = asking.device()?;
    if !asking.may_be_approved(engine) {
        return None;
    }
    let request_id = asking.refusal.request_id.as_deref()?;
    let listing = look(engine).await.ok()?;
    let seen = Candidate {
        request: listing.request(request_id)?.clone(),
        record: Some(Arc::clone(record)),
    };
    // A request that was filed before this one may stand in its place, and ask for more than this session did.
    let is_its_own = seen.is_repair()
        && record
            .approved_scopes
            .union(&asking.claims.requested())
            .implies_all(&seen.request.scopes)
        && asking.is_allowed(engine, &seen.request.scopes);
    if !is_its_own || !approve(engine, Rule::LocalUpgrade, &seen).await {
        return None;
    }
    engine.resolver.invalidate();
    known_now(engine, asking).await
}

/// Waits until somebody has approved what a refused session asked for; `None` when the request is gone without it, or
/// after `patience`.
pub async fn wait(engine: &Engine, asking: Asking<'_>, patience: Duration) -> Option<Identity> {
    asking.device()?;
    let request_id = asking.refusal.request_id.as_deref()?;
    let decided = async {
        let mut changes = engine.resolver.changes();
        let mut events = engine.control.pairing_changes();
        loop {
            tokio::select! {
                changed = changes.changed() => changed.ok()?,
                heard = events.changed() => heard.ok()?,
            }
            // In this order: what is gone was decided, and the store is about to say how.
            let gone = is_gone(engine, request_id).await;
            engine.resolver.refresh().await;
            let identity = known_now(engine, asking).await?;
            if covers(&identity, &asking.claims.requested()) {
                return Some(identity);
            }
            if gone
                && tokio::time::timeout(STORE_LAG, changes.changed())
                    .await
                    .is_err()
            {
                return None;
            }
        }
    };
    tokio::time::timeout(patience, decided).await.ok().flatten()
}

async fn is_gone(engine: &Engine, request_id: &str) -> bool {
    let listing = look(engine).await;
    listing.is_ok_and(|listing| listing.request(request_id).is_none())
}

/// The same session with the record that its device has now.
async fn known_now(engine: &Engine, asking: Asking<'_>) -> Option<Identity> {
    let Identity::Device {
        record: then,
        credential,
        payload,
    } = asking.identity
    else {
        return None;
    };
    let record = engine.resolver.resolve(&then.device_id).await.ok()??;
    let is_same = record.public_key == then.public_key;
    (is_same && record.is_operator() && !record.is_revoked()).then_some(Identity::Device {
        record,
        credential: *credential,
        payload: *payload,
    })
}

fn covers(identity: &Identity, requested: &ScopeSet) -> bool {
    match identity {
        Identity::Device { record, .. } => record.approved_scopes.implies_all(requested),
        _ => false,
    }
}

/// How long a gateway may take to write down what it has decided.
const STORE_LAG: Duration = Duration::from_millis(500);
