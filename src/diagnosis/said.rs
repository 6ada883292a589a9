//! What a refusal says, in the words of every generation.
//!
//! `error.details.code` from 2026.2.26, for proofs one code for all until 2026.3.13 names each; before that there is
//! only the message. The messages stayed the same from 2026.2.17 to 2026.9.6 (run on every version).

use serde_json::Value;

use crate::handshake::message::Refusal;

/// What the gateway objects to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// Somebody has to approve something.
    Pairing(Option<Upgrade>),
    /// The credential.
    Credential(Credential),
    /// Too many wrong credentials from one address.
    RateLimited,
    /// The gateway asks for a secret of this kind, and has none itself.
    Unconfigured(&'static str),
    /// What the proxy in front says about the user.
    ProxyUser,
    /// It goes by users, and nobody has told it which one this is.
    VerifiedUser,
    /// The user's profile cannot be looked up.
    Profile,
    /// There is no device identity.
    NoDevice,
    /// The page that the browser shows.
    Origin,
    /// The page's build.
    StaleBuild,
    /// The proof of the device.
    Proof(Fault),
    /// The protocol version.
    Protocol,
    /// The gateway's own node, of an earlier release than the gateway.
    OldNode,
    /// A field that the gateway's schema does not have, or misses.
    Schema,
    /// It starts or restarts.
    Unavailable,
    /// Anything else.
    Other,
}

/// What has to be approved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Upgrade {
    NotPaired,
    Role,
    Scope,
    Metadata,
}

/// What is wrong with the credential, as far as the gateway says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Credential {
    Missing,
    Mismatch,
    DeviceToken,
    DeviceScopes,
    Bootstrap,
    Tailscale,
}

/// What is wrong with the proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Expired,
    Signature,
    NonceMissing,
    NonceForeign,
    DeviceId,
    PublicKey,
}

impl Said {
    pub(super) fn of(refusal: &Refusal, message: &Value) -> Self {
        if refusal.wants_pairing() {
            return Self::Pairing(upgrade(refusal.reason.as_deref()));
        }
        let details = message.pointer("/error/details");
        let detail = |key: &str| details.and_then(|details| details.get(key));
        if detail("reloadRequired") == Some(&Value::Bool(true)) {
            return Self::StaleBuild;
        }
        let reason = detail("authReason").and_then(Value::as_str);
        if reason.is_some_and(|reason| reason.starts_with("trusted_proxy")) {
            return Self::ProxyUser;
        }
        let by_code = refusal.details_code.as_deref().and_then(by_code);
        by_code.unwrap_or_else(|| by_words(&refusal.code, &refusal.message))
    }
}

fn upgrade(reason: Option<&str>) -> Option<Upgrade> {
    Some(match reason? {
        "not-paired" => Upgrade::NotPaired,
        "role-upgrade" => Upgrade::Role,
        "scope-upgrade" => Upgrade::Scope,
        "metadata-upgrade" => Upgrade::Metadata,
        _ => return None,
    })
}

