//! The addresses from which the shim connects to the gateway.
//!
//! A gateway tells local clients from remote ones by where a connection comes from and which headers it carries, and
//! every version does it in another way. One recipe holds on all of them: local clients from 127.0.0.1, which is *not*
//! a trusted proxy, without forwarded headers; remote clients from a second loopback address that *is* one, with
//! `X-Forwarded-For`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::problem::Finding;
use super::warning::Warning;

/// The source addresses towards the gateway. `None` leaves the choice to the operating system.
///
/// An IPv6 source reaches a gateway on loopback at `[::1]`, whatever the host in its URL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// For clients on this machine.
    pub local: Option<IpAddr>,
    /// For clients elsewhere.
    pub remote: Option<IpAddr>,
    /// What the gateway's configuration makes impossible, with the line to change.
    pub findings: Vec<Finding>,
}

impl Sources {
    /// Chooses the addresses for a gateway on loopback.
    ///
    /// `trusted` is the gateway's `gateway.trustedProxies`, `None` where it is not known. `local` and `remote` are what
    /// the operator said, and win.
    #[must_use]
    pub fn on_loopback(
        trusted: Option<&[IpNet]>,
        local: Option<IpAddr>,
        remote: Option<IpAddr>,
    ) -> Self {
        let is_trusted = |ip: IpAddr| {
            trusted
                .unwrap_or_default()
                .iter()
                .any(|net| net.contains(&ip))
        };
        let local = local.unwrap_or(FIRST);
        let remote = remote.unwrap_or_else(|| {
            let usable = [SECOND, SIXTH, FIRST].into_iter();
            usable.clone().find(|ip| is_trusted(*ip)).unwrap_or(SECOND)
        });
        let mut findings = Vec::new();
        if trusted.is_none() {
            findings.push(Finding::new(
                Warning::TrustedProxiesUnknown,
                format!(
                    "the gateway's trustedProxies are not known; if {remote} is not among them, clients from other \
                     machines are refused with 403 on gateways from 2026.8, and earlier ones do not learn their address"
                ),
                LINE,
            ));
            return Self::chosen(local, remote, findings);
        }
        if is_trusted(local) {
            findings.push(Finding::new(
                Warning::LocalSourceTrusted,
                format!(
                    "the gateway trusts {local} as a proxy, so that it takes local clients for remote ones (gateways from \
                     2026.2.19 to 2026.3.24): no silent pairing, and no scopes without a device"
                ),
                LINE,
            ));
        }
        if !is_trusted(remote) {
            findings.push(Finding::new(
                Warning::RemoteSourceUntrusted,
                format!(
                    "the gateway does not trust {remote} as a proxy: clients from other machines are refused with 403 on gateways from 2026.8, and earlier ones do \
                     not learn their address"
                ),
                LINE,
            ));
        }
        Self::chosen(local, remote, findings)
    }

    fn chosen(local: IpAddr, remote: IpAddr, findings: Vec<Finding>) -> Self {
        Self {
            local: Some(local),
            remote: Some(remote),
            findings,
        }
    }
}

impl Finding {
    /// Whether it matters only where clients of other machines, or of a proxy, can come.
    pub(super) fn is_about_other_machines(&self) -> bool {
        let about = [
            Warning::TrustedProxiesUnknown,
            Warning::RemoteSourceUntrusted,
        ];
        about.iter().any(|warning| warning.as_str() == self.code)
    }
}

const FIRST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const SECOND: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
/// Where 127.0.0.2 does not exist, as on macOS.
const SIXTH: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
const LINE: &str = if cfg!(target_os = "macos") {
    "gateway.trustedProxies: [\"::1\"] in openclaw.json"
} else {
    "gateway.trustedProxies: [\"127.0.0.2\"] in openclaw.json"
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::value::network;

    fn choose(trusted: &[&str]) -> (String, Vec<&'static str>) {
        let trusted: Vec<IpNet> = trusted.iter().filter_map(|text| network(text)).collect();
        let sources = Sources::on_loopback(Some(&trusted), None, None);
        assert_eq!(sources.local, Some(FIRST));
        let remote = sources.remote.map(|ip| ip.to_string());
        let codes = sources.findings.iter().map(|finding| finding.code);
        (remote.unwrap_or_default(), codes.collect())
    }

    #[test]
    fn the_second_address_is_the_one_that_the_gateway_trusts() {
        assert_eq!(choose(&["127.0.0.2"]), ("127.0.0.2".to_owned(), vec![]));
        assert_eq!(choose(&["127.0.0.2/31"]), ("127.0.0.2".to_owned(), vec![]));
        assert_eq!(choose(&["::1"]), ("::1".to_owned(), vec![]));
        assert_eq!(
            choose(&["::1", "127.0.0.2"]),
            ("127.0.0.2".to_owned(), vec![])
        );
    }

    #[test]
    fn what_cannot_work_is_named() {
        let untrusted = "remote-source-untrusted";
        assert_eq!(choose(&[]), ("127.0.0.2".to_owned(), vec![untrusted]));
        assert_eq!(
            choose(&["10.0.0.1"]),
            ("127.0.0.2".to_owned(), vec![untrusted])
        );
        assert_eq!(
            choose(&["127.0.0.1"]),
            ("127.0.0.1".to_owned(), vec!["local-source-trusted"])
        );
        assert_eq!(
            choose(&["127.0.0.0/8"]),
            ("127.0.0.2".to_owned(), vec!["local-source-trusted"])
        );
        assert_eq!(
            choose(&["127.0.0.1", "::1"]),
            ("::1".to_owned(), vec!["local-source-trusted"])
        );
        let unknown = Sources::on_loopback(None, None, None);
        let codes: Vec<_> = unknown
            .findings
            .iter()
            .map(|finding| finding.code)
            .collect();
        assert_eq!(codes, ["trusted-proxies-unknown"]);
        assert_eq!(unknown.remote, Some(SECOND));
    }

    #[test]
    fn the_operator_wins() {
        let sources = Sources::on_loopback(Some(&[]), Some(SECOND), Some(SIXTH));
        assert_eq!((sources.local, sources.remote), (Some(SECOND), Some(SIXTH)));
    }
}
