//! Whose session is this?

use std::sync::Arc;

use thiserror::Error;

use crate::config::{DeviceLess, Policy};
use crate::device::{DeviceId, DeviceRecord, OperatorToken};
use crate::gateway::GatewayAuth;
use crate::handshake::message::{AuthClaims, Claims, DeviceProof};
use crate::identity::proof::{self, PayloadVersion, ProofError, ProofRules};
use crate::profile::Profile;
use crate::scope::ScopeSet;
use crate::secret::Secret;

/// Who a session is.
#[derive(Clone, Debug)]
pub enum Identity {
    /// A paired device that proved itself.
    Device {
        /// What the gateway knows of it.
        record: Arc<DeviceRecord>,
        /// What it authenticates with.
        credential: Credential,
        /// Which payload it signed.
        payload: PayloadVersion,
    },
    /// Whom a trusted proxy names, with what the operator's policy lets that user hold. Without a device, or with one
    /// that is not paired.
    User {
        /// The name.
        name: String,
        /// The scopes.
        scopes: ScopeSet,
    },
    /// A local client without a device, which stands for the host's own device.
    HostDevice(Arc<DeviceRecord>),
    /// A local client without a device on a host that has none: whatever it asks for, the gateway would approve for a
    /// fresh device, silently (seen on every version from 2026.2.17 to 2026.9.6).
    FreshLocal,
    /// Anyone else.
    Unknown(Unidentified),
}

impl Identity {
    /// The device on whose approval the session rests.
    #[must_use]
    pub fn device(&self) -> Option<&DeviceId> {
        match self {
            Self::Device { record, .. } | Self::HostDevice(record) => Some(&record.device_id),
            Self::User { .. } | Self::FreshLocal | Self::Unknown(_) => None,
        }
    }

    /// Whether a device authenticates with the token that the gateway issued to it.
    #[must_use]
    pub const fn is_by_device_token(&self) -> bool {
        matches!(
            self,
            Self::Device {
                credential: Credential::DeviceToken,
                ..
            }
        )
    }
}

/// What a device authenticates with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential {
    /// The shared secret, which is forwarded and checked by the gateway; or the gateway has none.
    Shared,
    /// The token that the gateway issued to this device, checked here.
    DeviceToken,
}

/// Why a session is nobody that the shim could vouch for. The gateway gets the original and decides.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unidentified {
    /// Its proof breaks a rule.
    #[error("{0}")]
    Proof(#[from] ProofError),
    /// The gateway sent no challenge that the proof could be held against.
    #[error("the gateway sent no challenge to hold its proof against")]
    NoChallenge,
    /// No such device is paired.
    #[error("its device is not paired")]
    NotPaired,
    /// Paired with another key.
    #[error("its public key is not the one that was paired")]
    ForeignKey,
    /// Paired, but only as a node.
    #[error("its device is not approved as an operator")]
    NotAnOperator,
    /// Somebody took its token away, or it has none where the gateway goes by that.
    #[error(
        "its device has no token that holds, and whether it comes in is for the gateway to say"
    )]
    Revoked,
    /// Neither the shared secret nor the device's token.
    #[error("its credential is for the gateway to judge")]
    Credential,
    /// The pairing store cannot be read.
    #[error("the pairing store cannot be read")]
    StoreUnreadable,
    /// No device, and not a direct local client with the shared secret.
    #[error("it has no device and is not a direct local client with the shared secret")]
    NoDevice,
    /// No device, and the configuration leaves such clients alone.
    #[error("it has no device, and the configuration leaves such clients to the gateway")]
    DeviceLessOff,
    /// No device, none of the host's own, and the gateway approves none silently.
    #[error("it has no device, and the gateway approves none without asking (autoApproveLocal)")]
    NothingSilent,
}

/// Where a session comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Circumstances {
    /// From this machine, not through any proxy, and asking for a loopback host.
    pub direct_local: bool,
    /// With an `Origin` header, as every browser sends.
    pub has_origin: bool,
}

/// Checks everything about a device but its record: id, key, time, nonce and signature.
///
/// # Errors
///
/// When the proof does not hold.
pub fn prove(
    claims: &Claims,
    device: &DeviceProof,
    nonce: &str,
    now_ms: i64,
    rules: ProofRules,
    circumstances: Circumstances,
) -> Result<(DeviceId, PayloadVersion), Unidentified> {
    let rules = ProofRules {
        // A proof without a nonce can be played again; the early gateways take one from local clients alone.
        allow_v1: rules.allow_v1 && circumstances.direct_local,
        ..rules
    };
    let version = proof::verify(claims, device, nonce, now_ms, rules)?;
    Ok((DeviceId::new(device.id.as_str()), version))
}

