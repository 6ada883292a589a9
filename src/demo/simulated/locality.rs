//! Where a connection comes from, in the gateway's eyes: its own host, a proxy's client, or nobody knows.

use std::net::IpAddr;

use ipnet::IpNet;

use super::profile::Profile;

/// The upgrade request's headers and the peer, read the way one profile reads them.
#[derive(Clone, Debug)]
pub(super) struct Ingress {
    /// The client the gateway believes it is talking to; `None` behind a trusted proxy that names nobody.
    pub(super) client: Option<IpAddr>,
    /// A client of this host, without a doubt.
    pub(super) direct_local: bool,
    /// 2026.8 and later answer HTTP 403: there are proxy headers, but no trustworthy client in them.
    pub(super) unattributable: bool,
    pub(super) origin: Option<String>,
    pub(super) host: String,
    loopback_peer: bool,
    forwarded: bool,
}

impl Ingress {
    pub(super) fn read(
        profile: Profile,
        peer: IpAddr,
        headers: &[(String, String)],
        trusted_proxies: &[String],
    ) -> Self {
        let headers = Headers(headers);
        let client = client(profile, peer, &headers, trusted_proxies);
        let host = headers.get("host").unwrap_or_default().to_owned();
        let forwarded = match profile {
            Profile::Latest => headers.any_forwarded(),
            _ => headers.get("x-forwarded-for").is_some() || headers.get("x-real-ip").is_some(),
        };
        let direct_local = match profile {
            Profile::Literal | Profile::Clearing => {
                client.is_some_and(|client| client.is_loopback())
                    && local_host(profile, &host)
                    && (is_trusted(peer, trusted_proxies)
                        || !(forwarded || headers.get("x-forwarded-host").is_some()))
            }
            Profile::Pending => {
                peer.is_loopback()
                    && ![
                        "forwarded",
                        "x-forwarded-for",
                        "x-forwarded-proto",
                        "x-real-ip",
                        "x-forwarded-host",
                    ]
                    .iter()
                    .any(|name| headers.get(name).is_some())
            }
            Profile::Latest => peer.is_loopback() && !headers.any_forwarded(),
        };
        let unattributable = profile == Profile::Latest
            && (headers.any_forwarded() || headers.any("tailscale-"))
            && !(is_trusted(peer, trusted_proxies)
                && client.is_some_and(|client| !client.is_loopback()));
        Self {
            client,
            direct_local,
            unattributable,
            origin: headers
                .get("origin")
                .filter(|origin| !origin.trim().is_empty())
                .map(str::to_owned),
            host,
            loopback_peer: peer.is_loopback(),
            forwarded,
        }
    }

    /// 2026.4.21 and later have a second way to be local: the shared secret over loopback, no matter
    /// what 2026.4.21 overlooks (`Forwarded`, `X-Forwarded-Proto`, `X-Forwarded-Host`).
    pub(super) fn shared_secret_local(&self, shared_secret: bool) -> bool {
        shared_secret
            && !self.forwarded
            && self.origin.is_none()
            && self.loopback_peer
            && private_host(&self.host)
    }

    /// The address kept in records: only that of a client behind a proxy.
    pub(super) fn reported_client(&self) -> Option<String> {
        self.client
            .filter(|client| !client.is_loopback() && !self.direct_local)
            .map(|client| client.to_string())
    }

    /// Whether a browser on the page `Origin` names may connect, with the reason if not.
    pub(super) fn origin_fault(
        &self,
        profile: Profile,
        allowed: &[String],
    ) -> Option<&'static str> {
        let origin = self.origin.as_deref().unwrap_or("");
        let Some(origin) = Origin::parse(origin) else {
            return Some("origin missing or invalid");
        };
        if allowed
            .iter()
            .any(|allowed| allowed == "*" || allowed.eq_ignore_ascii_case(&origin.whole))
        {
            return None;
        }
        let loopback = loopback_name(&origin.name);
        let same_host = !self.host.is_empty() && self.host.eq_ignore_ascii_case(&origin.host);
        let fine = match profile {
            Profile::Literal => same_host || (loopback && loopback_name(&host_name(&self.host))),
            Profile::Clearing | Profile::Pending => loopback && self.direct_local,
            Profile::Latest => {
                (loopback && self.direct_local)
                    || (same_host && same_origin_host(&host_name(&self.host), self.direct_local))
            }
        };
        (!fine).then_some("origin not allowed")
    }
}

