//! Approves pairing requests through the shim's own session with the gateway, under the operator's policy.
//!
//! Whatever is approved is written to the audit log first, and looked at afterwards.

mod repairs;
mod upgrade;

use serde_json::{Value, json};
use thiserror::Error;
use tracing::{debug, error, info, warn};

use crate::audit::Rule;
use crate::control::CallError;
use crate::device::DeviceRecord;
use crate::engine::Engine;
use crate::handshake::message::OPERATOR;
use crate::identity::proof::raw_public_key;
use crate::identity::store::{PendingRequest, Snapshot, StoreError};
use crate::scope::ScopeSet;

pub use repairs::run;
pub use upgrade::{Asking, upgrade, wait};

/// The pairing requests that wait on the gateway.
#[derive(Debug, Default)]
struct Waiting {
    requests: Vec<PendingRequest>,
    /// The public keys that they are for, by request.
    keys: Vec<(String, String)>,
}

/// Why the requests that wait cannot be told.
#[derive(Debug, Error)]
enum LookError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Answer(#[from] StoreError),
}

/// Why something was not approved.
#[derive(Debug, Error)]
enum Unapproved {
    #[error("the audit log cannot be written: {0}")]
    Unaccountable(#[from] std::io::Error),
    #[error(transparent)]
    Refused(#[from] CallError),
    #[error("the request grew by {0} while it was being approved")]
    Grew(ScopeSet),
}

impl Waiting {
    async fn look(engine: &Engine) -> Result<Self, LookError> {
        let list = engine.control.call("device.pair.list", json!({})).await?;
        Ok(Self {
            keys: pending_keys(&list),
            requests: Snapshot::from_pair_list(&list)?.pending,
        })
    }

    fn find(&self, request_id: &str) -> Option<&PendingRequest> {
        self.requests
            .iter()
            .find(|request| request.request_id == request_id)
    }

    /// Whether a request is one of a paired operator, with the key that was paired, for operator scopes and nothing
    /// else.
    fn is_repair_of(&self, request: &PendingRequest, record: &DeviceRecord) -> bool {
        let paired = raw_public_key(&record.public_key);
        let key = self.keys.iter().find(|(id, _)| *id == request.request_id);
        request.device_id == record.device_id
            && paired.is_some()
            && key.and_then(|(_, key)| raw_public_key(key)) == paired
            && record.is_operator()
            && request.roles.iter().all(|role| role == OPERATOR)
            && !request.scopes.is_empty()
    }
}

/// Approves what was looked at, and takes it back if it turns out to have been more.
async fn approve(
    engine: &Engine,
    rule: Rule,
    request: &PendingRequest,
    record: &DeviceRecord,
) -> Result<(), Unapproved> {
    let device = record.device_id.short();
    // Written first: what cannot be accounted for is not done.
    if let Err(error) = engine.audit.approval(rule, request, Some(record)) {
        warn!(
            device,
            "left a pairing request alone, because the audit log cannot be written: {error}"
        );
        return Err(error.into());
    }
    let params = json!({"requestId": request.request_id});
    if let Err(error) = engine.control.call("device.pair.approve", params).await {
        // Somebody else may have been faster.
        debug!(device, "a pairing request was not approved: {error}");
        return Err(error.into());
    }
    info!(
        device, scopes = %request.scopes, before = %record.approved_scopes, rule = rule.as_str(),
        "approved a pairing request"
    );
    if let Some(wider) = widened(engine, request, record).await {
        undo(engine, record, &wider).await;
        return Err(Unapproved::Grew(wider));
    }
    Ok(())
}

/// What the device holds now beyond the closure of what it held before and what was looked at.
///
/// A gateway that merges another attempt into a request that waits could be made to let it grow between the look and
/// the approval.
async fn widened(
    engine: &Engine,
    request: &PendingRequest,
    before: &DeviceRecord,
) -> Option<ScopeSet> {
    let list = engine
        .control
        .call("device.pair.list", json!({}))
        .await
        .ok()?;
    let now = Snapshot::from_pair_list(&list).ok()?;
    let now = now.devices.get(&before.device_id)?;
    let seen: ScopeSet = before
        .approved_scopes
        .iter()
        .chain(request.scopes.iter())
        .collect();
    let wider = seen.missing(&now.approved_scopes);
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
