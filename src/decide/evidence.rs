//! What each step of a decision went by, in words.
//!
//! Only ever called where somebody listens. Whatever a client sent is escaped.

use super::{Barrier, Case, Pass, barrier};
use crate::device::{DeviceRecord, OperatorToken};
use crate::identity::{Credential, Identity};
use crate::profile::ScopeCheck;
use crate::scope::{self, ScopeSet};
use crate::text::escaped;

type Lines = Vec<String>;

pub(super) const fn yes_no(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}

pub(super) fn role(case: Case<'_>) -> Lines {
    vec![format!("its role is \"{}\"", text(&case.claims.role))]
}

pub(super) fn requested(case: Case<'_>) -> Lines {
    vec![format!("it asks for {}", case.claims.requested())]
}

pub(super) fn who(case: Case<'_>) -> String {
    match case.identity {
        Identity::Device { record, .. } => format!("device {}", record.device_id.short()),
        Identity::HostDevice(record) => {
            format!("this host's own device {}", record.device_id.short())
        }
        Identity::User { name, .. } => format!("user {}", text(name)),
        Identity::FreshLocal => "a fresh device of this host".to_owned(),
        Identity::Unknown(_) => "nobody that the shim could vouch for".to_owned(),
    }
}

pub(super) fn identity(case: Case<'_>) -> Lines {
    match case.identity {
        Identity::Device {
            record, credential, ..
        } => vec![
            "it proved itself with the key that was paired".to_owned(),
            match credential {
                Credential::Shared => "it authenticates with the shared secret".to_owned(),
                Credential::DeviceToken => "it authenticates with its own device token".to_owned(),
            },
            format!("its record is approved for {}", record.approved_scopes),
        ],
        Identity::HostDevice(record) => vec![
            "it has no device, but is a direct local client with the shared secret".to_owned(),
            format!(
                "this host's own device is approved for {}",
                record.approved_scopes
            ),
        ],
        Identity::User { name, scopes } => vec![
            match case.claims.device {
                None => "a trusted proxy names the user, and it has no device".to_owned(),
                Some(_) => {
                    "a trusted proxy names the user, and its device is not paired".to_owned()
                }
            },
            format!("policy.users maps {} to {scopes}", text(name)),
        ],
        Identity::FreshLocal => vec![
            "it has no device, but is a direct local client with the shared secret".to_owned(),
            "this host has no device of its own, and the gateway approves a fresh one silently"
                .to_owned(),
        ],
        Identity::Unknown(why) => vec![why.to_string()],
    }
}

/// One line a requested scope.
pub(super) fn entitled(case: Case<'_>) -> Lines {
    let requested = case.claims.requested();
    requested
        .iter()
        .map(|scope| {
            let ground = match barrier(case, scope) {
                None => ground(case, scope),
                Some(barrier) => hindrance(case, scope, barrier),
            };
            format!("{}: {ground}", scope::short(scope))
        })
        .collect()
}

fn ground(case: Case<'_>, scope: &str) -> String {
    match case.identity {
        Identity::Device { record, .. } | Identity::HostDevice(record) => {
            let approved = &record.approved_scopes;
            if approved.names(scope) {
                "approved".to_owned()
            } else if approved.implies(scope) {
                format!("covered by the approved {}", covering(approved, scope))
            } else {
                format!("granted by policy.clients.{}", text(&case.claims.client_id))
            }
        }
        Identity::User { .. } => "mapped by policy.users".to_owned(),
        Identity::FreshLocal => "a fresh local device gets it".to_owned(),
        Identity::Unknown(_) => String::new(),
    }
}

fn hindrance(case: Case<'_>, scope: &str, barrier: Barrier) -> String {
    match barrier {
        Barrier::NotApproved => match case.identity {
            Identity::User { .. } => "not mapped by policy.users".to_owned(),
            _ => "not approved".to_owned(),
        },
        Barrier::Token => {
            let token = match case.identity {
                Identity::Device { record, .. } => token(record),
                _ => String::new(),
            };
            format!("approved, but its own device token {token}")
        }
        Barrier::Policy => {
            let scope = [scope].into_iter().collect();
            let cap = case.policy.cap(&case.claims.client_id, &scope);
            let key = cap.map(|cap| cap.setting).unwrap_or_default();
            format!("beyond the cap {}", text(&key))
        }
        Barrier::Header => {
            let cap = case.cap.map(ToString::to_string).unwrap_or_default();
            format!("beyond the header x-openclaw-scopes, which says {cap}")
        }
    }
}