/// `None` where the words say more than the code.
fn by_code(code: &str) -> Option<Said> {
    Some(match code {
        "AUTH_REQUIRED" | "AUTH_TOKEN_MISSING" | "AUTH_PASSWORD_MISSING" => {
            Said::Credential(Credential::Missing)
        }
        "AUTH_TOKEN_MISMATCH" | "AUTH_PASSWORD_MISMATCH" => Said::Credential(Credential::Mismatch),
        "AUTH_DEVICE_TOKEN_MISMATCH" => Said::Credential(Credential::DeviceToken),
        "AUTH_SCOPE_MISMATCH" => Said::Credential(Credential::DeviceScopes),
        "AUTH_BOOTSTRAP_TOKEN_INVALID" => Said::Credential(Credential::Bootstrap),
        "AUTH_TAILSCALE_IDENTITY_MISSING"
        | "AUTH_TAILSCALE_PROXY_MISSING"
        | "AUTH_TAILSCALE_WHOIS_FAILED"
        | "AUTH_TAILSCALE_IDENTITY_MISMATCH" => Said::Credential(Credential::Tailscale),
        "AUTH_TOKEN_NOT_CONFIGURED" => Said::Unconfigured("token"),
        "AUTH_PASSWORD_NOT_CONFIGURED" => Said::Unconfigured("password"),
        "AUTH_RATE_LIMITED" => Said::RateLimited,
        "AUTH_IDENTITY_HEADER_REQUIRED" => Said::ProxyUser,
        "AUTH_VERIFIED_USER_REQUIRED" => Said::VerifiedUser,
        "AUTHENTICATED_PROFILE_UNAVAILABLE" => Said::Profile,
        "CONTROL_UI_DEVICE_IDENTITY_REQUIRED" | "DEVICE_IDENTITY_REQUIRED" => Said::NoDevice,
        "CONTROL_UI_ORIGIN_NOT_ALLOWED" => Said::Origin,
        "CONTROL_UI_BUILD_MISMATCH" => Said::StaleBuild,
        "DEVICE_AUTH_SIGNATURE_EXPIRED" => Said::Proof(Fault::Expired),
        "DEVICE_AUTH_SIGNATURE_INVALID" => Said::Proof(Fault::Signature),
        "DEVICE_AUTH_NONCE_REQUIRED" => Said::Proof(Fault::NonceMissing),
        "DEVICE_AUTH_NONCE_MISMATCH" => Said::Proof(Fault::NonceForeign),
        "DEVICE_AUTH_DEVICE_ID_MISMATCH" => Said::Proof(Fault::DeviceId),
        "DEVICE_AUTH_PUBLIC_KEY_INVALID" => Said::Proof(Fault::PublicKey),
        "CLIENT_VERSION_MISMATCH" => Said::OldNode,
        _ => return None,
    })
}

fn by_words(code: &str, message: &str) -> Said {
    let words: &[(&str, Said)] = &[
        ("Control UI updated", Said::StaleBuild),
        ("protocol mismatch", Said::Protocol),
        (
            "device token mismatch",
            Said::Credential(Credential::DeviceToken),
        ),
        ("token mismatch", Said::Credential(Credential::Mismatch)),
        ("password mismatch", Said::Credential(Credential::Mismatch)),
        ("token not configured", Said::Unconfigured("token")),
        ("password not configured", Said::Unconfigured("password")),
        ("token missing", Said::Credential(Credential::Missing)),
        ("password missing", Said::Credential(Credential::Missing)),
        (
            "bootstrap token invalid",
            Said::Credential(Credential::Bootstrap),
        ),
        (
            "unauthorized: tailscale",
            Said::Credential(Credential::Tailscale),
        ),
        ("too many failed authentication attempts", Said::RateLimited),
        ("control ui requires", Said::NoDevice),
        ("device identity required", Said::NoDevice),
        ("origin not allowed", Said::Origin),
        ("device signature expired", Said::Proof(Fault::Expired)),
        ("device signature invalid", Said::Proof(Fault::Signature)),
        ("device nonce required", Said::Proof(Fault::NonceMissing)),
        (
            "at /device: must have required property 'nonce'",
            Said::Proof(Fault::NonceMissing),
        ),
        ("device nonce mismatch", Said::Proof(Fault::NonceForeign)),
        ("device identity mismatch", Said::Proof(Fault::DeviceId)),
        ("device public key invalid", Said::Proof(Fault::PublicKey)),
        ("invalid connect params", Said::Schema),
    ];
    let known = words.iter().find(|(words, _)| message.contains(words));
    match known {
        Some((_, said)) => *said,
        // What it cannot do at any other time, it says in other words.
        None if code == "UNAVAILABLE" && message.contains("starting") => Said::Unavailable,
        None => Said::Other,
    }
}
