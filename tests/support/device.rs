//! A device with a real Ed25519 key.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Which text is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    /// Without a nonce: 2026.2 and local clients only.
    V1,
    /// With the nonce: every version.
    V2,
    /// With platform and device family: 2026.2.26 and later.
    V3,
}

/// What goes into the signature.
#[derive(Clone, Debug, Default)]
pub struct Claim<'a> {
    pub client_id: &'a str,
    pub client_mode: &'a str,
    pub role: &'a str,
    pub scopes: &'a [String],
    pub signed_at_ms: i64,
    pub token: &'a str,
    pub nonce: &'a str,
    pub platform: &'a str,
    pub device_family: &'a str,
}

/// A device that can prove who it is. Clones are the same device.
#[derive(Clone, Debug)]
pub struct TestDevice {
    seed: [u8; 32],
    public: Vec<u8>,
}

impl TestDevice {
    /// A device with a fresh key.
    pub fn new() -> Self {
        let mut seed = [0; 32];
        aws_lc_rs::rand::fill(&mut seed).unwrap();
        Self::from_seed(seed)
    }

    /// The device of a known key.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let key = Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
        let public = key.public_key().as_ref().to_vec();
        Self { seed, public }
    }

    /// The raw private key.
    pub fn seed(&self) -> [u8; 32] {
        self.seed
    }

    /// The lower-case hexadecimal SHA-256 of the raw public key.
    pub fn id(&self) -> String {
        let hash = digest(&SHA256, &self.public);
        hash.as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// The raw public key in unpadded base64url.
    pub fn public_key(&self) -> String {
        URL_SAFE_NO_PAD.encode(&self.public)
    }

    /// Signs any text.
    pub fn sign(&self, text: &str) -> String {
        let key = Ed25519KeyPair::from_seed_unchecked(&self.seed).unwrap();
        URL_SAFE_NO_PAD.encode(key.sign(text.as_bytes()).as_ref())
    }

    /// The text of one payload version.
    pub fn payload(&self, version: Payload, claim: &Claim<'_>) -> String {
        let common = [
            self.id().as_str(),
            claim.client_id,
            claim.client_mode,
            claim.role,
            &claim.scopes.join(","),
            &claim.signed_at_ms.to_string(),
            claim.token,
        ]
        .join("|");
        let nonce = claim.nonce;
        let lower = |text: &str| text.trim().to_ascii_lowercase();
        match version {
            Payload::V1 => format!("v1|{common}"),
            Payload::V2 => format!("v2|{common}|{nonce}"),
            Payload::V3 => {
                let (platform, family) = (lower(claim.platform), lower(claim.device_family));
                format!("v3|{common}|{nonce}|{platform}|{family}")
            }
        }
    }
}
