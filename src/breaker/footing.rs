//! What a remembered refusal rests on: the device's record, less what changes at every connect.

use crate::device::{DeviceRecord, OperatorToken};
use crate::scope::ScopeSet;

/// What the pairing store says of a device, as far as it decides whether the gateway lets it in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Footing(Option<Paired>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Paired {
    public_key: String,
    roles: Vec<String>,
    approved: ScopeSet,
    platform: Option<String>,
    device_family: Option<String>,
    approved_at_ms: Option<u64>,
    token: Token,
}

/// Not its value: gateways from 2026.8.2 reissue it at will, and what a client holds does not get right by that.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    None,
    Revoked,
    Withheld,
    Live(ScopeSet),
}

impl Footing {
    /// Whether the device was approved for these scopes in this role, or for what implies them.
    pub(super) fn covers(&self, role: &str, scopes: &ScopeSet) -> bool {
        self.0.as_ref().is_some_and(|paired| {
            paired.roles.iter().any(|approved| approved == role)
                && paired.approved.implies_all(scopes)
        })
    }

    /// Of a record, or of its absence.
    #[must_use]
    pub fn of(record: Option<&DeviceRecord>) -> Self {
        Self(record.map(|record| Paired {
            public_key: record.public_key.clone(),
            roles: record.roles.clone(),
            approved: record.approved_scopes.clone(),
            platform: record.platform.clone(),
            device_family: record.device_family.clone(),
            approved_at_ms: record.approved_at_ms,
            token: match &record.operator_token {
                OperatorToken::None => Token::None,
                OperatorToken::Revoked => Token::Revoked,
                OperatorToken::Withheld => Token::Withheld,
                OperatorToken::Live { scopes, .. } => Token::Live(scopes.clone()),
            },
        }))
    }
}
