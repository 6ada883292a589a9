//! The credential: shared secret, device token, and what is said when neither will do.

use serde_json::{Value, json};

use super::claims::Claims;
use super::profile::Profile;

/// What the gateway asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    None,
    Token(String),
    Password(String),
}

impl Mode {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Token(_) => "token",
            Self::Password(_) => "password",
        }
    }
}

/// By what a session was let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    None,
    Token,
    Password,
    DeviceToken,
}

impl Method {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Token => "token",
            Self::Password => "password",
            Self::DeviceToken => "device-token",
        }
    }

    pub(super) fn is_shared(self) -> bool {
        matches!(self, Self::Token | Self::Password)
    }
}

/// Why a credential was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    TokenMissing,
    TokenMismatch,
    PasswordMissing,
    PasswordMismatch,
    BootstrapTokenInvalid,
    DeviceTokenMismatch,
    ScopeMismatch,
}

/// The shared secret alone, before any device is looked at.
pub(super) fn shared(profile: Profile, mode: &Mode, claims: &Claims) -> Result<Method, Reason> {
    let (token, password) = (claims.token.as_deref(), claims.password.as_deref());
    // Seen on 2026.9.6: a secret in the other field will do.
    let other = |secret| {
        if profile == Profile::Latest {
            secret
        } else {
            None
        }
    };
    // Later versions trim what they are given.
    let equal = |given: &str, secret: &str| match profile {
        Profile::Literal => given == secret,
        _ => given.trim() == secret,
    };
    match mode {
        Mode::None => Ok(Method::None),
        Mode::Token(secret) => match token.or_else(|| other(password)) {
            None => Err(Reason::TokenMissing),
            Some(given) if equal(given, secret) => Ok(Method::Token),
            Some(_) => Err(Reason::TokenMismatch),
        },
        Mode::Password(secret) => match password.or_else(|| other(token)) {
            None => Err(Reason::PasswordMissing),
            Some(given) if equal(given, secret) => Ok(Method::Password),
            Some(_) => Err(Reason::PasswordMismatch),
        },
    }
}

impl Reason {
    fn name(self) -> &'static str {
        match self {
            Self::TokenMissing => "token_missing",
            Self::TokenMismatch => "token_mismatch",
            Self::PasswordMissing => "password_missing",
            Self::PasswordMismatch => "password_mismatch",
            Self::BootstrapTokenInvalid => "bootstrap_token_invalid",
            Self::DeviceTokenMismatch => "device_token_mismatch",
            Self::ScopeMismatch => "scope_mismatch",
        }
    }

    fn code(self) -> &'static str {
        match self {
            Self::TokenMissing => "AUTH_TOKEN_MISSING",
            Self::TokenMismatch => "AUTH_TOKEN_MISMATCH",
            Self::PasswordMissing => "AUTH_PASSWORD_MISSING",
            Self::PasswordMismatch => "AUTH_PASSWORD_MISMATCH",
            Self::BootstrapTokenInvalid => "AUTH_BOOTSTRAP_TOKEN_INVALID",
            Self::DeviceTokenMismatch => "AUTH_DEVICE_TOKEN_MISMATCH",
            Self::ScopeMismatch => "AUTH_SCOPE_MISMATCH",
        }
    }

    /// The sentence clients show; the hint in it depends on who asks.
    pub(super) fn message(self, profile: Profile, claims: &Claims, local: bool) -> String {
        let (token_hint, password_hint, missing_hint) = hints(profile, claims, local);
        match self {
            Self::TokenMissing => format!("unauthorized: gateway token missing ({missing_hint})"),
            Self::TokenMismatch => format!("unauthorized: gateway token mismatch ({token_hint})"),
            Self::PasswordMissing => {
                format!("unauthorized: gateway password missing ({password_hint})")
            }
            Self::PasswordMismatch => {
                format!("unauthorized: gateway password mismatch ({password_hint})")
            }
            Self::BootstrapTokenInvalid if profile == Profile::Latest => {
                "unauthorized: setup code invalid, expired, revoked, or already used \
                 (create a new code; review `openclaw devices list`)"
                    .to_owned()
            }
            Self::BootstrapTokenInvalid => {
                "unauthorized: bootstrap token invalid or expired (scan a fresh setup code)"
                    .to_owned()
            }
            Self::DeviceTokenMismatch => {
                "unauthorized: device token mismatch (rotate/reissue device token)".to_owned()
            }
            Self::ScopeMismatch => {
                "unauthorized: device token scope mismatch (re-pair or approve scope upgrade)"
                    .to_owned()
            }
        }
    }

    /// `error.details`; 2026.2.19 has none.
    pub(super) fn details(self, profile: Profile, claims: &Claims) -> Option<Value> {
        if !profile.explains_errors() {
            return None;
        }
        let retry = self == Self::TokenMismatch
            && claims.device.is_some()
            && claims.token.is_some()
            && claims.device_token.is_none();
        let next = match self {
            _ if retry => "retry_with_device_token",
            Self::TokenMissing | Self::PasswordMissing => "update_auth_configuration",
            Self::TokenMismatch | Self::PasswordMismatch | Self::DeviceTokenMismatch => {
                "update_auth_credentials"
            }
            Self::BootstrapTokenInvalid | Self::ScopeMismatch => "review_auth_configuration",
        };
        Some(json!({
            "code": self.code(),
            "authReason": self.name(),
            "canRetryWithDeviceToken": retry,
            "recommendedNextStep": next,
        }))
    }
}

/// What to do about a token, about a password, and about a missing token.
fn hints(
    profile: Profile,
    claims: &Claims,
    local: bool,
) -> (&'static str, &'static str, &'static str) {
    const UI: &str = "open the dashboard URL and paste the token in Control UI settings";
    let terminal_ui = profile >= Profile::Pending && claims.client_id == "openclaw-tui";
    let ui = claims.client_id == "openclaw-control-ui" || terminal_ui || claims.is_webchat();
    let latest = profile == Profile::Latest;
    if claims.client_mode == "cli" && latest && local {
        let token = "use this gateway's gateway.auth.token or pair the device";
        return (token, "use this gateway's gateway.auth.password", token);
    }
    if claims.client_mode == "cli" {
        let token = "set gateway.remote.token to match gateway.auth.token";
        return (
            token,
            "set gateway.remote.password to match gateway.auth.password",
            token,
        );
    }
    if ui {
        let missing = if latest {
            "paste in Control UI settings or openclaw doctor --generate-gateway-token; restart"
        } else {
            UI
        };
        return (UI, "enter the password in Control UI settings", missing);
    }
    (
        "provide gateway auth token",
        "provide gateway auth password",
        "provide gateway auth token",
    )
}