/// Holds a proven device against its record.
#[must_use]
pub fn recognise(
    claims: &Claims,
    device: &DeviceProof,
    payload: PayloadVersion,
    record: Option<Arc<DeviceRecord>>,
    gateway_auth: &GatewayAuth,
    profile: &Profile,
) -> Identity {
    let Some(record) = record else {
        return Identity::Unknown(Unidentified::NotPaired);
    };
    let claimed = proof::raw_public_key(&device.public_key);
    if claimed.is_none() || claimed != proof::raw_public_key(&record.public_key) {
        return Identity::Unknown(Unidentified::ForeignKey);
    }
    if !record.is_operator() {
        return Identity::Unknown(Unidentified::NotAnOperator);
    }
    if profile.takes_role_from(&record) {
        return Identity::Unknown(Unidentified::Revoked);
    }
    match credential(&claims.auth, &record, gateway_auth) {
        Some(credential) => Identity::Device {
            record,
            credential,
            payload,
        },
        None => Identity::Unknown(Unidentified::Credential),
    }
}

/// What the session authenticates with; `None` where that is for the gateway to judge.
///
/// The gateways' precedence: a right shared secret wins over any device token; a wrong `auth.token` is tried as a
/// device token (up to 2026.2.21 clients send theirs there), then `auth.deviceToken`.
fn credential(
    auth: &AuthClaims,
    record: &DeviceRecord,
    gateway_auth: &GatewayAuth,
) -> Option<Credential> {
    if auth.bootstrap_token.is_some() || auth.has_unknown {
        return None;
    }
    if shared_secret_holds(auth, gateway_auth) {
        return Some(Credential::Shared);
    }
    let OperatorToken::Live { token, .. } = &record.operator_token else {
        return None;
    };
    [&auth.token, &auth.device_token]
        .into_iter()
        .flatten()
        .any(|sent| token.matches(sent))
        .then_some(Credential::DeviceToken)
}

fn shared_secret_holds(auth: &AuthClaims, gateway_auth: &GatewayAuth) -> bool {
    let matches = |secret: &Secret, sent: &Option<String>| {
        sent.as_deref().is_some_and(|sent| secret.matches(sent))
    };
    match gateway_auth {
        GatewayAuth::None => true,
        GatewayAuth::Token(secret) => matches(secret, &auth.token),
        GatewayAuth::Password(secret) => matches(secret, &auth.password),
        GatewayAuth::TrustedProxy { .. } | GatewayAuth::Unknown => false,
    }
}

/// The user of that name, where the gateway lets one in and the operator's policy says what it holds.
///
/// Whoever shows a credential of its own beside the proxy's word means to be somebody by that: whether it holds, and
/// what it is good for, is the gateway's to say.
#[must_use]
pub fn user(
    name: &str,
    auth: &AuthClaims,
    gateway_auth: &GatewayAuth,
    policy: &Policy,
) -> Option<Identity> {
    if has_credential_of_its_own(auth) {
        return None;
    }
    let GatewayAuth::TrustedProxy { allow_users, .. } = gateway_auth else {
        return None;
    };
    let allowed = allow_users.is_empty() || allow_users.iter().any(|allowed| allowed == name);
    let held = policy.user(name).filter(|_| allowed)?;
    Some(Identity::User {
        name: name.to_owned(),
        scopes: held.scopes.clone(),
    })
}

/// Whether a client without a device may stand for the host's own.
///
/// Only where nobody but a local user with the shared secret can have sent it: a web page sends an `Origin`, a proxy
/// sends forwarding headers, a rebound name is no loopback host.
///
/// # Errors
///
/// The first condition that it does not meet.
pub fn stands_for_host(
    claims: &Claims,
    circumstances: Circumstances,
    gateway_auth: &GatewayAuth,
    device_less: DeviceLess,
) -> Result<(), Unidentified> {
    let auth = &claims.auth;
    if !circumstances.direct_local
        || circumstances.has_origin
        || has_credential_of_its_own(auth)
        || !shared_secret_holds(auth, gateway_auth)
    {
        return Err(Unidentified::NoDevice);
    }
    match device_less {
        DeviceLess::Local => Ok(()),
        DeviceLess::Off => Err(Unidentified::DeviceLessOff),
    }
}

/// A device's token, one of a setup code, or what later versions may know: anything but the shared secret.
const fn has_credential_of_its_own(auth: &AuthClaims) -> bool {
    auth.device_token.is_some() || auth.bootstrap_token.is_some() || auth.has_unknown
}

#[cfg(test)]
mod tests;
