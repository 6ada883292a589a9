//! Which headers reach the gateway, and what they may say about where a client is.
//!
//! The gateway trusts the shim, so nothing that a client says about itself gets through: forwarding headers and
//! identity headers are removed unless they come from one of the shim's own `trusted_proxies`, and then rebuilt.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hyper::HeaderMap;
use hyper::header::{CONNECTION, HeaderName, HeaderValue};
use ipnet::IpNet;

use crate::config::ProxyProtocol;
use crate::dial::Side;
use crate::scope::ScopeSet;

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The address.
    pub address: IpAddr,
    /// Whether a proxy named it (PROXY protocol), or the connection itself comes from it.
    pub named: bool,
}

impl Peer {
    /// The address that a connection comes from.
    #[must_use]
    pub const fn direct(address: IpAddr) -> Self {
        Self {
            address: address.to_canonical(),
            named: false,
        }
    }

    /// The address that a trusted proxy says a connection comes from.
    #[must_use]
    pub const fn named(address: IpAddr) -> Self {
        Self {
            address: address.to_canonical(),
            named: true,
        }
    }

    /// Whoever a trusted proxy speaks of without saying where it is.
    #[must_use]
    pub const fn nobody() -> Self {
        Self::named(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }

    /// A client that came through a proxy is not on this machine, whatever the proxy says.
    const fn is_nobody(self) -> bool {
        self.named && (self.address.is_loopback() || self.address.is_unspecified())
    }
}

/// Where a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attribution {
    /// From this machine, directly.
    Local,
    /// From this address.
    Remote(IpAddr),
    /// From this machine, but with forwarding headers that nobody vouches for: a proxy that the shim was not told of,
    /// or somebody who pretends. It must not count as local.
    Unattributed,
}

/// What the shim believes about proxies.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// The proxies whose headers are believed.
    pub proxies: Vec<IpNet>,
    /// The header that names the user in the gateway's trusted-proxy mode, in lower case.
    pub user_header: Option<String>,
    /// The headers that the gateway wants beside it, in lower case.
    pub required_headers: Vec<String>,
    /// Whether the proxies name their clients before the first byte.
    pub proxy_protocol: ProxyProtocol,
}

impl Trust {
    /// Whether the headers, and the PROXY protocol, of this address are believed.
    #[must_use]
    pub fn trusts(&self, address: IpAddr) -> bool {
        let lists = |address: IpAddr| self.proxies.iter().any(|net| net.contains(&address));
        let address = address.to_canonical();
        // A proxy on this machine that is told `localhost` comes from either of the two.
        let twin = IpAddr::V4(Ipv4Addr::LOCALHOST);
        lists(address) || (address == IpAddr::V6(Ipv6Addr::LOCALHOST) && lists(twin))
    }

    /// Where a request with these headers from this peer comes from.
    #[must_use]
    pub fn attribute(&self, peer: Peer, headers: &HeaderMap) -> Attribution {
        if peer.is_nobody() {
            return Attribution::Unattributed;
        }
        let peer = peer.address;
        let forwarded = headers.keys().any(|name| tells_where_from(name.as_str()));
        match (forwarded, peer.is_loopback(), self.trusts(peer)) {
            (false, true, _) => Attribution::Local,
            (true, _, true) => match self.forwarded_client(headers) {
                Some(client) => Attribution::Remote(client),
                None => Attribution::Unattributed,
            },
            (true, true, false) => Attribution::Unattributed,
            (_, false, _) => Attribution::Remote(peer),
        }
    }

    /// The client as the nearest untrusted hop of `X-Forwarded-For` names it; never a loopback address, which would
    /// make a proxied client look local.
    fn forwarded_client(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let hops: Vec<IpAddr> = headers
            .get_all(X_FORWARDED_FOR)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(|hop| parse_hop(hop.trim()))
            .collect::<Option<_>>()?;
        let client = hops.into_iter().rev().find(|hop| !self.trusts(*hop))?;
        (!client.is_loopback() && !client.is_unspecified()).then_some(client)
    }