fn token(record: &DeviceRecord) -> String {
    match &record.operator_token {
        OperatorToken::Live { scopes, .. } => format!("holds {scopes} only"),
        OperatorToken::Revoked => "was revoked".to_owned(),
        OperatorToken::None | OperatorToken::Withheld => "is not known".to_owned(),
    }
}

pub(super) fn metadata(case: Case<'_>, record: &DeviceRecord) -> Lines {
    if !case.profile.pins_metadata {
        return vec![format!("{} pins none", case.profile)];
    }
    let claims = case.claims;
    let compare = |what: &str, pinned: Option<&str>, claimed: &str| match pinned.map(str::trim) {
        None | Some("") => format!("{what}: none was pinned"),
        Some(pinned) => format!(
            "{what}: pinned \"{}\", claimed \"{}\"",
            text(pinned),
            text(claimed.trim())
        ),
    };
    let family = claims.device_family.as_deref().unwrap_or_default();
    vec![
        compare("platform", record.platform.as_deref(), &claims.platform),
        compare("device family", record.device_family.as_deref(), family),
    ]
}

/// How this gateway compares what is held with what is asked for.
pub(super) fn comparison(case: Case<'_>, held: &ScopeSet) -> Lines {
    let requested = case.claims.requested();
    let how = match case.profile.scope_check {
        ScopeCheck::Literal => "compares scopes name by name",
        ScopeCheck::Implied => "lets admin stand for every other, and write for read",
        ScopeCheck::Unknown => "may compare scopes name by name",
    };
    let unnamed: ScopeSet = requested
        .iter()
        .filter(|scope| match case.profile.scope_check {
            ScopeCheck::Implied => !held.implies(scope),
            ScopeCheck::Literal | ScopeCheck::Unknown => !held.names(scope),
        })
        .collect();
    let found = if unnamed.is_empty() {
        format!("{held}: has {requested}")
    } else {
        format!("{held}: does not have {unnamed}")
    };
    vec![format!("{} {how}", case.profile), found]
}

pub(super) fn device_less(case: Case<'_>) -> Lines {
    let client = format!(
        "{}/{}",
        text(&case.claims.client_id),
        text(&case.claims.client_mode)
    );
    vec![format!(
        "{} and a client {client}: only gateway-client/backend from 2026.4.21 and cli/cli from 2026.7.1 keep them for certain",
        case.profile
    )]
}

pub(super) fn user(case: Case<'_>) -> Lines {
    vec![format!(
        "{} and a user that a proxy authenticated: only a Control UI up to 2026.3.13 keeps them for certain",
        case.profile
    )]
}

pub(super) fn wants_device(case: Case<'_>) -> Lines {
    vec![format!(
        "{} refuses a user without a device, whom a proxy authenticated or not",
        case.profile
    )]
}

pub(super) fn delegate(case: Case<'_>, lacks: Option<&Pass>) -> Lines {
    let held = case.delegate.map_or_else(
        || "it is not paired".to_owned(),
        |delegate| format!("it is approved for {delegate}"),
    );
    match lacks {
        Some(Pass::ConfinedToken) => vec![
            "a session by device token may manage its own device only, one of the shim's would manage all".to_owned(),
        ],
        Some(Pass::NoDelegate(lacking)) if case.delegate.is_some() => {
            vec![format!("{held}, and not for {lacking}")]
        }
        _ => vec![held],
    }
}

/// The approved scope that stands for another.
fn covering(approved: &ScopeSet, scope: &str) -> String {
    let cover = approved.iter().find(|name| {
        let alone: ScopeSet = [*name].into_iter().collect();
        alone.implies(scope)
    });
    cover.map_or_else(String::new, |cover| scope::short(cover).to_string())
}

fn text(untrusted: &str) -> String {
    escaped(untrusted).to_string()
}
