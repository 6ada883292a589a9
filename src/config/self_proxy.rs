//! A shim that proxies to itself would open connections until nothing is left.

use std::net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs as _};

use super::url::GatewayUrl;

/// Whether a shim that listens on `listen` is what answers at `gateway`.
pub(super) fn is_itself(listen: SocketAddr, gateway: &GatewayUrl) -> bool {
    if listen.port() != gateway.port {
        return false;
    }
    if let Some(ip) = gateway.ip() {
        return covers(listen.ip(), ip);
    }
    // A name is looked up only when the ports are the same, which they seldom are.
    let addresses = (gateway.host.as_str(), gateway.port).to_socket_addrs();
    addresses.is_ok_and(|mut addresses| addresses.any(|address| covers(listen.ip(), address.ip())))
}

/// Whether `ip` is an address of this machine.
pub(super) fn is_own(ip: IpAddr) -> bool {
    ip.is_loopback() || TcpListener::bind((ip, 0)).is_ok()
}

fn covers(listen: IpAddr, ip: IpAddr) -> bool {
    let (listen, ip) = (listen.to_canonical(), ip.to_canonical());
    if listen.is_unspecified() {
        return is_own(ip);
    }
    // `localhost` may mean either of the two, and a gateway on loopback listens on both.
    let first =
        |ip: IpAddr| ip.is_loopback() && (ip.is_ipv6() || ip == IpAddr::from([127, 0, 0, 1]));
    listen == ip || (first(listen) && first(ip))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;

    fn itself(listen: &str, gateway: &str) -> bool {
        is_itself(
            listen.parse().unwrap(),
            &GatewayUrl::parse(gateway).unwrap(),
        )
    }

    #[test]
    fn every_spelling_of_the_own_address_is_seen() {
        for listen in [
            "127.0.0.1:1",
            "[::1]:1",
            "0.0.0.0:1",
            "[::]:1",
            "[::ffff:127.0.0.1]:1",
        ] {
            for gateway in ["127.0.0.1:1", "localhost:1", "[::1]:1", "ws://LOCALHOST:1/"] {
                assert!(itself(listen, gateway), "{listen} {gateway}");
            }
        }
    }

    #[test]
    fn another_port_or_machine_is_not_itself() {
        assert!(!itself("127.0.0.1:1", "127.0.0.1:2"));
        assert!(!itself("127.0.0.2:1", "127.0.0.1:1"));
        assert!(!itself("0.0.0.0:1", "192.0.2.1:1"));
        assert!(!itself("192.0.2.1:1", "127.0.0.1:1"));
        assert!(!itself("127.0.0.1:1", "name.invalid:1"));
    }
}
