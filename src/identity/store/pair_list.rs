//! The gateway's own answer to `device.pair.list`.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::wire::{PairedEntry, PendingEntry, TokenSummary};
use super::{Snapshot, StoreError};
use crate::device::DeviceRecord;

impl Snapshot {
    /// Reads the payload of an answer to `device.pair.list`: `{pending: [..], paired: [..]}`.
    ///
    /// Every version leaves out the approved scopes, so `scopes` stands for them, and tells of a token only that
    /// it exists or was revoked. An entry of an unknown shape is left out.
    ///
    /// # Errors
    ///
    /// [`StoreError::Answer`] when the payload is no such object.
    pub fn from_pair_list(payload: &Value) -> Result<Self, StoreError> {
        let paired = list(payload, "paired").ok_or(StoreError::Answer {
            what: "it has no list of paired devices",
        })?;
        let mut snapshot = Self::default();
        for entry in paired {
            let record = PairedEntry::<'_, Vec<TokenSummary>>::deserialize(entry)
                .ok()
                .and_then(|entry| entry.into_record(None).ok());
            if let Some(record) = record {
                snapshot
                    .devices
                    .insert(record.device_id.clone(), record.into());
            }
        }
        let left_out = paired.len() - snapshot.devices.len();
        if left_out > 0 {
            tracing::debug!(
                left_out,
                "device.pair.list holds entries of an unknown shape"
            );
        }
        snapshot.pending = list(payload, "pending")
            .unwrap_or_default()
            .iter()
            .filter_map(|entry| {
                PendingEntry::deserialize(entry)
                    .ok()?
                    .into_request(None)
                    .ok()
            })
            .collect();
        Ok(snapshot)
    }

    /// The same where a record of the store itself was `known` before: as long as the gateway tells nothing else of a
    /// device, it is approved for what it was. Of its token no more is said than the gateway says.
    pub(super) fn with_what_is_known(&self, known: &Self) -> Self {
        let completed = |told: &Arc<DeviceRecord>| match known.devices.get(&told.device_id) {
            Some(known) if is_told_of(known, told) => Arc::new(DeviceRecord {
                operator_token: told.operator_token.clone(),
                ..DeviceRecord::clone(known)
            }),
            _ => Arc::clone(told),
        };
        let devices = self.devices.iter();
        Self {
            devices: devices
                .map(|(id, told)| (id.clone(), completed(told)))
                .collect(),
            pending: self.pending.clone(),
        }
    }
}

/// Whether what the gateway tells of a device is what its record says.
fn is_told_of(known: &DeviceRecord, told: &DeviceRecord) -> bool {
    known.public_key == told.public_key
        && known.roles == told.roles
        && known.scopes == told.scopes
        && known.approved_at_ms == told.approved_at_ms
}

fn list<'a>(payload: &'a Value, key: &str) -> Option<&'a [Value]> {
    Some(payload.get(key)?.as_array()?.as_slice())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use serde_json::json;

    use super::*;
    use crate::device::{DeviceId, OperatorToken};

    #[test]
    fn the_gateways_answer_is_read_and_its_tokens_stay_withheld() {
        let snapshot = Snapshot::from_pair_list(&json!({
            "pending": [{
                "requestId": "r1", "deviceId": "d9", "publicKey": "k", "role": "operator", "roles": ["operator"],
                "scopes": ["operator.read"], "silent": false, "isRepair": true, "ts": 7, "remoteIp": "203.0.113.9",
                "clientId": "cli", "clientMode": "cli", "platform": "linux"
            }],
            "paired": [
                {"deviceId": "d1", "publicKey": "k1", "role": "operator", "scopes": ["operator.read"],
                 "tokens": [{"role": "operator", "scopes": ["operator.read"], "createdAtMs": 1}],
                 "approvedVia": "owner", "connected": true, "pendingNodeSurface": null},
                {"deviceId": "d2", "publicKey": "k2", "role": "operator", "scopes": [],
                 "tokens": [{"role": "operator", "scopes": [], "revokedAtMs": 5}]},
                {"deviceId": "d3", "publicKey": "k3", "role": "node", "scopes": []},
            ]
        }))
        .unwrap();
        let record = |id: &str| &snapshot.devices[&DeviceId::new(id)];
        assert!(matches!(
            record("d1").operator_token,
            OperatorToken::Withheld
        ));
        assert!(record("d1").approved_scopes.names("operator.read"));
        assert!(matches!(
            record("d2").operator_token,
            OperatorToken::Revoked
        ));
        assert!(matches!(record("d3").operator_token, OperatorToken::None));
        assert!(!record("d3").is_operator());
        let pending = &snapshot.pending[0];
        assert_eq!(pending.request_id, "r1");
        assert_eq!(pending.device_id, DeviceId::new("d9"));
        assert_eq!((pending.is_repair, pending.silent), (true, false));
        assert_eq!(
            (pending.ts_ms, pending.remote_ip.as_deref()),
            (Some(7), Some("203.0.113.9"))
        );
    }

    #[test]
    fn an_entry_of_another_shape_is_left_out_and_another_answer_is_an_error() {
        let payload =
            json!({"paired": [1, null, {"deviceId": "d1"}, {"deviceId": "d2", "publicKey": "k"}]});
        let snapshot = Snapshot::from_pair_list(&payload).unwrap();
        assert_eq!(snapshot.devices.len(), 1);
        for payload in [
            json!(null),
            json!([]),
            json!({}),
            json!({"paired": {"d1": {}}}),
        ] {
            let error = Snapshot::from_pair_list(&payload).unwrap_err();
            assert!(matches!(error, StoreError::Answer { .. }));
        }
    }
}
