//! What the gateway says of its devices and requests.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Value, json};
use thiserror::Error;

use crate::control::{CallError, Calls};
use crate::device::{DeviceId, DeviceRecord, OperatorToken};
use crate::handshake::message::OPERATOR;
use crate::identity::store::{PendingRequest, Snapshot, StoreError};
use crate::scope::ScopeSet;

/// An answer to `device.pair.list`, with the scopes of tokens, but no token.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// The paired devices. Their approved scopes are `scopes`: no gateway lists `approvedScopes`.
    pub devices: HashMap<DeviceId, Arc<DeviceRecord>>,
    /// What waits, oldest first.
    pub waiting: Vec<PendingRequest>,
    tokens: HashMap<DeviceId, ScopeSet>,
}

/// Why there is no listing.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LookError {
    /// The gateway did not list its devices.
    #[error("the gateway did not list its devices: {0}")]
    Call(#[from] CallError),
    /// The list is not understood.
    #[error(transparent)]
    Answer(#[from] StoreError),
}

/// Asks the gateway for its devices and requests.
///
/// # Errors
///
/// When it does not answer with a list.
pub async fn look(session: &mut impl Calls) -> Result<Listing, LookError> {
    let answer = session.call("device.pair.list", json!({})).await?;
    Ok(Listing::read(&answer)?)
}

impl Listing {
    pub(crate) fn read(answer: &Value) -> Result<Self, StoreError> {
        let snapshot = Snapshot::from_pair_list(answer)?;
        let mut waiting = snapshot.pending;
        waiting.sort_by_key(|request| (request.ts_ms, request.request_id.clone()));
        Ok(Self {
            devices: snapshot.devices,
            waiting,
            tokens: entries(answer, "paired").filter_map(live_token).collect(),
        })
    }

    /// The same from what the gateway's own store holds, of which these requests still wait.
    #[must_use]
    pub fn of_store(store: &Snapshot, mut waiting: Vec<PendingRequest>) -> Self {
        waiting.sort_by_key(|request| (request.ts_ms, request.request_id.clone()));
        let tokens = store
            .devices
            .values()
            .filter_map(|record| match &record.operator_token {
                OperatorToken::Live { scopes, .. } => {
                    Some((record.device_id.clone(), scopes.clone()))
                }
                OperatorToken::None | OperatorToken::Revoked | OperatorToken::Withheld => None,
            });
        Self {
            devices: store.devices.clone(),
            tokens: tokens.collect(),
            waiting,
        }
    }

    /// What the live operator token of a device was issued for; `None` where there is no such token.
    #[must_use]
    pub fn token_scopes(&self, device: &DeviceId) -> Option<&ScopeSet> {
        self.tokens.get(device)
    }

    /// The request with this id.
    #[must_use]
    pub fn request(&self, id: &str) -> Option<&PendingRequest> {
        self.waiting.iter().find(|request| request.request_id == id)
    }
}

fn live_token(device: &Value) -> Option<(DeviceId, ScopeSet)> {
    let live = entries(device, "tokens").find(|token| {
        text(token, "role") == Some(OPERATOR) && token.get("revokedAtMs").is_none_or(Value::is_null)
    })?;
    let scopes = entries(live, "scopes").filter_map(Value::as_str).collect();
    Some((DeviceId::new(text(device, "deviceId")?), scopes))
}

fn entries<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value
        .get(key)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str)
}