    /// The user that a trusted proxy names, as the gateway reads it in its trusted-proxy mode: by one header, and only
    /// where all that it requires are there (2026.2.21 to 2026.9.6).
    #[must_use]
    pub fn user(
        &self,
        peer: Peer,
        attribution: Attribution,
        headers: &HeaderMap,
    ) -> Option<String> {
        let one = |name: &str| {
            let mut values = headers.get_all(name).iter();
            let value = values.next()?.to_str().ok()?.trim();
            // Two that differ name nobody for certain.
            (values.next().is_none() && !value.is_empty()).then_some(value)
        };
        let user = one(self.user_header.as_deref()?)?;
        let complete = self.required_headers.iter().all(|name| one(name).is_some());
        (complete && self.believes(peer, attribution)).then(|| user.to_owned())
    }

    /// Whether what a request says about its client is a trusted proxy's word.
    fn believes(&self, peer: Peer, attribution: Attribution) -> bool {
        self.trusts(peer.address) && matches!(attribution, Attribution::Remote(_))
    }

    /// The headers on which the gateway's judgement of a user rests.
    pub fn decisive_headers(&self) -> impl Iterator<Item = &str> {
        let required = self.required_headers.iter().map(String::as_str);
        self.user_header.as_deref().into_iter().chain(required)
    }

    /// Makes a client's headers fit for the gateway.
    pub fn cleanse(&self, peer: Peer, attribution: Attribution, headers: &mut HeaderMap) {
        let trusted = self.believes(peer, attribution);
        let doomed: Vec<HeaderName> = headers
            .keys()
            .filter(|name| {
                let name = name.as_str();
                let identifies = tells_where_from(name) || self.tells_who(name);
                let rebuilt = REBUILT.contains(&name);
                identifies && (rebuilt || !trusted)
            })
            .cloned()
            .collect();
        for name in doomed {
            headers.remove(name);
        }
        let client = match attribution {
            Attribution::Local => None,
            Attribution::Remote(client) => Some(client),
            Attribution::Unattributed => Some(NOBODY),
        };
        if let Some(value) =
            client.and_then(|client| HeaderValue::from_str(&client.to_string()).ok())
        {
            headers.insert(X_FORWARDED_FOR, value);
        }
        rebuild_scope_cap(headers);
    }

    fn tells_who(&self, name: &str) -> bool {
        names_a_user(name)
            || self.user_header.as_deref() == Some(name)
            || self.required_headers.iter().any(|header| header == name)
    }
}

/// The headers in which well-known proxies name whom they have authenticated: a gateway may take its users from any of
/// them, also where the shim cannot read its configuration.
fn names_a_user(name: &str) -> bool {
    const FAMILIES: [&str; 10] = [
        "tailscale-",
        "remote-",
        "x-remote-",
        "x-webauth-",
        "x-auth-request-",
        "x-authentik-",
        "x-pomerium-",
        "x-goog-authenticated-",
        "x-ms-client-principal",
        "cf-access-",
    ];
    FAMILIES.iter().any(|family| name.starts_with(family))
}

impl Attribution {
    /// From which of the shim's addresses the gateway is to see the request.
    ///
    /// An unattributed one goes without the trusted address: the gateway then treats it as it would without a shim,
    /// as remote up to 2026.7.1 and with HTTP 403 from 2026.8.2.
    #[must_use]
    pub const fn side(self) -> Side {
        match self {
            Self::Local | Self::Unattributed => Side::Local,
            Self::Remote(_) => Side::Remote,
        }
    }

    /// The client's address for logs and limits; local clients share one.
    #[must_use]
    pub const fn address(self) -> IpAddr {
        match self {
            Self::Local => IpAddr::V4(Ipv4Addr::LOCALHOST),
            Self::Remote(address) => address,
            Self::Unattributed => NOBODY,
        }
    }
}

