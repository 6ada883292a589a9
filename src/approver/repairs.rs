//! Approves pairing requests that widen nothing.
//!
//! A gateway up to 2026.2.21 files a request when a device that holds `operator.admin` asks for `operator.read`. Calls
//! that meet the shim are rewritten; those of the gateway's own agents go from inside its process to its own port, and
//! wait for somebody to approve the request. Whoever approved `admin` has approved `read`, so the shim does it.

use std::sync::Arc;

use tracing::info;

use super::{approve, look};
use crate::approval::Candidate;
use crate::audit::Rule;
use crate::config::{EntitledRepairs, Mode, Policy};
use crate::engine::Engine;
use crate::profile::ScopeCheck;

/// Looks at the requests that wait, whenever the gateway says that pairing changed, or the mode is switched.
pub async fn run(engine: Arc<Engine>) {
    let mut changes = engine.control.pairing_changes();
    let mut modes = engine.mode.changes();
    loop {
        if engine.rules().policy.entitled_repairs == EntitledRepairs::Approve {
            review(&engine).await;
        }
        let ended = tokio::select! {
            changed = changes.changed() => changed.is_err(),
            switched = modes.changed() => switched.is_err(),
        };
        if ended {
            return;
        }
    }
}

async fn review(engine: &Engine) {
    // From 2026.2.26 on no entitled device has to ask: a request is about something else there. And only the early
    // gateways keep a request as it was filed, so that what is approved is what was looked at.
    if engine.control.standing().profile.scope_check != ScopeCheck::Literal {
        return;
    }
    let Ok(listing) = look(engine).await else {
        return;
    };
    for request in listing.waiting {
        let Ok(Some(record)) = engine.resolver.resolve(&request.device_id).await else {
            continue;
        };
        let seen = Candidate {
            request,
            record: Some(record),
        };
        if !widens_nothing(&seen, &engine.rules().policy) {
            continue;
        }
        match engine.mode.get() {
            Mode::On => {
                approve(engine, Rule::EntitledRepair, &seen).await;
            }
            Mode::Observe => info!(
                device = %seen.request.device_id.short(), scopes = %seen.request.scopes,
                "would approve pairing request {}: it widens nothing", seen.request.request_id.escape_debug()
            ),
            Mode::Off => {}
        }
    }
}

/// Whether a request is for nothing beyond the closure of what was approved, and under the operator's caps.
fn widens_nothing(seen: &Candidate, policy: &Policy) -> bool {
    seen.is_repair() && seen.missing().is_empty() && seen.objection(policy).is_none()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use std::sync::Arc;

    use super::*;
    use crate::config::Policy;
    use crate::device::DeviceRecord;
    use crate::fixture;
    use crate::identity::proof::{device_id, raw_public_key};
    use crate::identity::store::PendingRequest;
    use crate::scope::{ADMIN, PAIRING, READ, ScopeSet, WRITE};

    const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    fn own_id() -> String {
        device_id(&raw_public_key(KEY).unwrap()).as_str().to_owned()
    }

    fn record(approved: &[&str]) -> DeviceRecord {
        fixture::record(&own_id(), KEY, approved)
    }

    fn request(scopes: &[&str]) -> PendingRequest {
        fixture::request("r", &own_id(), Some(KEY), scopes)
    }

    fn approved(request: &PendingRequest, record: &DeviceRecord) -> bool {
        under(&Policy::default(), request, record)
    }

    fn under(policy: &Policy, request: &PendingRequest, record: &DeviceRecord) -> bool {
        let seen = Candidate {
            request: request.clone(),
            record: Some(Arc::new(record.clone())),
        };
        widens_nothing(&seen, policy)
    }

    #[test]
    fn what_the_approved_scopes_cover_widens_nothing() {
        assert!(approved(&request(&[READ]), &record(&[ADMIN, PAIRING])));
        assert!(approved(&request(&[READ, WRITE]), &record(&[ADMIN])));
        assert!(approved(&request(&[READ]), &record(&[WRITE])));
    }

    #[test]
    fn everything_else_waits_for_somebody() {
        let admin = record(&[ADMIN]);
        assert!(
            !approved(&request(&[WRITE]), &record(&[READ])),
            "more than was approved"
        );
        assert!(
            !approved(&request(&["node.invoke"]), &admin),
            "no operator scope"
        );
        assert!(!approved(&request(&[]), &admin), "nothing");
        let foreign = PendingRequest {
            public_key: Some(KEY.replace('A', "B")),
            ..request(&[READ])
        };
        assert!(!approved(&foreign, &admin), "another key");
        let keyless = PendingRequest {
            public_key: None,
            ..request(&[READ])
        };
        assert!(!approved(&keyless, &admin), "no key");
        let paired_otherwise = DeviceRecord {
            public_key: KEY.replace('A', "B"),
            ..record(&[ADMIN])
        };
        assert!(
            !approved(&request(&[READ]), &paired_otherwise),
            "paired with another key"
        );
        let node = PendingRequest {
            roles: vec!["operator".into(), "node".into()],
            ..request(&[READ])
        };
        assert!(!approved(&node, &admin), "another role");
        let paired_as_node = DeviceRecord {
            roles: vec!["node".into()],
            ..record(&[ADMIN])
        };
        assert!(
            !approved(&request(&[READ]), &paired_as_node),
            "not an operator"
        );
        let capped = Policy {
            max_scopes: [PAIRING].into_iter().collect::<ScopeSet>(),
            ..Policy::default()
        };
        assert!(!under(&capped, &request(&[READ]), &admin), "over the cap");
    }
}
