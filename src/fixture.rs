//! What unit tests need again and again. Each takes what matters to it and changes the rest by `..`.

use crate::device::{DeviceId, DeviceRecord, OperatorToken};
use crate::identity::store::PendingRequest;

/// A paired operator, of whom nothing else is known.
pub(crate) fn record(id: &str, key: &str, approved: &[&str]) -> DeviceRecord {
    DeviceRecord {
        device_id: DeviceId::new(id),
        public_key: key.to_owned(),
        display_name: None,
        platform: None,
        device_family: None,
        client_id: None,
        client_mode: None,
        roles: vec!["operator".to_owned()],
        approved_scopes: approved.iter().copied().collect(),
        scopes: approved.iter().copied().collect(),
        operator_token: OperatorToken::None,
        approved_at_ms: None,
        last_seen_at_ms: None,
    }
}

/// A request of an operator, of whom nothing else is known.
pub(crate) fn request(
    id: &str,
    device: &str,
    key: Option<&str>,
    scopes: &[&str],
) -> PendingRequest {
    PendingRequest {
        request_id: id.to_owned(),
        device_id: DeviceId::new(device),
        public_key: key.map(str::to_owned),
        display_name: None,
        roles: vec!["operator".to_owned()],
        scopes: scopes.iter().copied().collect(),
        client_id: None,
        client_mode: None,
        platform: None,
        is_repair: true,
        silent: false,
        ts_ms: None,
        remote_ip: None,
    }
}
