//! F8 to F11, and what loading the shim's own configuration found.

use std::net::IpAddr;

use super::Finding;
use crate::config::Finding as Note;
use crate::doctor::known::Certainty;
use crate::doctor::look::{Configuration, Look};
use crate::findings::{Code, Shim};
use crate::gateway::GatewayAuth;
use crate::profile::Version;

pub(super) fn findings(look: &Look) -> Vec<Finding> {
    let own = [
        local_source(look),
        remote_source(look),
        unknown_proxies(look),
        origins(look),
        plain_http(look),
        proxy_user(look),
    ];
    let notes = look.notes.iter().filter(|note| !is_covered(note));
    own.into_iter()
        .flatten()
        .chain(notes.map(from_note))
        .collect()
}

/// What the findings above say with the gateway's version in mind.
fn is_covered(note: &Note) -> bool {
    [
        "local-source-trusted",
        "remote-source-untrusted",
        "trusted-proxies-unknown",
        "gateway-trusted-proxy-loopback",
    ]
    .contains(&note.code)
}

fn from_note(note: &Note) -> Finding {
    Finding {
        code: note.code,
        family: "",
        title: note.message.clone(),
        subject: "the configuration".to_owned(),
        evidence: Vec::new(),
        fix: note.fix.clone().unwrap_or_default(),
        shim: Shim::Tells,
        certainty: Certainty::Certain,
    }
}

fn trusts(configuration: &Configuration, ip: IpAddr) -> bool {
    let proxies = configuration.trusted_proxies.iter().flatten();
    proxies.into_iter().any(|network| network.contains(&ip))
}

/// From 2026.2.19 to 2026.3.24 a headerless connection from a trusted proxy counts as remote.
fn local_source(look: &Look) -> Option<Finding> {
    let local = look.shim.sources.local?;
    if !trusts(&look.configuration, local) {
        return None;
    }
    let finding = Finding::new(Code::ShimNotTrusted, "clients on this machine")
        .seen(format!(
            "gateway.trustedProxies covers {local}, which they come from"
        ))
        .seen(
            "this gateway takes them for remote: no silent pairing, and no scopes without a device",
        )
        .fix(LINE);
    finding.if_holds(
        look.version
            .within(Version::v2026(2, 18), Version::v2026(3, 24)),
    )
}

/// Only where clients of other machines can come: it does not matter otherwise.
fn remote_source(look: &Look) -> Option<Finding> {
    let remote = look.shim.sources.remote?;
    let expected = !look.shim.listen.ip().is_loopback() || !look.shim.trusted_proxies.is_empty();
    if !expected || trusts(&look.configuration, remote) {
        return None;
    }
    let follows = if look.version.since(Version::v2026(8, 0)) == Certainty::No {
        "the gateway does not learn their addresses, and shares one lock-out among them"
    } else {
        "gateways from 2026.8 refuse them with HTTP 403; earlier ones do not learn their addresses"
    };
    let finding = Finding::new(Code::ShimNotTrusted, "clients on other machines");
    let finding = finding
        .seen(format!(
            "gateway.trustedProxies lacks {remote}, which the shim connects from for them"
        ))
        .seen(follows);
    Some(finding.fix(LINE))
}

/// A proxy that the gateway believes and the shim, to which its requests go now, does not.
fn unknown_proxies(look: &Look) -> Option<Finding> {
    let sources = [look.shim.sources.local, look.shim.sources.remote];
    let is_shim = |network: &ipnet::IpNet| sources.iter().flatten().any(|ip| network.contains(ip));
    let listed = look.configuration.trusted_proxies.iter().flatten();
    let missing: Vec<String> = listed
        .filter(|network| !network.addr().is_loopback() && !is_shim(network))
        .filter(|network| {
            !look
                .shim
                .trusted_proxies
                .iter()
                .any(|own| own.contains(*network))
        })
        .map(|network| format!("\"{network}\""))
        .collect();
    if missing.is_empty() {
        return None;
    }
    let missing = missing.join(", ");
    let finding = Finding::new(Code::UntrustedProxy, "a proxy in front of the shim")
        .seen(format!("the gateway trusts {missing}, the shim does not"))
        .seen(
            "what that proxy says of its clients' addresses is removed on the way through the shim",
        );
    Some(finding.fix(format!(
        "trusted_proxies = [{missing}] in scope-shim.toml, if it connects to the shim"
    )))
}

