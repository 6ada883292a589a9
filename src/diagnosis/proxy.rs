//! The proxy before the gateway, and the user whom it names: F11.

use super::Case;
use super::credential::holder;
use super::draft::Draft;
use super::text::Secrets;
use crate::findings::Code;
use crate::gateway::GatewayAuth;
use crate::profile::Version;

/// The gateway believes a proxy that names the user, and it named none, or one that is not allowed.
pub(super) fn proxy_user(case: &Case<'_>) -> Draft {
    let secrets = Secrets::of(case.claims, case.challenge);
    let reason = case
        .message
        .pointer("/error/details/authReason")
        .and_then(|reason| reason.as_str())
        .unwrap_or_default();
    let header = match case.auth {
        GatewayAuth::TrustedProxy { user_header, .. } => secrets.clean(user_header, LONGEST_NAME),
        _ => "that gateway.auth.trustedProxy.userHeader names".to_owned(),
    };
    let draft = if let Some(missing) = reason.strip_prefix(MISSING_HEADER) {
        missing_header(&secrets.clean(missing, LONGEST_NAME))
    } else if goes_by_password(case, reason) {
        by_password(case)
    } else {
        match reason {
            LOOPBACK => on_loopback(case),
            "trusted_proxy_local_interface_source"
            | "trusted_proxy_local_interface_check_failed" => on_an_interface(),
            UNTRUSTED if !case.visit.circumstances.direct_local => unlisted(),
            "trusted_proxy_no_proxies_configured" => unlisted(),
            _ => user(case, reason, &header),
        }
    };
    draft
        .evidence("authReason", secrets.clean(reason, LONGEST_NAME))
        .evidence("userHeader", header)
}

/// Whether it came from the gateway's own machine past the proxy. The gateway takes such clients by its password (seen in
/// 2026.7.35 and 2026.9.6; 2026.2.19 and 2026.3.24 know no such way). Without a device it speaks of that alone.
fn goes_by_password(case: &Case<'_>, reason: &str) -> bool {
    case.visit.circumstances.direct_local
        && case.visit.user.is_none()
        && matches!(reason, "" | UNTRUSTED | LOOPBACK)
        && !case.profile.is_before(FIRST_BY_PASSWORD)
}

fn by_password(case: &Case<'_>) -> Draft {
    let way_out = match case.auth {
        GatewayAuth::TrustedProxy {
            password: Some(_), ..
        } => "give the client that password",
        _ => "set it there where it is not set, restart the gateway, and give it to the client",
    };
    draft(
        "did not come through the proxy, and this gateway takes such clients of its own machine by \
         gateway.auth.password only",
        format!("{way_out}; {}", holder(case, "password")),
        "clients of its own machine need gateway.auth.password",
    )
}

fn missing_header(header: &str) -> Draft {
    draft(
        format!(
            "came without the header {header}, which gateway.auth.trustedProxy.requiredHeaders asks for and the proxy did \
             not send"
        ),
        "let the proxy send it, or take it off that list",
        format!("the proxy did not send the header {header}"),
    )
}

fn on_loopback(case: &Case<'_>) -> Draft {
    let has_switch = case
        .profile
        .version
        .is_none_or(|version| version >= FIRST_WITH_LOOPBACK);
    draft(
        "came through a proxy on the gateway's own machine, which this gateway does not believe",
        "set gateway.auth.trustedProxy.allowLoopback to true (from 2026.5; 2026.4.21 has no such switch)",
        NOBODY_VOUCHES,
    )
    .command(has_switch.then(|| ALLOW_LOOPBACK.to_owned()))
}

/// For the gateway the shim is the proxy (2026.7.35 and 2026.9.6).
fn on_an_interface() -> Draft {
    draft(
        "came through a proxy on the gateway's own machine, which this gateway believes on loopback only",
        "let scope-shim reach the gateway from a loopback address (gateway.remote_source, which gateway.trustedProxies \
         has to list), and set gateway.auth.trustedProxy.allowLoopback to true",
        "the gateway takes a proxy of its own machine on loopback only",
    )
    .command(ALLOW_LOOPBACK.to_owned())
}

fn unlisted() -> Draft {
    draft(
        "came through a proxy that gateway.trustedProxies does not list",
        "list the address that scope-shim reaches the gateway from for remote clients",
        NOBODY_VOUCHES,
    )
}

/// The proxy is believed, and it is the user who is not let in; or nobody named one.
fn user(case: &Case<'_>, reason: &str, header: &str) -> Draft {
    let named = case.visit.user.is_some();
    if is_not_allowed(case, reason) {
        return draft(
            "is a user that gateway.auth.trustedProxy.allowUsers does not list",
            "add the user to that list",
            NOBODY_VOUCHES,
        );
    }
    if named && case.claims.device.is_none() && case.profile.early {
        return draft(
            "is not let in, because this gateway wants a device of every user whom a proxy names",
            "let the user's client show one and approve it (a browser has one over HTTPS, and on localhost), or update the \
             gateway: from 2026.3.22 policy.users can map the user",
            NOBODY_VOUCHES,
        );
    }
    if named {
        return draft(
            "has no scopes of its own here, because policy.users does not map its user",
            "map the user in policy.users of scope-shim's configuration, or let the user's browser pair",
            NOBODY_VOUCHES,
        );
    }
    draft(
        "has no scopes of its own here, because no proxy that scope-shim trusts named its user",
        format!(
            "come through the proxy that authenticates, list that proxy in scope-shim's trusted_proxies, and let it send \
             the header {header}"
        ),
        NOBODY_VOUCHES,
    )
}

/// The gateway says so, or it follows from what its files say: to a page without a device it speaks of the device.
fn is_not_allowed(case: &Case<'_>, reason: &str) -> bool {
    let listed = match (case.auth, &case.visit.user) {
        (GatewayAuth::TrustedProxy { allow_users, .. }, Some(user)) => {
            allow_users.is_empty() || allow_users.contains(user)
        }
        _ => true,
    };
    reason == "trusted_proxy_user_not_allowed" || !listed
}

/// With `gateway.roles` the gateway gives scopes by user, and asks who it is of everyone who has no shared secret
/// (2026.9.6).
pub(super) fn verified_user(case: &Case<'_>) -> Draft {
    match case.auth {
        GatewayAuth::TrustedProxy { .. } => proxy_user(case),
        GatewayAuth::None => draft(
            "names no user, and gateway.roles is set, so the gateway wants one of everybody who sends no secret",
            "let the gateway ask for a token or password (gateway.auth.mode), or take gateway.roles away",
            "gateway.roles is set, and no user was named",
        ),
        _ => draft(
            "names no user, and gateway.roles is set, so a device token alone does not let it in",
            "connect with the shared token or password",
            "gateway.roles is set; connect with the shared token or password",
        ),
    }
}

fn draft(what: impl Into<String>, way_out: impl Into<String>, brief: impl Into<String>) -> Draft {
    Draft::new(Code::ProxyUser, what, way_out, brief)
}

const NOBODY_VOUCHES: &str = "no user that a trusted proxy vouches for";
const ALLOW_LOOPBACK: &str = "openclaw config set gateway.auth.trustedProxy.allowLoopback true";
const UNTRUSTED: &str = "trusted_proxy_untrusted_source";
const LOOPBACK: &str = "trusted_proxy_loopback_source";
const MISSING_HEADER: &str = "trusted_proxy_missing_header_";
const LONGEST_NAME: usize = 60;
const FIRST_BY_PASSWORD: Version = Version::v2026(4, 0);
const FIRST_WITH_LOOPBACK: Version = Version::v2026(5, 0);
