//! Settings that are possible and seldom meant: they become findings, not problems.

use std::path::Path;

use ipnet::IpNet;

use super::problem::Finding;
use super::reader::Reader;
use super::show::Show as _;
use super::warning::Warning;
use super::{Gateway, Policy, ProxyProtocol};
use crate::gateway::GatewayAuth;

/// Whoever is a trusted proxy says where a client comes from, and who it is.
pub(super) fn proxies(reader: &mut Reader<'_>, networks: &[IpNet]) {
    for network in networks.iter().filter(|network| is_anybody(network)) {
        reader.findings.push(Finding::new(
            Warning::TrustsAnybody,
            format!(
                "trusted_proxies has {}: anybody there is believed who says that a client comes from elsewhere or is \
                 somebody else",
                vec![*network].show()
            ),
            "name the addresses of the proxies alone, such as \"10.0.0.5\"",
        ));
    }
}

/// As large as no network of one owner that it is meant for.
fn is_anybody(network: &IpNet) -> bool {
    match network {
        IpNet::V4(network) => network.prefix_len() < 8,
        // The private addresses are a /7 (RFC 4193 §3.1).
        IpNet::V6(network) => network.prefix_len() < 7,
    }
}

/// A file that everybody can read is no place for a secret.
pub(super) fn secret_file(reader: &mut Reader<'_>, key: &str, path: &Path) {
    if permissions(path) & READ_BY_OTHERS == 0 {
        return;
    }
    let finding = Finding::new(
        Warning::SecretExposed,
        format!(
            "{key}: everybody on this machine can read {}",
            path.display()
        ),
        format!("chmod o= {}", path.display()),
    );
    reader.findings.push(finding);
}

/// The configuration file itself: whoever may change it rules the shim, and it may hold a secret.
pub(super) fn file(reader: &mut Reader<'_>) {
    let Some(file) = reader.raw.file else { return };
    let path = file.path;
    let permissions = permissions(path);
    if permissions & WRITTEN_BY_OTHERS != 0 {
        let finding = Finding::new(
            Warning::ConfigurationExposed,
            format!("everybody on this machine can change {}", path.display()),
            format!("chmod o-w {}", path.display()),
        );
        reader.findings.push(finding);
    }
    let secret = ["gateway.token", "gateway.password"]
        .into_iter()
        .find(|key| reader.raw.said(key).next().is_some());
    if let Some(key) = secret
        && permissions & READ_BY_OTHERS != 0
    {
        let finding = Finding::new(
            Warning::SecretExposed,
            format!(
                "{key} stands in {}, which everybody on this machine can read",
                path.display()
            ),
            format!("chmod o= {}, or give {key}_file", path.display()),
        );
        reader.findings.push(finding);
    }
}

/// The permission bits of a file; none where there are no such bits, or for a pipe.
fn permissions(path: &Path) -> u32 {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let metadata = std::fs::metadata(path)
            .ok()
            .filter(std::fs::Metadata::is_file);
        metadata.map_or(0, |metadata| metadata.permissions().mode())
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        0
    }
}

const READ_BY_OTHERS: u32 = 0o004;
const WRITTEN_BY_OTHERS: u32 = 0o002;

/// Nobody could get in.
pub(super) fn protocol(reader: &mut Reader<'_>, protocol: ProxyProtocol, proxies: &[IpNet]) {
    if protocol == ProxyProtocol::Required && proxies.is_empty() {
        let message =
            "`proxy_protocol`: \"required\", but trusted_proxies lists nobody who may send it";
        let hint = "list the proxies: trusted_proxies = [\"127.0.0.1\"]".to_owned();
        let origin = reader.origin("proxy_protocol");
        reader.problem(origin, message.to_owned(), Some(hint));
    }
}

/// A map of users that cannot come to anything.
pub(super) fn users(
    reader: &mut Reader<'_>,
    gateway: &Gateway,
    policy: &Policy,
    proxies: &[IpNet],
) {
    if policy.users.is_empty() {
        return;
    }
    let (message, fix) = match &gateway.auth {
        GatewayAuth::TrustedProxy { .. } if proxies.is_empty() => (
            "policy.users maps users, but trusted_proxies lists nobody who may name one",
            "list the proxy that authenticates them: trusted_proxies = [\"127.0.0.1\"]",
        ),
        GatewayAuth::TrustedProxy { password: None, .. } if gateway.user.is_none() => (
            "policy.users maps users, but the shim itself has no way in to a gateway in trusted-proxy mode",
            "give gateway.user, a name among gateway.auth.trustedProxy.allowUsers; or from 2026.5 gateway.password",
        ),
        GatewayAuth::TrustedProxy { .. } => return,
        _ => (
            "policy.users maps users, but the gateway is not known to take users from a proxy",
            "gateway.auth.mode: \"trusted-proxy\" in openclaw.json, and gateway.state where that file is",
        ),
    };
    let finding = Finding::new(Warning::UsersWithoutEffect, message, fix);
    reader.findings.push(finding);
}
