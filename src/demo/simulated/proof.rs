//! The device's proof: an Ed25519 signature over what it claims.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::claims::{Claims, Device};
use super::profile::Profile;
use super::random::hex;

/// Why a proof is refused. The order of the checks is the gateway's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    DeviceId,
    SignedAt,
    NonceMissing,
    NonceMismatch,
    Signature,
}

impl Fault {
    pub(super) fn message(self) -> &'static str {
        match self {
            Self::DeviceId => "device identity mismatch",
            Self::SignedAt => "device signature expired",
            Self::NonceMissing => "device nonce required",
            Self::NonceMismatch => "device nonce mismatch",
            Self::Signature => "device signature invalid",
        }
    }

    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::DeviceId => "device-id-mismatch",
            Self::SignedAt => "device-signature-stale",
            Self::NonceMissing => "device-nonce-missing",
            Self::NonceMismatch => "device-nonce-mismatch",
            Self::Signature => "device-signature",
        }
    }

    pub(super) fn code(self) -> &'static str {
        match self {
            Self::DeviceId => "DEVICE_AUTH_DEVICE_ID_MISMATCH",
            Self::SignedAt => "DEVICE_AUTH_SIGNATURE_EXPIRED",
            Self::NonceMissing => "DEVICE_AUTH_NONCE_REQUIRED",
            Self::NonceMismatch => "DEVICE_AUTH_NONCE_MISMATCH",
            Self::Signature => "DEVICE_AUTH_SIGNATURE_INVALID",
        }
    }
}

/// What the socket, not the client, contributes to the check.
pub(super) struct Context<'a> {
    pub(super) profile: Profile,
    pub(super) nonce: &'a str,
    pub(super) now_ms: i64,
    /// 2026.2.19 lets local clients omit the nonce.
    pub(super) nonce_required: bool,
}

/// Checks the proof as this gateway does; `scopes` are those the client sent.
pub(super) fn verify(context: &Context<'_>, claims: &Claims, device: &Device) -> Result<(), Fault> {
    let key = decode(&device.public_key).ok_or(Fault::DeviceId)?;
    if device_id(&key) != device.id {
        return Err(Fault::DeviceId);
    }
    let skew = i64::try_from(context.profile.signature_skew().as_millis()).unwrap_or(i64::MAX);
    if context.now_ms.abs_diff(device.signed_at) > skew.unsigned_abs() {
        return Err(Fault::SignedAt);
    }
    let nonce = device.nonce.as_deref().unwrap_or("").trim();
    if nonce.is_empty() && context.nonce_required {
        return Err(Fault::NonceMissing);
    }
    if !nonce.is_empty() && nonce != context.nonce {
        return Err(Fault::NonceMismatch);
    }
    let signature = decode(&device.signature).ok_or(Fault::Signature)?;
    let key = UnparsedPublicKey::new(&ED25519, key);
    payloads(context.profile, claims, device, nonce)
        .iter()
        .any(|payload| key.verify(payload.as_bytes(), &signature).is_ok())
        .then_some(())
        .ok_or(Fault::Signature)
}

/// The device id of a raw public key: its SHA-256.
pub(super) fn device_id(key: &[u8]) -> String {
    hex(digest(&SHA256, key).as_ref())
}

/// The texts of which one must be signed: v1 without a nonce, else v2, and v3 where it is known.
fn payloads(profile: Profile, claims: &Claims, device: &Device, nonce: &str) -> Vec<String> {
    let token = match profile {
        Profile::Literal => claims.token.as_deref(),
        _ => [&claims.token, &claims.device_token, &claims.bootstrap_token]
            .into_iter()
            .find_map(Option::as_deref),
    };
    let common = [
        device.id.as_str(),
        &claims.client_id,
        &claims.client_mode,
        &claims.role,
        &claims.scopes.join(","),
        &device.signed_at.to_string(),
        token.unwrap_or(""),
    ]
    .join("|");
    if nonce.is_empty() {
        return vec![format!("v1|{common}")];
    }
    let v2 = format!("v2|{common}|{nonce}");
    if profile == Profile::Literal {
        return vec![v2];
    }
    let platform = metadata(claims.platform.as_deref());
    let family = metadata(claims.device_family.as_deref());
    vec![format!("v3|{common}|{nonce}|{platform}|{family}"), v2]
}

/// How platform and device family are compared: trimmed, in lower case, missing as empty.
pub(super) fn metadata(value: Option<&str>) -> String {
    value.unwrap_or("").trim().to_ascii_lowercase()
}

/// Base64 in either alphabet, padded or not, as Node's decoder takes it.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let text = text
        .trim()
        .trim_end_matches('=')
        .replace('+', "-")
        .replace('/', "_");
    URL_SAFE_NO_PAD
        .decode(text.as_bytes())
        .or_else(|_| STANDARD_NO_PAD.decode(text.as_bytes()))
        .ok()
}
