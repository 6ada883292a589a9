//! The gateway itself, and the proxy before it: F11, F17, and whatever else it says.

use serde_json::Value;

use super::Case;
use super::draft::Draft;
use super::text::Secrets;
use crate::findings::Code;
use crate::gateway::GatewayAuth;
use crate::profile::Version;

/// The gateway believes a proxy that names the user, and it named none, or one that is not allowed.
pub(super) fn proxy_user(case: &Case<'_>) -> Draft {
    let secrets = Secrets::of(case.claims, case.challenge);
    let detail = |key: &str| {
        let value = case.message.pointer(&format!("/error/details/{key}"));
        value.and_then(Value::as_str)
    };
    let reason = detail("authReason").unwrap_or_default();
    let header = match case.auth {
        GatewayAuth::TrustedProxy { user_header, .. } => secrets.clean(user_header, 60),
        _ => "that gateway.auth.trustedProxy.userHeader names".to_owned(),
    };
    let (what, way_out) = match reason {
        "trusted_proxy_loopback_source" => (
            "came through a proxy on the gateway's own machine, which this gateway does not believe",
            "set gateway.auth.trustedProxy.allowLoopback to true (from 2026.5; 2026.4.21 has no such switch)".to_owned(),
        ),
        "trusted_proxy_untrusted_source" | "trusted_proxy_no_proxies_configured" => (
            "came through a proxy that gateway.trustedProxies does not list",
            "list the address that scope-shim reaches the gateway from for remote clients".to_owned(),
        ),
        _ if is_not_allowed(case, reason) => (
            "is a user that gateway.auth.trustedProxy.allowUsers does not list",
            "add the user to that list".to_owned(),
        ),
        _ if case.visit.user.is_some() && case.claims.device.is_none() && case.profile.early => (
            "is not let in, because this gateway wants a device of every user whom a proxy names",
            "let the user's client show one and approve it (a browser has one over HTTPS, and on localhost), or update the \
             gateway: from 2026.3.22 policy.users can map the user"
                .to_owned(),
        ),
        _ if case.visit.user.is_some() => (
            "has no scopes of its own here, because policy.users does not map its user",
            "map the user in policy.users of scope-shim's configuration, or let the user's browser pair".to_owned(),
        ),
        _ => (
            "has no scopes of its own here, because no proxy that scope-shim trusts named its user",
            format!(
                "come through the proxy that authenticates, list that proxy in scope-shim's trusted_proxies, and let \
                 it send the header {header}"
            ),
        ),
    };
    let has_switch = case
        .profile
        .version
        .is_none_or(|version| version >= Version::v2026(5, 0));
    let command = (reason == "trusted_proxy_loopback_source" && has_switch)
        .then(|| "openclaw config set gateway.auth.trustedProxy.allowLoopback true".to_owned());
    Draft::new(
        Code::ProxyUser,
        what,
        way_out,
        "no user that a trusted proxy vouches for",
    )
    .command(command)
    .evidence("authReason", secrets.clean(reason, 60))
    .evidence("userHeader", header)
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

pub(super) fn unavailable(case: &Case<'_>) -> Draft {
    let secrets = Secrets::of(case.claims, case.challenge);
    let after = case.message.pointer("/error/retryAfterMs");
    let after = after.and_then(Value::as_u64);
    let wait = match after {
        Some(ms) => format!("it asks to be tried again in {ms} ms"),
        None => "try again in a few seconds".to_owned(),
    };
    let said = secrets.clean(&case.refusal.message, 120);
    Draft::new(
        Code::GatewayStarting,
        format!("came while the gateway starts or restarts (\"{said}\")"),
        format!("wait: {wait}"),
        "the gateway is starting; try again in a few seconds",
    )
    .evidence("retryAfterMs", after)
}

/// The gateway's own words are the best there is.
pub(super) fn other(case: &Case<'_>) -> Draft {
    let secrets = Secrets::of(case.claims, case.challenge);
    let said = match case.refusal.message.trim() {
        "" => secrets.clean(&case.refusal.code, 60),
        message => secrets.clean(message, 240),
    };
    Draft::new(
        Code::Refused,
        format!("was refused: {said}"),
        "the gateway's log says more: openclaw logs",
        said.clone(),
    )
}
