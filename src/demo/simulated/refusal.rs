//! Refused handshakes: code, message, details, close code and close reason.

use serde_json::{Value, json};

use super::claims::Claims;
use super::frames;
use super::profile::Profile;
use super::proof;
use super::records::{Paired, Pending};

/// A refusal, ready to be sent.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Refusal {
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) details: Option<Value>,
    pub(super) close_code: u16,
    pub(super) close_reason: String,
}

/// Why a device has to be approved (again).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PairingReason {
    NotPaired,
    Role,
    Scope,
    Metadata,
}

impl PairingReason {
    fn name(self) -> &'static str {
        match self {
            Self::NotPaired => "not-paired",
            Self::Role => "role-upgrade",
            Self::Scope => "scope-upgrade",
            Self::Metadata => "metadata-upgrade",
        }
    }

    /// The words of 2026.4.21 and later.
    fn requirement(self) -> &'static str {
        match self {
            Self::NotPaired => "device is not approved yet",
            Self::Role => "device is asking for a higher role than currently approved",
            Self::Scope => "device is asking for more scopes than currently approved",
            Self::Metadata => "device identity changed and must be re-approved",
        }
    }

    fn hint(self) -> &'static str {
        match self {
            Self::NotPaired => "Approve this device from the pending pairing requests.",
            Self::Role => "Review the requested role upgrade, then approve the pending request.",
            Self::Scope => "Review the requested scopes, then approve the pending upgrade.",
            Self::Metadata => {
                "Review the refreshed device details, then approve the pending request."
            }
        }
    }
}

impl Refusal {
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new("INVALID_REQUEST", message)
    }

    fn new(code: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        let close_reason = frames::cut(&message).to_owned();
        Self {
            code,
            message,
            details: None,
            close_code: 1008,
            close_reason,
        }
    }

    pub(super) fn with_details(mut self, details: Option<Value>) -> Self {
        self.details = details;
        self
    }

    pub(super) fn closing(mut self, code: u16) -> Self {
        self.close_code = code;
        self
    }

    fn explained(self, profile: Profile, details: Value) -> Self {
        self.with_details(profile.explains_errors().then_some(details))
    }

    pub(super) fn device_required(profile: Profile) -> Self {
        Self::new("NOT_PAIRED", "device identity required")
            .explained(profile, json!({ "code": "DEVICE_IDENTITY_REQUIRED" }))
    }

    pub(super) fn control_ui_without_device(profile: Profile) -> Self {
        let message = match profile {
            Profile::Literal => "control ui requires HTTPS or localhost (secure context)",
            _ => "control ui requires device identity (use HTTPS or localhost secure context)",
        };
        Self::invalid(message).explained(
            profile,
            json!({ "code": "CONTROL_UI_DEVICE_IDENTITY_REQUIRED" }),
        )
    }

    pub(super) fn origin(profile: Profile, reason: &str) -> Self {
        let message = "origin not allowed (open the Control UI from the gateway host or allow it in \
                       gateway.controlUi.allowedOrigins)";
        let details = json!({ "code": "CONTROL_UI_ORIGIN_NOT_ALLOWED", "reason": reason });
        Self::invalid(message).explained(profile, details)
    }

    pub(super) fn proof(profile: Profile, fault: proof::Fault) -> Self {
        let details = json!({ "code": fault.code(), "reason": fault.reason() });
        Self::invalid(fault.message()).explained(profile, details)
    }

    pub(super) fn pairing(
        profile: Profile,
        reason: PairingReason,
        request: &Pending,
        claims: &Claims,
        known: Option<&Paired>,
    ) -> Self {
        let request_id = &request.request_id;
        let message = match profile {
            Profile::Literal | Profile::Clearing => "pairing required".to_owned(),
            _ => format!("pairing required: {}", reason.requirement()),
        };
        let details = match profile {
            Profile::Literal => json!({ "requestId": request_id }),
            Profile::Clearing => json!({
                "code": "PAIRING_REQUIRED",
                "requestId": request_id,
                "reason": reason.name(),
            }),
            _ => long_details(profile, reason, request, claims, known),
        };
        let mut refusal = Self::new("NOT_PAIRED", message).with_details(Some(details));
        if profile >= Profile::Pending {
            let close = format!("{} (requestId: {request_id})", refusal.message);
            refusal.close_reason = frames::cut(&close).to_owned();
        }
        refusal
    }

    /// The error as it stands in a response frame.
    pub(super) fn error(&self) -> Value {
        let mut error = json!({ "code": self.code, "message": self.message });
        if let Some(details) = &self.details {
            error["details"] = details.clone();
        }
        error
    }
}

/// What 2026.4.21 and later tell about the request; 2026.9.6 lets a waiting Control UI retry.
fn long_details(
    profile: Profile,
    reason: PairingReason,
    request: &Pending,
    claims: &Claims,
    known: Option<&Paired>,
) -> Value {
    let mut out = json!({
        "code": "PAIRING_REQUIRED",
        "reason": reason.name(),
        "requestId": request.request_id,
        "remediationHint": reason.hint(),
    });
    let terminal = ["openclaw-control-ui", "openclaw-tui"].contains(&claims.client_id.as_str());
    if profile == Profile::Latest && terminal && claims.role == "operator" {
        out["recommendedNextStep"] = "wait_then_retry".into();
        out["retryable"] = true.into();
        out["pauseReconnect"] = false.into();
    }
    out["deviceId"] = request.device_id.clone().into();
    out["requestedRole"] = claims.role.clone().into();
    if !claims.scopes.is_empty() {
        out["requestedScopes"] = json!(claims.scopes);
    }
    if let Some(known) = known {
        let (roles, mut scopes) = (known.approved_roles(), known.baseline().to_vec());
        if profile == Profile::Latest {
            scopes.sort();
        }
        if !roles.is_empty() {
            out["approvedRoles"] = json!(roles);
        }
        if !scopes.is_empty() {
            out["approvedScopes"] = json!(scopes);
        }
    }
    out
}