/// Tells the gateway that a client on another machine came by TLS, as a proxy does that ends it. What a proxy before the
/// shim says of its own client stays, and a client of this machine has no forwarding header at all.
pub fn tell_of_tls(peer: IpAddr, attribution: Attribution, headers: &mut HeaderMap) {
    if attribution == Attribution::Remote(peer.to_canonical()) {
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static("https"));
    }
}

/// Whether a header says where a request comes from.
fn tells_where_from(name: &str) -> bool {
    name.starts_with("x-forwarded-")
        || matches!(
            name,
            "forwarded" | "x-real-ip" | "x-client-ip" | "true-client-ip"
        )
}

fn parse_hop(hop: &str) -> Option<IpAddr> {
    let address = hop
        .parse::<IpAddr>()
        .or_else(|_| {
            hop.parse::<std::net::SocketAddr>()
                .map(|socket| socket.ip())
        })
        .or_else(|_| hop.trim_matches(['[', ']']).parse());
    address.ok().map(|address| address.to_canonical())
}

/// The scopes that `x-openclaw-scopes` caps a session to: from 2026.8.2 the gateway grants no others.
#[must_use]
pub fn scope_cap(headers: &HeaderMap) -> Option<ScopeSet> {
    let mut values = headers.get_all(X_OPENCLAW_SCOPES).iter().peekable();
    values.peek()?;
    Some(
        values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .filter(|scope| !scope.is_empty())
            .collect(),
    )
}

/// The cap can only narrow, so anyone may set one, and taking it away would widen. It goes on as one clean header.
fn rebuild_scope_cap(headers: &mut HeaderMap) {
    let Some(cap) = scope_cap(headers) else {
        return;
    };
    let list = cap.iter().collect::<Vec<_>>().join(",");
    headers.remove(X_OPENCLAW_SCOPES);
    if let Ok(value) = HeaderValue::from_str(&list) {
        headers.insert(X_OPENCLAW_SCOPES, value);
    }
}

