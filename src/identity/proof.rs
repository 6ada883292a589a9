//! The proof of a device: an Ed25519 signature over what the client claims.
//!
//! Payloads and checks as the gateways have them (2026.2.17 to 2026.9.6, run; order of fields read in the packages).
//! A rewritten session carries the shim's signature instead of the client's, so these checks are at least as strict
//! as the gateway's own.

use aws_lc_rs::digest;
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use thiserror::Error;

use crate::device::DeviceId;
use crate::handshake::message::{Claims, DeviceProof};

/// Which of the gateways' signature payloads a proof uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadVersion {
    /// Without a nonce; taken up to 2026.2.21, from local clients.
    V1,
    /// With the nonce; taken by every version.
    V2,
    /// With nonce, platform and device family; taken from 2026.2.26.
    V3,
}

/// What this gateway would let pass.
#[derive(Clone, Copy, Debug)]
pub struct ProofRules {
    /// How far `signedAt` may be from now, in milliseconds.
    pub skew_ms: i64,
    /// Whether a proof without a nonce may do.
    pub allow_v1: bool,
    /// Whether version 3 is known here.
    pub allow_v3: bool,
}

/// Which rule a proof breaks.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProofError {
    /// The key is not an Ed25519 public key.
    #[error("its public key is not an Ed25519 key")]
    BadKey,
    /// The id does not belong to the key.
    #[error("its device id does not belong to its public key")]
    ForeignId,
    /// Signed too long ago, or in the future.
    #[error("its signature is {0} s off this machine's clock")]
    Stale(i64),
    /// No nonce, where one is needed.
    #[error("its proof has no nonce")]
    NoNonce,
    /// The nonce of another connection.
    #[error("its proof carries the nonce of another connection")]
    ForeignNonce,
    /// The signature does not cover what was sent.
    #[error("its signature does not match what it sent")]
    BadSignature,
}

/// Checks the proof in `claims` against the nonce that this connection's challenge carried.
///
/// # Errors
///
/// The first rule that the proof breaks, in the gateways' own order.
pub fn verify(
    claims: &Claims,
    device: &DeviceProof,
    nonce: &str,
    now_ms: i64,
    rules: ProofRules,
) -> Result<PayloadVersion, ProofError> {
    let key = raw_public_key(&device.public_key).ok_or(ProofError::BadKey)?;
    if device_id(&key).as_str() != device.id {
        return Err(ProofError::ForeignId);
    }
    let off_ms = now_ms.saturating_sub(device.signed_at_ms);
    if off_ms.saturating_abs() > rules.skew_ms {
        return Err(ProofError::Stale(off_ms / 1000));
    }
    let signature = decode(&device.signature).ok_or(ProofError::BadSignature)?;
    let public = UnparsedPublicKey::new(&ED25519, key);
    let signed = |version| {
        let payload = payload(version, claims, device, nonce);
        public.verify(payload.as_bytes(), &signature).is_ok()
    };
    match device.nonce.as_deref() {
        None | Some("") if !rules.allow_v1 => Err(ProofError::NoNonce),
        None | Some("") if signed(PayloadVersion::V1) => Ok(PayloadVersion::V1),
        None | Some("") => Err(ProofError::BadSignature),
        Some(sent) if sent != nonce => Err(ProofError::ForeignNonce),
        Some(_) if rules.allow_v3 && signed(PayloadVersion::V3) => Ok(PayloadVersion::V3),
        Some(_) if signed(PayloadVersion::V2) => Ok(PayloadVersion::V2),
        Some(_) => Err(ProofError::BadSignature),
    }
}

/// The text that a device signs.
///
/// `v2|deviceId|client.id|client.mode|role|scope,scope|signedAt|token|nonce`; v1 ends before the nonce, v3 appends
/// `|platform|deviceFamily`, trimmed and in ASCII lower case.
#[must_use]
pub fn payload(
    version: PayloadVersion,
    claims: &Claims,
    device: &DeviceProof,
    nonce: &str,
) -> String {
    let name = match version {
        PayloadVersion::V1 => "v1",
        PayloadVersion::V2 => "v2",
        PayloadVersion::V3 => "v3",
    };
    let mut text = [
        name,
        &device.id,
        &claims.client_id,
        &claims.client_mode,
        &claims.role,
        &claims.scopes.join(","),
        &device.signed_at_ms.to_string(),
        claims.auth.signed_token(),
    ]
    .join("|");
    if version != PayloadVersion::V1 {
        text.push('|');
        text.push_str(nonce);
    }
    if version == PayloadVersion::V3 {
        for field in [
            claims.platform.as_str(),
            claims.device_family.as_deref().unwrap_or_default(),
        ] {
            text.push('|');
            text.push_str(&field.trim().to_ascii_lowercase());
        }
    }
    text
}

/// The raw 32 bytes of an Ed25519 public key, written as base64url or as PEM.
#[must_use]
pub fn raw_public_key(text: &str) -> Option<[u8; 32]> {
    if !text.contains("BEGIN") {
        return decode(text)?.try_into().ok();
    }
    let base64: String = text
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .collect();
    let der = STANDARD.decode(base64.trim()).ok()?;
    let (prefix, key) = der.split_last_chunk::<32>()?;
    (prefix == SPKI_PREFIX).then_some(*key)
}

/// The id that belongs to a raw public key.
#[must_use]
pub fn device_id(raw_key: &[u8; 32]) -> DeviceId {
    let digest = digest::digest(&digest::SHA256, raw_key);
    let digits = digest
        .as_ref()
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 0xf]);
    let hex = digits.filter_map(|digit| char::from_digit(digit.into(), 16));
    DeviceId::new(hex.collect::<String>())
}

fn decode(base64url: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(base64url.trim_end_matches('=')).ok()
}

/// What stands before the raw key in a `SubjectPublicKeyInfo` of Ed25519 (RFC 8410).
const SPKI_PREFIX: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

#[cfg(test)]
mod tests;
