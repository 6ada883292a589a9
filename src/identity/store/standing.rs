//! What of a snapshot matters to a session.

use std::sync::Arc;

use super::Snapshot;
use crate::device::{DeviceRecord, OperatorToken};

impl Snapshot {
    /// Whether both hold the same devices with the same keys, approvals and tokens.
    ///
    /// Left aside is what a gateway writes at every connect, the name and when the device was last seen, and what no
    /// session has got yet, the pending requests.
    #[must_use]
    pub fn same_standing(&self, other: &Self) -> bool {
        self.devices.len() == other.devices.len()
            && self.devices.iter().all(|(id, record)| {
                let other = other.devices.get(id);
                other.is_some_and(|other| Arc::ptr_eq(record, other) || same_record(record, other))
            })
    }
}

fn same_record(one: &DeviceRecord, other: &DeviceRecord) -> bool {
    // Taken apart, so that a field that is added has to be thought about here.
    let DeviceRecord {
        device_id,
        public_key,
        display_name: _,
        platform,
        device_family,
        client_id,
        client_mode,
        roles,
        approved_scopes,
        scopes: _,
        operator_token,
        approved_at_ms,
        last_seen_at_ms: _,
    } = one;
    *device_id == other.device_id
        && *public_key == other.public_key
        && *platform == other.platform
        && *device_family == other.device_family
        && *client_id == other.client_id
        && *client_mode == other.client_mode
        && *roles == other.roles
        && *approved_scopes == other.approved_scopes
        && *approved_at_ms == other.approved_at_ms
        && same_token(operator_token, &other.operator_token)
}

fn same_token(one: &OperatorToken, other: &OperatorToken) -> bool {
    match (one, other) {
        (OperatorToken::None, OperatorToken::None)
        | (OperatorToken::Revoked, OperatorToken::Revoked)
        | (OperatorToken::Withheld, OperatorToken::Withheld) => true,
        (
            OperatorToken::Live { token, scopes },
            OperatorToken::Live {
                token: other,
                scopes: other_scopes,
            },
        ) => token.matches(other.reveal()) && scopes == other_scopes,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use serde_json::{Value, json};

    use super::*;

    fn snapshot(change: (&str, Value)) -> Snapshot {
        let mut entry = json!({
            "deviceId": "d", "publicKey": "k", "displayName": "n", "platform": "linux", "deviceFamily": "f",
            "clientId": "cli", "clientMode": "cli", "roles": ["operator"], "scopes": ["operator.read"],
            "tokens": [{"role": "operator"}], "approvedAtMs": 1, "lastSeenAtMs": 1
        });
        entry[change.0] = change.1;
        Snapshot::from_pair_list(&json!({"paired": [entry]})).unwrap()
    }

    #[test]
    fn every_field_that_decides_something_counts_and_no_other() {
        let before = snapshot(("deviceId", json!("d")));
        let unseen = [
            ("displayName", json!("m")),
            ("lastSeenAtMs", json!(2)),
            ("connected", json!(true)),
        ];
        for change in unseen {
            assert!(
                before.same_standing(&snapshot(change.clone())),
                "{change:?}"
            );
        }
        let seen = [
            ("deviceId", json!("e")),
            ("publicKey", json!("l")),
            ("platform", json!("darwin")),
            ("deviceFamily", Value::Null),
            ("clientId", json!("test")),
            ("clientMode", json!("test")),
            ("roles", json!(["node"])),
            ("scopes", json!([])),
            ("tokens", json!([{"role": "operator", "revokedAtMs": 1}])),
            ("approvedAtMs", json!(2)),
        ];
        for change in seen {
            assert!(
                !before.same_standing(&snapshot(change.clone())),
                "{change:?}"
            );
        }
        assert!(!before.same_standing(&Snapshot::default()));
        assert!(!Snapshot::default().same_standing(&before));
    }
}
