//! Approves pairing requests that widen nothing.
//!
//! A gateway up to 2026.2.21 files a request when a device that holds `operator.admin` asks for `operator.read`. Calls
//! that meet the shim are rewritten; those of the gateway's own agents go from inside its process to its own port, and
//! wait for somebody to approve the request. Whoever approved `admin` has approved `read`, so the shim does it.

use std::sync::Arc;

use tracing::info;

use super::{Waiting, approve};
use crate::audit::Rule;
use crate::config::{EntitledRepairs, Mode, Policy};
use crate::device::DeviceRecord;
use crate::engine::Engine;
use crate::identity::store::PendingRequest;
use crate::profile::ScopeCheck;

/// Looks at the requests that wait, whenever the gateway says that pairing changed, for as long as it says anything.
pub async fn run(engine: Arc<Engine>) {
    let mut changes = engine.control.pairing_changes();
    loop {
        if engine.policy.entitled_repairs == EntitledRepairs::Approve {
            review(&engine).await;
        }
        if changes.changed().await.is_err() {
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
    let Ok(waiting) = Waiting::look(engine).await else {
        return;
    };
    for request in &waiting.requests {
        let Ok(Some(record)) = engine.resolver.resolve(&request.device_id).await else {
            continue;
        };
        if !widens_nothing(&waiting, request, &record, &engine.policy) {
            continue;
        }
        match engine.mode.get() {
            Mode::On => {
                let _ = approve(engine, Rule::EntitledRepair, request, &record).await;
            }
            Mode::Observe => info!(
                device = %record.device_id.short(), scopes = %request.scopes,
                "would approve pairing request {}: it widens nothing", request.request_id.escape_debug()
            ),
            Mode::Off => {}
        }
    }
}

/// Whether a request is for nothing beyond the closure of what was approved, and under the operator's caps.
fn widens_nothing(
    waiting: &Waiting,
    request: &PendingRequest,
    record: &DeviceRecord,
    policy: &Policy,
) -> bool {
    let client_id = request.client_id.as_deref().unwrap_or_default();
    waiting.is_repair_of(request, record)
        && request
            .scopes
            .iter()
            .all(|scope| record.approved_scopes.implies(scope) && policy.allows(client_id, scope))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Policy;
    use crate::device::{DeviceId, OperatorToken};
    use crate::scope::{ADMIN, PAIRING, READ, ScopeSet, WRITE};

    const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    fn record(approved: &[&str]) -> DeviceRecord {
        DeviceRecord {
            device_id: DeviceId::new("d"),
            public_key: KEY.into(),
            display_name: None,
            platform: None,
            device_family: None,
            client_id: None,
            client_mode: None,
            roles: vec!["operator".into()],
            approved_scopes: approved.iter().copied().collect(),
            operator_token: OperatorToken::None,
            approved_at_ms: None,
            last_seen_at_ms: None,
        }
    }

    fn request(scopes: &[&str]) -> PendingRequest {
        PendingRequest {
            request_id: "r".into(),
            device_id: DeviceId::new("d"),
            roles: vec!["operator".into()],
            scopes: scopes.iter().copied().collect(),
            client_id: Some("gateway-client".into()),
            client_mode: None,
            platform: None,
            is_repair: true,
            silent: false,
            ts_ms: None,
            remote_ip: None,
        }
    }

    fn policy() -> Policy {
        Policy::default()
    }

    fn keyed(key: Option<&str>) -> Waiting {
        Waiting {
            requests: Vec::new(),
            keys: key
                .map(|key| ("r".to_owned(), key.to_owned()))
                .into_iter()
                .collect(),
        }
    }

    fn approved(request: &PendingRequest, record: &DeviceRecord) -> bool {
        widens_nothing(&keyed(Some(KEY)), request, record, &policy())
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
        let foreign = KEY.replace('A', "B");
        assert!(
            !widens_nothing(&keyed(Some(&foreign)), &request(&[READ]), &admin, &policy()),
            "another key"
        );
        assert!(
            !widens_nothing(&keyed(None), &request(&[READ]), &admin, &policy()),
            "no key"
        );
        let other = PendingRequest {
            device_id: DeviceId::new("e"),
            ..request(&[READ])
        };
        assert!(!approved(&other, &admin), "another device");
        let node = PendingRequest {
            roles: vec!["operator".into(), "node".into()],
            ..request(&[READ])
        };
        assert!(!approved(&node, &admin), "another role");
        let mut paired_as_node = record(&[ADMIN]);
        paired_as_node.roles = vec!["node".into()];
        assert!(
            !approved(&request(&[READ]), &paired_as_node),
            "not an operator"
        );
        let capped = Policy {
            max_scopes: [PAIRING].into_iter().collect::<ScopeSet>(),
            ..policy()
        };
        assert!(
            !widens_nothing(&keyed(Some(KEY)), &request(&[READ]), &admin, &capped),
            "over the cap"
        );
    }
}
