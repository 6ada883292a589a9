//! What the gateway would do with a handshake that meets no shim.
//!
//! As seen on the real gateways from 2026.2.19 to 2026.9.6.

use crate::decide::{Case, Rewrite, foreseen};
use crate::identity::{Credential, Identity, Unidentified};
use crate::profile::{Profile, ScopeCheck, Version};

/// In one sentence. `local` tells whether the gateway would take the client for a local one without a web page.
pub(super) fn directly(case: Case<'_>, local: bool) -> String {
    let claims = case.claims;
    if !claims.is_operator() || claims.scopes.is_empty() {
        return "the same: the shim does not touch it".to_owned();
    }
    match case.identity {
        Identity::Device { credential, .. } => match foreseen(case) {
            None => "accepted as it stands".to_owned(),
            Some(Rewrite::PinnedMetadata) => {
                "refused: pairing required (metadata-upgrade), until somebody approves the new platform".to_owned()
            }
            Some(_) if *credential == Credential::DeviceToken => {
                "refused: its own device token is too narrow by this gateway's comparison".to_owned()
            }
            Some(_) => upgrade(case.profile, local),
        },
        Identity::Unknown(Unidentified::NotPaired) if local => {
            "approved silently as a fresh local device, if its secret is right".to_owned()
        }
        Identity::Unknown(Unidentified::NotPaired) => {
            "refused: pairing required; a request waits for somebody's approval".to_owned()
        }
        Identity::User { .. } if claims.device.is_some() => {
            "a matter of its version: let in without scopes around 2026.5.7, with them before, and pairing required after".to_owned()
        }
        Identity::User { .. } if case.profile.keeps_users(&claims.client_id) => {
            "accepted as it stands, with every scope that it asks for".to_owned()
        }
        Identity::User { .. } => {
            "let in without scopes: every call fails with \"missing scope\"".to_owned()
        }
        Identity::HostDevice(_) | Identity::FreshLocal => device_less(case),
        Identity::Unknown(_) if claims.device.is_none() => device_less(case),
        Identity::Unknown(_) => "the same: the gateway judges it".to_owned(),
    }
}

/// A paired device asks for what the gateway does not find in its record.
fn upgrade(profile: &Profile, local: bool) -> String {
    let refused =
        "refused: pairing required (scope-upgrade); a request waits for somebody's approval";
    if !local || profile.early {
        return refused.to_owned();
    }
    match profile.version {
        // Silent for local clients from 2026.2.22 to 2026.3.24 and again from 2026.8.2.
        Some(version) if version <= Version::v2026(3, 24) || version >= Version::v2026(8, 2) => {
            "the gateway would widen the approval of a local device silently".to_owned()
        }
        Some(_) if profile.scope_check == ScopeCheck::Implied => refused.to_owned(),
        Some(_) | None => format!("perhaps {refused}"),
    }
}

fn device_less(case: Case<'_>) -> String {
    let claims = case.claims;
    let local = !matches!(case.identity, Identity::Unknown(_));
    if local
        && case
            .profile
            .keeps_device_less(&claims.client_id, &claims.client_mode)
    {
        return "accepted as it stands".to_owned();
    }
    "refused for want of a device, or let in without scopes: every call fails with \"missing scope\"".to_owned()
}
