//! Approves pairing requests that widen nothing.
//!
//! A gateway up to 2026.2.21 files a request when a device that holds `operator.admin` asks for `operator.read`. Calls
//! that meet the shim are rewritten; those of the gateway's own agents go from inside its process to its own port, and
//! wait for somebody to approve the request. Whoever approved `admin` has approved `read`, so the shim does it.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use tracing::{debug, error, info, warn};

use crate::audit::{Audit, Rule};
use crate::config::{EntitledRepairs, Mode, Policy};
use crate::device::DeviceRecord;
use crate::engine::Engine;
use crate::handshake::message::OPERATOR;
use crate::identity::proof::raw_public_key;
use crate::identity::store::{PendingRequest, Snapshot};
use crate::profile::ScopeCheck;
use crate::scope::ScopeSet;

/// Looks at the requests that wait, whenever the gateway says that pairing changed, for as long as it says anything.
pub async fn run(engine: Arc<Engine>, data: &Path) {
    let audit = Audit::new(data);
    let mut changes = engine.control.pairing_changes();
    loop {
        if engine.policy.entitled_repairs == EntitledRepairs::Approve {
            review(&engine, &audit).await;
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}

async fn review(engine: &Engine, audit: &Audit) {
    // From 2026.2.26 on no entitled device has to ask: a request is about something else there. And only the early
    // gateways keep a request as it was filed, so that what is approved is what was looked at.
    if engine.control.standing().profile.scope_check != ScopeCheck::Literal {
        return;
    }
    let Ok(list) = engine.control.call("device.pair.list", json!({})).await else {
        return;
    };
    let keys = pending_keys(&list);
    let Ok(snapshot) = Snapshot::from_pair_list(&list) else {
        return;
    };
    for request in &snapshot.pending {
        let Ok(Some(record)) = engine.resolver.resolve(&request.device_id).await else {
            continue;
        };
        let key = keys
            .iter()
            .find(|(id, _)| *id == request.request_id)
            .map(|(_, key)| key.as_str());
        if !widens_nothing(request, key, &record, &engine.policy) {
            continue;
        }
        match engine.mode.get() {
            Mode::On => approve(engine, audit, request, &record).await,
            Mode::Observe => info!(
                device = %record.device_id.short(), scopes = %request.scopes,
                "would approve pairing request {}: it widens nothing", request.request_id.escape_debug()
            ),
            Mode::Off => {}
        }
    }
}

/// Whether a request is one of a paired operator, with the key that was paired, for nothing beyond the closure of what
/// was approved, and under the operator's caps.
fn widens_nothing(
    request: &PendingRequest,
    key: Option<&str>,
    record: &DeviceRecord,
    policy: &Policy,
) -> bool {
    let paired = raw_public_key(&record.public_key);
    let client_id = request.client_id.as_deref().unwrap_or_default();
    request.device_id == record.device_id
        && paired.is_some()
        && key.and_then(raw_public_key) == paired
        && record.is_operator()
        && request.roles.iter().all(|role| role == OPERATOR)
        && !request.scopes.is_empty()
        && request
            .scopes
            .iter()
            .all(|scope| record.approved_scopes.implies(scope) && policy.allows(client_id, scope))
}

async fn approve(engine: &Engine, audit: &Audit, request: &PendingRequest, record: &DeviceRecord) {
    // Written first: what cannot be accounted for is not done.
    if let Err(error) = audit.approval(Rule::EntitledRepair, request, Some(record)) {
        warn!(
            "left a pairing request that widens nothing, because the audit log cannot be written: {error}"
        );
        return;
    }
    let params = json!({"requestId": request.request_id});
    let device = record.device_id.short();
    if let Err(error) = engine.control.call("device.pair.approve", params).await {
        // Somebody else may have been faster.
        debug!(
            device,
            "a pairing request that widens nothing was not approved: {error}"
        );
        return;
    }
    info!(
        device, scopes = %request.scopes, approved = %record.approved_scopes,
        "approved a pairing request that widens nothing"
    );
    if let Some(wider) = widened(engine, record).await {
        undo(engine, record, &wider).await;
    }
}

/// What the device holds now beyond the closure of what it held before.
///
/// The early gateways that were tried keep a request as it was filed. One that let it grow between the look and the
/// approval would have been tricked into approving more.
async fn widened(engine: &Engine, before: &DeviceRecord) -> Option<ScopeSet> {
    let list = engine
        .control
        .call("device.pair.list", json!({}))
        .await
        .ok()?;
    let now = Snapshot::from_pair_list(&list).ok()?;
    let now = now.devices.get(&before.device_id)?;
    let wider = before.approved_scopes.missing(&now.approved_scopes);
    (!wider.is_empty()).then_some(wider)
}

async fn undo(engine: &Engine, record: &DeviceRecord, wider: &ScopeSet) {
    let device = record.device_id.as_str();
    let removed = engine
        .control
        .call("device.pair.remove", json!({"deviceId": device}))
        .await;
    error!(
        device,
        removed = removed.is_ok(),
        "a pairing request grew by {wider} while it was being approved: the device was removed, and has to pair anew"
    );
}

/// The public keys in `pending`, by request.
fn pending_keys(list: &Value) -> Vec<(String, String)> {
    let pending = list
        .get("pending")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let text = |entry: &Value, key: &str| entry.get(key).and_then(Value::as_str).map(str::to_owned);
    pending
        .filter_map(|entry| Some((text(entry, "requestId")?, text(entry, "publicKey")?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{DeviceLess, Policy};
    use crate::device::{DeviceId, OperatorToken};
    use crate::scope::{ADMIN, ALL, PAIRING, READ, WRITE};

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
        Policy {
            max_scopes: ALL.into_iter().collect(),
            device_less: DeviceLess::Local,
            entitled_repairs: EntitledRepairs::Approve,
            clients: Default::default(),
        }
    }

    fn approved(request: &PendingRequest, record: &DeviceRecord) -> bool {
        widens_nothing(request, Some(KEY), record, &policy())
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
            !widens_nothing(&request(&[READ]), Some(&foreign), &admin, &policy()),
            "another key"
        );
        assert!(
            !widens_nothing(&request(&[READ]), None, &admin, &policy()),
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
            !widens_nothing(&request(&[READ]), Some(KEY), &admin, &capped),
            "over the cap"
        );
    }
}
