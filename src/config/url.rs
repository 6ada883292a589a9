//! The address of the gateway.

use std::fmt;
use std::net::IpAddr;

/// Where the gateway listens: `ws://host:port` or `wss://host:port`.
///
/// There is no path: a client's own path goes on to the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayUrl {
    /// Whether the gateway speaks TLS.
    pub tls: bool,
    /// A host name in lower case, or an IP address without brackets.
    pub host: String,
    /// The TCP port, never 0.
    pub port: u16,
}

impl GatewayUrl {
    /// Reads `ws://host:port`, `wss://…`, `http(s)://…` or a bare `host:port`.
    ///
    /// # Errors
    ///
    /// Says what is wrong, without repeating the text: it may hold a password or a token.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("ws", text));
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "ws" | "http" => false,
            "wss" | "https" => true,
            _ => return Err("the scheme is neither ws nor wss"),
        };
        if rest.contains('@') {
            return Err("it holds a user or a password; give those as gateway.password");
        }
        if rest.contains(['?', '#']) {
            return Err("it holds a query or a fragment; give a token as gateway.token");
        }
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains('/') {
            return Err("it holds a path; the path of each client goes on to the gateway anyway");
        }
        let (host, port) = split_authority(authority)?;
        let port = match port {
            Some(port) => port
                .parse()
                .ok()
                .filter(|port| *port != 0)
                .ok_or("the port is not a number from 1 to 65535")?,
            None if tls => 443,
            None => 80,
        };
        Ok(Self { tls, host, port })
    }

    /// The host as an IP address; `None` when it is a name other than `localhost`.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        if self.host == "localhost" {
            return Some(IpAddr::from([127, 0, 0, 1]));
        }
        Some(self.host.parse::<IpAddr>().ok()?.to_canonical())
    }

    /// Whether the gateway listens on a loopback address of this machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.ip().is_some_and(|ip| ip.is_loopback())
    }

    /// `host:port`, with brackets around an IPv6 address.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for GatewayUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "wss" } else { "ws" };
        write!(f, "{scheme}://{}", self.authority())
    }
}

fn split_authority(authority: &str) -> Result<(String, Option<&str>), &'static str> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, after) = rest
            .split_once(']')
            .ok_or("the bracket around the IPv6 address is not closed")?;
        let ip: std::net::Ipv6Addr = host
            .parse()
            .map_err(|_| "the brackets do not hold an IPv6 address")?;
        if ip.is_unspecified() {
            return Err("[::] is an address to listen on; write [::1]");
        }
        let port = match after {
            "" => None,
            after => Some(
                after
                    .strip_prefix(':')
                    .ok_or("there is no colon before the port")?,
            ),
        };
        return Ok((ip.to_string(), port));
    }
    let (host, port) = match authority.split_once(':') {
        Some((_, port)) if port.contains(':') => {
            return Err("an IPv6 address needs brackets, as in ws://[::1]:18789");
        }
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    let named = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if host.is_empty() || !host.bytes().all(named) {
        return Err("there is no host name or address in it");
    }
    if host == "0.0.0.0" {
        return Err("0.0.0.0 is an address to listen on; write 127.0.0.1");
    }
    Ok((host.to_ascii_lowercase(), port))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;

    #[test]
    fn every_usual_spelling_is_read() {
        for (text, expected) in [
            ("ws://127.0.0.1:18789", "ws://127.0.0.1:18789"),
            ("127.0.0.1:18789", "ws://127.0.0.1:18789"),
            ("http://LocalHost:1/", "ws://localhost:1"),
            ("wss://gateway.example", "wss://gateway.example:443"),
            ("ws://gateway", "ws://gateway:80"),
            ("https://[0:0::1]:8443", "wss://[::1]:8443"),
        ] {
            assert_eq!(
                GatewayUrl::parse(text).unwrap().to_string(),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_not_an_address_is_refused() {
        for text in [
            "",
            "ws://",
            "ftp://host:1",
            "ws://user:pass@host:1",
            "ws://host:1/?token=abc",
            "ws://host:1/path",
            "ws://host:0",
            "ws://host:65536",
            "ws://host:x",
            "ws://::1:1",
            "ws://[::1",
            "ws://[::1]1",
            "ws://[host]:1",
            "ws://0.0.0.0:1",
            "ws://[::]:1",
            "ws://ho st:1",
        ] {
            assert!(GatewayUrl::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn loopback_is_recognised_in_every_spelling() {
        for text in [
            "localhost:1",
            "127.0.0.9:1",
            "[::1]:1",
            "[::ffff:127.0.0.1]:1",
        ] {
            assert!(GatewayUrl::parse(text).unwrap().is_loopback(), "{text}");
        }
        for text in ["gateway:1", "10.0.0.1:1", "[fe80::1]:1"] {
            assert!(!GatewayUrl::parse(text).unwrap().is_loopback(), "{text}");
        }
    }
}