/// Whether the client asked for a host that only this machine answers to; a rebound DNS name is none.
#[must_use]
pub fn has_loopback_host(headers: &HeaderMap) -> bool {
    let Some(host) = headers
        .get(hyper::header::HOST)
        .and_then(|host| host.to_str().ok())
    else {
        return false;
    };
    let name = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost")
        || name
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// Removes what concerns one connection only (RFC 9110 §7.6.1), with whatever `Connection` names: except for what the
/// gateway decides by, lest a client take away what the shim has just said of it.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .filter(|name: &HeaderName| !is_decisive(name.as_str()))
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

/// The same for an upgrade, whose `Connection` goes on: what it names goes no further than the next proxy, and a client must
/// not have a header end there that the gateway decides by.
pub(super) fn nominate_nothing(headers: &mut HeaderMap) {
    let harmless = |value: &HeaderValue| {
        value.to_str().is_ok_and(|value| {
            let mut options = value.split(',').map(str::trim);
            options.all(|option| {
                ["upgrade", "keep-alive"]
                    .iter()
                    .any(|known| option.eq_ignore_ascii_case(known))
            })
        })
    };
    if !headers.get_all(CONNECTION).iter().all(harmless) {
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    }
}

/// Whether the gateway decides by it who a client is, where it is or what it may.
fn is_decisive(name: &str) -> bool {
    tells_where_from(name)
        || names_a_user(name)
        || matches!(
            name,
            X_OPENCLAW_SCOPES | "host" | "origin" | "authorization"
        )
}

/// What stands for a client whose address nobody vouches for (RFC 5737: an address of no host).
pub const NOBODY: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// Forwarding headers that the shim writes itself, also for a trusted proxy.
const REBUILT: [&str; 5] = [
    X_FORWARDED_FOR,
    "x-real-ip",
    "forwarded",
    "x-client-ip",
    "true-client-ip",
];
const X_FORWARDED_FOR: &str = "x-forwarded-for";
const X_FORWARDED_PROTO: &str = "x-forwarded-proto";
const X_OPENCLAW_SCOPES: &str = "x-openclaw-scopes";
const HOP_BY_HOP: [&str; 6] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    const LOOPBACK: &str = "127.0.0.1";
    const LAN: &str = "192.168.1.7";

    #[test]
    fn an_upgrade_names_no_header_that_would_end_at_the_next_proxy() {
        for (sent, goes_on) in [
            ("Upgrade", "Upgrade"),
            ("keep-alive, Upgrade", "keep-alive, Upgrade"),
            ("Upgrade, X-Forwarded-For", "Upgrade"),
            ("x-openclaw-scopes,upgrade", "Upgrade"),
        ] {
            let mut headers = headers(&[("connection", sent)]);
            nominate_nothing(&mut headers);
            assert_eq!(headers[CONNECTION], goes_on, "{sent}");
        }
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_str(value).unwrap(),
                )
            })
            .collect()
    }

    fn trust(proxies: &[&str]) -> Trust {
        Trust {
            proxies: proxies.iter().map(|net| net.parse().unwrap()).collect(),
            user_header: Some("x-forwarded-user".to_owned()),
            required_headers: vec!["x-forwarded-proto".to_owned()],
            ..Trust::default()
        }
    }

    fn direct(peer: &str) -> Peer {
        Peer::direct(peer.parse().unwrap())
    }

    fn user(peer: Peer, pairs: &[(&'static str, &str)]) -> Option<String> {
        let (trust, headers) = (trust(&["127.0.0.1/32", "10.0.0.0/8"]), headers(pairs));
        trust.user(peer, trust.attribute(peer, &headers), &headers)
    }

    #[test]
    fn a_user_is_believed_from_a_trusted_proxy_with_all_that_the_gateway_requires() {
        let whole = [
            ("x-forwarded-for", "203.0.113.9"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-user", " alice "),
        ];
        assert_eq!(user(direct(LOOPBACK), &whole).as_deref(), Some("alice"));
        assert_eq!(user(direct(LAN), &whole), None, "a stranger");
        assert_eq!(user(direct(LOOPBACK), &whole[1..]), None, "no client");
        assert_eq!(
            user(Peer::named("127.0.0.1".parse().unwrap()), &whole),
            None
        );
        let incomplete = [whole[0], whole[2]];
        assert_eq!(user(direct(LOOPBACK), &incomplete), None);
        let nameless = [whole[0], whole[1], ("x-forwarded-user", " ")];
        assert_eq!(user(direct(LOOPBACK), &nameless), None);
        let mut twice = headers(&whole);
        twice.append("x-forwarded-user", HeaderValue::from_static("mallory"));
        let (trust, peer) = (trust(&["127.0.0.1/32"]), direct(LOOPBACK));
        assert_eq!(
            trust.user(peer, trust.attribute(peer, &twice), &twice),
            None
        );
    }

    fn attribute(trust: &Trust, peer: &str, pairs: &[(&'static str, &str)]) -> Attribution {
        trust.attribute(direct(peer), &headers(pairs))
    }

    #[test]
    fn only_a_bare_loopback_peer_is_local() {
        let nobody = trust(&[]);
        assert_eq!(attribute(&nobody, LOOPBACK, &[]), Attribution::Local);
        assert_eq!(
            attribute(&nobody, "::ffff:127.0.0.1", &[]),
            Attribution::Local
        );
        assert_eq!(
            attribute(&nobody, LAN, &[]),
            Attribution::Remote(LAN.parse().unwrap())
        );
        for name in [
            "x-forwarded-for",
            "forwarded",
            "x-real-ip",
            "x-forwarded-proto",
            "x-forwarded-host",
        ] {
            let spoofed = [(name, LOOPBACK)];
            assert_eq!(
                attribute(&nobody, LOOPBACK, &spoofed),
                Attribution::Unattributed,
                "{name}"
            );
            let remote = Attribution::Remote(LAN.parse().unwrap());
            assert_eq!(attribute(&nobody, LAN, &spoofed), remote, "{name}");
        }
    }

    #[test]
    fn a_trusted_proxy_names_the_client_from_the_right() {
        let proxy = trust(&["127.0.0.1/32", "10.0.0.0/8"]);
        let chain = [("x-forwarded-for", "127.0.0.1, 203.0.113.9, 10.1.2.3")];
        let client = Attribution::Remote("203.0.113.9".parse().unwrap());
        assert_eq!(attribute(&proxy, LOOPBACK, &chain), client);
        let v6 = [("x-forwarded-for", "[2001:db8::1]:443")];
        assert_eq!(
            attribute(&proxy, LOOPBACK, &v6),
            Attribution::Remote("2001:db8::1".parse().unwrap())
        );
    }

    #[test]
    fn a_trusted_proxy_cannot_make_a_client_local() {
        let proxy = trust(&["127.0.0.1/32"]);
        for hops in ["127.0.0.2", "::1", "unknown", "", "0.0.0.0", "127.0.0.1"] {
            let named = [("x-forwarded-for", hops)];
            assert_eq!(
                attribute(&proxy, LOOPBACK, &named),
                Attribution::Unattributed,
                "{hops:?}"
            );
        }
    }

    fn cleansed(trust: &Trust, peer: &str, pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = headers(pairs);
        let peer = direct(peer);
        let attribution = trust.attribute(peer, &map);
        trust.cleanse(peer, attribution, &mut map);
        map
    }

    const SPOOFED: [(&str, &str); 7] = [
        ("x-forwarded-for", "127.0.0.1"),
        ("x-real-ip", "127.0.0.1"),
        ("forwarded", "for=127.0.0.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-user", "admin"),
        ("tailscale-user-login", "admin"),
        ("x-harmless", "stays"),
    ];

    #[test]
    fn what_a_stranger_says_about_itself_never_arrives() {
        let map = cleansed(&trust(&[]), LAN, &SPOOFED);
        assert_eq!(
            map,
            headers(&[("x-harmless", "stays"), ("x-forwarded-for", LAN)])
        );
    }

    #[test]
    fn a_local_client_stays_local_and_an_unknown_proxy_does_not_become_so() {
        assert_eq!(
            cleansed(&trust(&[]), LOOPBACK, &[("x-harmless", "1")]),
            headers(&[("x-harmless", "1")])
        );
        let map = cleansed(&trust(&[]), LOOPBACK, &SPOOFED);
        assert_eq!(
            map,
            headers(&[("x-harmless", "stays"), ("x-forwarded-for", "192.0.2.1")])
        );
    }

    #[test]
    fn a_trusted_proxy_names_the_user_and_the_shim_rebuilds_the_rest() {
        let pairs = [
            ("x-forwarded-for", "203.0.113.9"),
            ("x-real-ip", "127.0.0.1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-user", "alice"),
        ];
        let map = cleansed(&trust(&["127.0.0.1/32"]), LOOPBACK, &pairs);
        let expected = [
            ("x-forwarded-proto", "https"),
            ("x-forwarded-user", "alice"),
            ("x-forwarded-for", "203.0.113.9"),
        ];
        assert_eq!(map, headers(&expected));
    }

    #[test]
    fn a_scope_cap_arrives_as_one_clean_header() {
        let mut map = headers(&[("x-openclaw-scopes", "operator.read, operator.write")]);
        map.append(
            "x-openclaw-scopes",
            HeaderValue::from_static("operator.read"),
        );
        assert_eq!(scope_cap(&map).unwrap().to_string(), "read, write");
        trust(&[]).cleanse(direct(LOOPBACK), Attribution::Local, &mut map);
        let values: Vec<_> = map.get_all("x-openclaw-scopes").iter().collect();
        assert_eq!(values, ["operator.read,operator.write"]);
        assert_eq!(
            scope_cap(&headers(&[("x-openclaw-scopes", "")])),
            Some(ScopeSet::new())
        );
        assert_eq!(scope_cap(&HeaderMap::new()), None);
    }

    #[test]
    fn a_rebound_name_is_no_loopback_host() {
        for host in [
            "localhost",
            "LOCALHOST:18789",
            "127.0.0.1:1",
            "127.8.9.1",
            "[::1]:18789",
        ] {
            assert!(has_loopback_host(&headers(&[("host", host)])), "{host}");
        }
        for host in [
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example:1",
            "192.168.1.5",
            "",
        ] {
            assert!(!has_loopback_host(&headers(&[("host", host)])), "{host}");
        }
        assert!(!has_loopback_host(&HeaderMap::new()));
    }

    #[test]
    fn nobody_takes_away_what_the_gateway_decides_by() {
        let decisive = [
            ("x-forwarded-for", "192.0.2.1"),
            ("x-forwarded-proto", "https"),
            ("x-openclaw-scopes", "operator.read"),
            ("tailscale-user-login", "alice"),
            ("authorization", "Bearer x"),
            ("host", "gateway.example"),
        ];
        let names = decisive.map(|(name, _)| name).join(", ");
        let mut map = headers(&decisive);
        map.insert("connection", HeaderValue::from_str(&names).unwrap());
        strip_hop_by_hop(&mut map);
        assert_eq!(map, headers(&decisive));
    }

    #[test]
    fn a_stranger_names_no_user_in_any_header_that_a_gateway_may_read() {
        let pairs = [
            ("x-auth-request-email", "alice"),
            ("cf-access-authenticated-user-email", "alice"),
            ("remote-user", "alice"),
            ("x-secret-of-the-proxy", "1"),
            ("x-harmless", "stays"),
        ];
        let trust = Trust {
            required_headers: vec!["x-secret-of-the-proxy".to_owned()],
            ..trust(&[])
        };
        let map = cleansed(&trust, LAN, &pairs);
        let expected = [("x-harmless", "stays"), ("x-forwarded-for", LAN)];
        assert_eq!(map, headers(&expected));
    }

    #[test]
    fn a_proxy_on_this_machine_may_come_from_either_loopback_address() {
        let chain = [("x-forwarded-for", "203.0.113.9")];
        let client = Attribution::Remote("203.0.113.9".parse().unwrap());
        assert_eq!(attribute(&trust(&["127.0.0.1/32"]), "::1", &chain), client);
        let other = trust(&["10.0.0.0/8"]);
        assert_eq!(attribute(&other, "::1", &chain), Attribution::Unattributed);
    }

    #[test]
    fn headers_of_one_connection_stay_on_it() {
        let mut map = headers(&[
            ("connection", "keep-alive, x-secret-hop"),
            ("keep-alive", "timeout=5"),
            ("x-secret-hop", "1"),
            ("transfer-encoding", "chunked"),
            ("x-harmless", "1"),
        ]);
        strip_hop_by_hop(&mut map);
        assert_eq!(map, headers(&[("x-harmless", "1")]));
    }

    #[test]
    fn only_a_client_on_another_machine_is_said_to_come_by_tls() {
        let lan: IpAddr = LAN.parse().unwrap();
        let proxy: IpAddr = "10.0.0.1".parse().unwrap();
        let loopback: IpAddr = LOOPBACK.parse().unwrap();
        for (peer, attribution, own, expected) in [
            (lan, Attribution::Remote(lan), None, Some("https")),
            (lan, Attribution::Remote(lan), Some("http"), Some("https")),
            (proxy, Attribution::Remote(lan), Some("http"), Some("http")),
            (proxy, Attribution::Remote(lan), None, None),
            (loopback, Attribution::Local, None, None),
            (loopback, Attribution::Unattributed, None, None),
        ] {
            let mut headers = headers(&[]);
            if let Some(own) = own {
                headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(own));
            }
            tell_of_tls(peer, attribution, &mut headers);
            let told = headers.get(X_FORWARDED_PROTO);
            let told = told.map(|value| value.to_str().unwrap());
            assert_eq!(told, expected, "{peer} {attribution:?} {own:?}");
        }
    }
}
