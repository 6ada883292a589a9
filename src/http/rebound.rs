//! A web page that pretends to be the proxy on this machine.
//!
//! A page under a name that was rebound to this machine may send what headers it likes with its plain requests,
//! `X-Forwarded-For` and those that name a user among them, and comes from the address of a proxy on this machine. What it
//! cannot choose is the Host: the browser names the port that it connects to, under the page's own name. A proxy passes on
//! the name that its own clients use, with its own port, or an address of the shim.

use std::net::{IpAddr, SocketAddr};
use std::sync::Once;

use hyper::HeaderMap;
use hyper::header::HOST;
use tokio::net::TcpStream;
use tracing::warn;

use super::headers::{self, Attribution, Peer};

/// The address that a client connected to, before a redirect on this machine led it elsewhere.
#[must_use]
pub fn address_asked_for(stream: &TcpStream) -> Option<SocketAddr> {
    let here = stream.local_addr().ok()?;
    Some(before_redirect(stream, here).unwrap_or(here))
}

#[cfg(target_os = "linux")]
fn before_redirect(stream: &TcpStream, here: SocketAddr) -> Option<SocketAddr> {
    use rustix::net::sockopt::{ip_original_dst, ipv6_original_dst};
    // Where nothing tracks connections, the kernel does not know.
    match ip_original_dst(stream) {
        Ok(address) => Some(address.into()),
        Err(_) if here.is_ipv4() => None,
        Err(_) => Some(ipv6_original_dst(stream).ok()?.into()),
    }
}

#[cfg(not(target_os = "linux"))]
const fn before_redirect(_stream: &TcpStream, _here: SocketAddr) -> Option<SocketAddr> {
    None
}

/// Where a request comes from, if not from the proxy that it claims to have passed: then nobody vouches for what it says.
pub(super) fn doubt(
    attribution: Attribution,
    peer: Peer,
    headers: &HeaderMap,
    asked: SocketAddr,
) -> Attribution {
    // Who connects to an address of this machine but loopback comes from that address.
    let is_here = peer.address.is_loopback() || peer.address == asked.ip().to_canonical();
    let claims = matches!(attribution, Attribution::Remote(_)) && is_here;
    match claims.then(|| own_name(headers, asked.port())).flatten() {
        Some(host) => {
            tell(host);
            Attribution::Unattributed
        }
        None => attribution,
    }
}

/// The Host, where it is a name with this port, and no name of this machine.
fn own_name(headers: &HeaderMap, port: u16) -> Option<&str> {
    let host = headers.get(HOST)?.to_str().ok()?;
    let (name, named) = host.rsplit_once(':')?;
    let address = name.trim_matches(['[', ']']).parse::<IpAddr>();
    let foreign =
        named.parse() == Ok(port) && address.is_err() && !headers::has_loopback_host(headers);
    foreign.then_some(host)
}

/// Once: a page could fill the log.
fn tell(host: &str) {
    static TOLD: Once = Once::new();
    TOLD.call_once(|| {
        let host = host.escape_debug();
        warn!(
            "forwarding headers of a request for http://{host}/ are not believed: it names the shim's own port, as a web \
             page does whose name was rebound to this machine. If that is a proxy's name, let the proxy set Host to the \
             shim's address, or name it in `hosts` of a [[gateway]]"
        );
    });
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    const ASKED: SocketAddr =
        SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 5)), 18_780);

    fn believed(peer: &str, host: Option<&str>) -> bool {
        let client = Attribution::Remote("203.0.113.9".parse().unwrap());
        let mut headers = HeaderMap::new();
        if let Some(host) = host {
            headers.insert(HOST, host.parse().unwrap());
        }
        doubt(client, Peer::direct(peer.parse().unwrap()), &headers, ASKED) == client
    }

    #[test]
    fn who_names_the_shims_own_port_by_a_foreign_name_is_no_proxy_of_this_machine() {
        for host in [
            "evil.example:18780",
            "127.0.0.1.evil.example:18780",
            "evil:18780",
        ] {
            assert!(!believed("127.0.0.1", Some(host)), "{host}");
            assert!(!believed("::1", Some(host)), "{host}");
            assert!(
                !believed("192.0.2.5", Some(host)),
                "a browser of this machine, at its own address: {host}"
            );
            assert!(
                believed("10.0.0.7", Some(host)),
                "a browser is not there: {host}"
            );
        }
    }

    #[test]
    fn what_proxies_make_of_the_host_is_believed() {
        for host in [
            "gateway.example",
            "gateway.example:8443",
            "127.0.0.1:18780",
            "localhost:18780",
            "[::1]:18780",
            "192.0.2.5:18780",
            "[2001:db8::5]:18780",
            "",
        ] {
            assert!(believed("127.0.0.1", Some(host)), "{host}");
        }
        assert!(believed("127.0.0.1", None));
    }

    #[test]
    fn nobody_becomes_local_by_it() {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, "evil.example:18780".parse().unwrap());
        let peer = Peer::direct("127.0.0.1".parse().unwrap());
        for attribution in [Attribution::Local, Attribution::Unattributed] {
            assert_eq!(doubt(attribution, peer, &headers, ASKED), attribution);
        }
    }
}