fn is_open(configuration: &Configuration) -> bool {
    let bind = configuration.bind.as_deref();
    let is_loopback = |bind: &str| {
        let address = bind.parse::<std::net::IpAddr>();
        matches!(bind, "loopback" | "auto") || address.is_ok_and(|ip| ip.is_loopback())
    };
    bind.is_some_and(|bind| !is_loopback(bind))
}

/// Browsers' pages are checked on every version from 2026.2.26.
fn origins(look: &Look) -> Option<Finding> {
    let configuration = &look.configuration;
    let gateway_open = is_open(configuration);
    let shim_open = !look.shim.listen.ip().is_loopback();
    let silent = configuration.allowed_origins.is_empty() && !configuration.host_origin_allowed;
    if configuration.file.is_none() || !silent || !(gateway_open || shim_open) {
        return None;
    }
    let scheme = if configuration.tls { "https" } else { "http" };
    let mut finding = Finding::new(Code::OriginNotAllowed, "pages opened from other machines");
    if gateway_open {
        let bind = configuration.bind.as_deref().unwrap_or_default();
        finding = finding.seen(format!("gateway.bind is {bind:?}"));
    }
    if shim_open {
        finding = finding.seen(format!("the shim listens on {}", look.shim.listen));
    }
    let port = if shim_open {
        look.shim.listen.port()
    } else {
        configuration.port.unwrap_or(DEFAULT_PORT)
    };
    let finding = finding
        .seen("gateway.controlUi.allowedOrigins is empty")
        .fix(format!(
            "gateway.controlUi.allowedOrigins: [\"{scheme}://<name or address in the browser's address bar>:{port}\"] in \
             openclaw.json"
        ));
    // Later ones (seen: 2026.9.6) take pages of private addresses and of .local and .ts.net names that ask their own host.
    let early = look
        .version
        .within(Version::v2026(2, 22), Version::v2026(3, 24));
    let later = look.version.since(Version::v2026(3, 25));
    finding.if_holds(early.max(later.min(Certainty::Possible)))
}

/// A browser signs only in a secure context.
fn plain_http(look: &Look) -> Option<Finding> {
    let configuration = &look.configuration;
    if !is_open(configuration) || configuration.tls {
        return None;
    }
    let bind = configuration.bind.as_deref().unwrap_or_default();
    let finding = Finding::new(Code::InsecureContext, "pages opened from other machines")
        .seen(format!("gateway.bind is {bind:?}, without TLS"))
        .fix("put HTTPS in front (openclaw's Tailscale Serve, or a reverse proxy), or open the page over an SSH tunnel");
    finding.if_holds(look.version.until(Version::v2026(8, u16::MAX)))
}

fn proxy_user(look: &Look) -> Option<Finding> {
    let GatewayAuth::TrustedProxy { user_header, .. } = &look.configuration.auth else {
        return None;
    };
    let loopback = look
        .notes
        .iter()
        .find(|note| note.code == "gateway-trusted-proxy-loopback");
    let mut finding = Finding::new(Code::ProxyUser, "users that a proxy names")
        .seen(format!("gateway.auth.mode is \"trusted-proxy\", with the user in {user_header}"))
        .seen(
            "a page without a device has no scopes from 2026.3.24; with one it has to pair from 2026.6; a header never \
             adds scopes",
        );
    if let Some(note) = loopback {
        finding = finding.seen(note.message.clone());
        finding = finding.fix(note.fix.clone().unwrap_or_default());
    } else {
        let approve = look.shim.invocation.command(&["approve"]);
        finding = finding.fix(format!(
            "map the users to scopes in policy.users of scope-shim's configuration, or let each user's browser pair once \
             ({approve}, or gateway.auth.trustedProxy.deviceAutoApprove from 2026.8)"
        ));
    }
    finding.if_holds(look.version.since(Version::v2026(3, 24)))
}

const LINE: &str = if cfg!(target_os = "macos") {
    "gateway.trustedProxies: [\"::1\"] in openclaw.json"
} else {
    "gateway.trustedProxies: [\"127.0.0.2\"] in openclaw.json"
};
const DEFAULT_PORT: u16 = 18_789;
