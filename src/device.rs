//! A device as the gateway knows it: its id, its key and what was approved for it.

use std::fmt;
use std::sync::Arc;

use crate::scope::ScopeSet;
use crate::secret::Secret;
use crate::text::{escaped, first};

/// A device id: the lower-case hexadecimal SHA-256 of the device's raw Ed25519 public key.
///
/// Cheap to clone. Any text is held as it came; [`crate::identity::proof`] decides whether it belongs to a key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceId(Arc<str>);

impl DeviceId {
    /// Wraps an id as it was received or stored.
    #[must_use]
    pub fn new(id: impl Into<Arc<str>>) -> Self {
        Self(id.into())
    }

    /// The whole id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first twelve characters, enough to recognise a device in a log line.
    #[must_use]
    pub fn short(&self) -> String {
        first(&self.0, 12).to_owned()
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escaped(&self.0).fmt(f)
    }
}

/// Whether a client of this id pairs with a setup code, so that it never sees the shared secret.
#[must_use]
pub fn is_paired_by_code(client_id: &str) -> bool {
    matches!(
        client_id,
        "openclaw-ios" | "openclaw-android" | "openclaw-watchos"
    )
}

/// What the gateway's pairing store says of one paired device.
///
/// Fields as in `devices/paired.json` (up to 2026.7.1) and `device_pairing_paired` (from 2026.8.2).
#[derive(Clone, Debug)]
pub struct DeviceRecord {
    /// The device's id.
    pub device_id: DeviceId,
    /// The raw Ed25519 public key as the store writes it: base64url without padding, or PEM.
    pub public_key: String,
    /// A name for people, if one was ever sent.
    pub display_name: Option<String>,
    /// The pinned `client.platform`; from 2026.2.26 another value is refused.
    pub platform: Option<String>,
    /// The pinned `client.deviceFamily`.
    pub device_family: Option<String>,
    /// The client that paired or, up to 2026.5.7, connected last.
    pub client_id: Option<String>,
    /// That client's mode.
    pub client_mode: Option<String>,
    /// Every role the device was approved for.
    pub roles: Vec<String>,
    /// `approvedScopes`, or `scopes` where the store has no such field.
    pub approved_scopes: ScopeSet,
    /// `scopes`: what was last asked for and approved. The gateway tells it where it does not tell what was approved.
    pub scopes: ScopeSet,
    /// The token issued for the `operator` role, unless it was revoked.
    pub operator_token: OperatorToken,
    /// When the device was approved, in milliseconds since the epoch.
    pub approved_at_ms: Option<u64>,
    /// When the device was last seen, in milliseconds since the epoch (from 2026.6.11).
    pub last_seen_at_ms: Option<u64>,
}

/// The state of a device's token for the `operator` role.
#[derive(Clone, Debug)]
pub enum OperatorToken {
    /// None was issued.
    None,
    /// One was issued and then revoked.
    Revoked,
    /// One exists, but this store does not tell its value (`device.pair.list` sends summaries).
    Withheld,
    /// A valid token.
    Live {
        /// The token itself.
        token: Secret,
        /// The scopes it was issued for: a device that authenticates with it gets no more.
        scopes: ScopeSet,
    },
}

impl DeviceRecord {
    /// Whether the device was approved as an operator.
    #[must_use]
    pub fn is_operator(&self) -> bool {
        self.roles.iter().any(|role| role == "operator")
    }

    /// Whether its token was revoked. From 2026.4.21 that takes the role away until somebody approves it anew; before,
    /// whoever has the gateway's secret gets another token.
    #[must_use]
    pub const fn is_revoked(&self) -> bool {
        matches!(self.operator_token, OperatorToken::Revoked)
    }
}
