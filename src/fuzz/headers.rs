use std::net::IpAddr;

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};

use super::Choices;
use crate::http::headers::{
    Attribution, Peer, Trust, has_loopback_host, scope_cap, strip_hop_by_hop, tell_of_tls,
};

/// The headers of a request, a line each: what reaches the gateway makes nobody local, nobody another user, and widens
/// no cap, whoever sent them.
pub fn headers(data: &[u8]) {
    let mut choices = Choices(data);
    let address: IpAddr = choices.one_of(&PEERS).parse().unwrap();
    let peer = match choices.flag() {
        true => Peer::named(address),
        false => Peer::direct(address),
    };
    let trust = trust(choices.one_of(&PROXIES));
    let sent = parsed(choices.0);

    let attribution = trust.attribute(peer, &sent);
    let user = trust.user(peer, attribution, &sent);
    let cap = scope_cap(&sent);
    let _ = has_loopback_host(&sent);
    if attribution == Attribution::Local {
        assert!(!peer.named && peer.address.is_loopback());
        assert!(!sent.keys().any(forwards), "a forwarded request is local");
    }
    if user.is_some() {
        assert!(trust.trusts(peer.address) && matches!(attribution, Attribution::Remote(_)));
    }
    if let Attribution::Remote(client) = attribution {
        assert!(!client.is_loopback(), "remote, and yet of this machine");
    }

    let mut onward = sent.clone();
    trust.cleanse(peer, attribution, &mut onward);
    strip_hop_by_hop(&mut onward);
    tell_of_tls(peer.address, attribution, &mut onward);
    let forwarded: Vec<_> = onward.get_all("x-forwarded-for").iter().collect();
    match attribution {
        Attribution::Local => assert!(forwarded.is_empty()),
        _ => assert_eq!(forwarded, [attribution.address().to_string().as_str()]),
    }
    if !trust.trusts(peer.address) {
        let left = |name: &&HeaderName| forwards(name) || identifies(name);
        let own = ["x-forwarded-for", "x-forwarded-proto"];
        assert!(
            onward
                .keys()
                .filter(left)
                .all(|name| own.contains(&name.as_str()))
        );
        assert_eq!(trust.user(peer, attribution, &onward), None);
    }
    assert_eq!(cap, scope_cap(&onward), "a cap stays the cap that it was");
    for name in ["connection", "transfer-encoding", "upgrade", "te"] {
        assert!(!onward.contains_key(name));
    }
    for name in ["host", "origin", "authorization"] {
        assert!(sent.get_all(name).iter().eq(onward.get_all(name).iter()));
    }
    let mut again = onward.clone();
    strip_hop_by_hop(&mut again);
    assert_eq!(again, onward, "nothing is left to strip");
}

fn forwards(name: &HeaderName) -> bool {
    let name = name.as_str();
    let others = ["forwarded", "x-real-ip", "x-client-ip", "true-client-ip"];
    name.starts_with("x-forwarded-") || others.contains(&name)
}

fn identifies(name: &HeaderName) -> bool {
    let name = name.as_str();
    let families = ["tailscale-", "x-remote-", "x-auth-request-", "cf-access-"];
    name == "x-user"
        || name == "remote-user"
        || families.iter().any(|family| name.starts_with(family))
}

/// The lines that hyper would have let through.
fn parsed(lines: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n').take(64) {
        let colon = line.iter().position(|byte| *byte == b':');
        let (name, value) = line.split_at(colon.unwrap_or(line.len()));
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
        {
            headers.append(name, value);
        }
    }
    headers
}

fn trust(proxies: &[&str]) -> Trust {
    Trust {
        proxies: proxies.iter().map(|net| net.parse().unwrap()).collect(),
        user_header: Some("x-user".to_owned()),
        required_headers: vec!["x-forwarded-proto".to_owned()],
        ..Trust::default()
    }
}

const PROXIES: [&[&str]; 4] = [
    &[],
    &["127.0.0.1/32"],
    &["10.0.0.0/8"],
    &["0.0.0.0/0", "::/0"],
];

const PEERS: [&str; 6] = [
    "127.0.0.1",
    "::1",
    "10.0.0.1",
    "192.168.1.7",
    "::ffff:127.0.0.1",
    "2001:db8::9",
];