fn client(
    profile: Profile,
    peer: IpAddr,
    headers: &Headers<'_>,
    trusted: &[String],
) -> Option<IpAddr> {
    if !is_trusted(peer, trusted) {
        return Some(peer);
    }
    let chain: Vec<IpAddr> = headers
        .get("x-forwarded-for")
        .unwrap_or_default()
        .split(',')
        .filter_map(|hop| hop.trim().parse().ok())
        .collect();
    match profile {
        // 2026.2.19 believes the leftmost hop, and X-Real-IP where there is none.
        Profile::Literal => chain
            .first()
            .copied()
            .or_else(|| headers.get("x-real-ip")?.trim().parse().ok()),
        Profile::Pending => chain
            .into_iter()
            .rev()
            .find(|hop| !hop.is_loopback() && !is_trusted(*hop, trusted)),
        _ => chain
            .into_iter()
            .rev()
            .find(|hop| !is_trusted(*hop, trusted)),
    }
}

fn is_trusted(address: IpAddr, trusted: &[String]) -> bool {
    trusted.iter().any(|entry| {
        entry.parse::<IpAddr>().is_ok_and(|entry| entry == address)
            || entry
                .parse::<IpNet>()
                .is_ok_and(|net| net.contains(&address))
    })
}

struct Headers<'a>(&'a [(String, String)]);

impl<'a> Headers<'a> {
    fn get(&self, name: &str) -> Option<&'a str> {
        let found = self
            .0
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    fn any(&self, prefix: &str) -> bool {
        self.0
            .iter()
            .any(|(name, _)| name.to_ascii_lowercase().starts_with(prefix))
    }

    fn any_forwarded(&self) -> bool {
        self.get("forwarded").is_some()
            || self.get("x-real-ip").is_some()
            || self.any("x-forwarded-")
    }
}

struct Origin {
    whole: String,
    host: String,
    name: String,
}

impl Origin {
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        let (scheme, rest) = text.split_once("://")?;
        let host = rest
            .split(['/', '?', '#'])
            .next()
            .filter(|host| !host.is_empty())?;
        let default = if scheme == "https" { ":443" } else { ":80" };
        let host = host.strip_suffix(default).unwrap_or(host);
        Some(Self {
            whole: format!("{scheme}://{host}"),
            host: host.to_owned(),
            name: host_name(host),
        })
    }
}

/// A `Host` value without its port and brackets.
fn host_name(host: &str) -> String {
    let host = host.trim().to_ascii_lowercase();
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split(']').next().unwrap_or_default().to_owned();
    }
    match host.rsplit_once(':') {
        Some((name, _)) if !name.contains(':') => name.to_owned(),
        _ => host,
    }
}

fn loopback_name(name: &str) -> bool {
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn local_host(profile: Profile, host: &str) -> bool {
    let name = host_name(host);
    let loopback = match profile {
        Profile::Literal => ["localhost", "127.0.0.1", "::1"].contains(&name.as_str()),
        _ => loopback_name(&name),
    };
    loopback || name.ends_with(".ts.net")
}

fn private_host(host: &str) -> bool {
    let name = host_name(host);
    name == "localhost" || name.parse().is_ok_and(private_address)
}

fn private_address(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

fn same_origin_host(name: &str, local: bool) -> bool {
    if loopback_name(name) {
        return local;
    }
    name.parse().is_ok_and(private_address) || name.ends_with(".local") || name.ends_with(".ts.net")
}
