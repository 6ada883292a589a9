//! The PROXY protocol, versions 1 and 2: a proxy says for which client it opened a connection, before the first byte
//! of the connection itself.
//!
//! Whoever may say so names the client, so that it is asked of the shim's own `trusted_proxies` alone, and then of all
//! of them: where the protocol is on, a connection without it is none of theirs.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use ppp::{v1, v2};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::timeout;

use crate::config::ProxyProtocol;
use crate::http::headers::{Peer, Trust};

/// Why a connection is no proxy's.
#[derive(Debug, Error)]
pub enum Refused {
    /// It comes from elsewhere.
    #[error("it is none of trusted_proxies, and proxy_protocol is \"required\"")]
    Untrusted,
    /// It does not begin as it has to.
    #[error("it sent no PROXY header of version 1 or 2")]
    NoHeader,
    /// It begins so, and goes on otherwise.
    #[error("its PROXY header is not well-formed")]
    Malformed,
    /// It says too much.
    #[error("its PROXY header announces {0} bytes, and at most {MOST_V2} are read")]
    TooLong(usize),
    /// It says nothing.
    #[error("its PROXY header did not arrive within {0:?}")]
    Slow(Duration),
    /// It left, or broke off.
    #[error("it broke off within its PROXY header: {0}")]
    Broken(#[from] io::Error),
}

/// Who is at the other end: the peer itself, or the client that it names.
///
/// # Errors
///
/// When the peer is none that is believed, or does not keep to the protocol. The connection is of no use then.
pub async fn peer(
    stream: &mut (impl AsyncRead + Unpin),
    address: IpAddr,
    trust: &Trust,
    patience: Duration,
) -> Result<Peer, Refused> {
    match trust.proxy_protocol {
        ProxyProtocol::Off => Ok(Peer::direct(address)),
        ProxyProtocol::Required if !trust.trusts(address) => Err(Refused::Untrusted),
        ProxyProtocol::Required => {
            let header = timeout(patience, read(stream)).await;
            let named = header.map_err(|_| Refused::Slow(patience))??;
            Ok(named.map_or_else(Peer::nobody, Peer::named))
        }
    }
}

/// Reads a header and not one byte more. `None` where it names nobody.
async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<IpAddr>, Refused> {
    let mut header = vec![0; SHORTEST];
    stream.read_exact(&mut header).await?;
    if header.starts_with(V2) {
        read_v2(stream, header).await
    } else if header.starts_with(V1) {
        read_v1(stream, header).await
    } else {
        Err(Refused::NoHeader)
    }
}

/// A line of text, read byte by byte because nothing says how long it is.
async fn read_v1(
    stream: &mut (impl AsyncRead + Unpin),
    mut header: Vec<u8>,
) -> Result<Option<IpAddr>, Refused> {
    while !header.ends_with(b"\n") {
        if header.len() == LONGEST_V1 {
            return Err(Refused::Malformed);
        }
        header.push(stream.read_u8().await?);
    }
    let header = v1::Header::try_from(header.as_slice()).map_err(|_| Refused::Malformed)?;
    Ok(match header.addresses {
        v1::Addresses::Tcp4(addresses) => Some(addresses.source_address.into()),
        v1::Addresses::Tcp6(addresses) => Some(addresses.source_address.into()),
        v1::Addresses::Unknown => None,
    })
}

/// Its last two bytes but one line say how much follows. The extensions (TLV) are read and passed over; so is the
/// checksum among them, which the specification lets a receiver pass over, and which TCP has one of.
async fn read_v2(
    stream: &mut (impl AsyncRead + Unpin),
    mut header: Vec<u8>,
) -> Result<Option<IpAddr>, Refused> {
    header.push(stream.read_u8().await?);
    let length = match header.last_chunk::<2>() {
        Some(length) => usize::from(u16::from_be_bytes(*length)),
        None => 0,
    };
    if length > MOST_V2 {
        return Err(Refused::TooLong(length));
    }
    let fixed = header.len();
    header.resize(fixed + length, 0);
    if let Some(rest) = header.get_mut(fixed..) {
        stream.read_exact(rest).await?;
    }
    let header = v2::Header::try_from(header.as_slice()).map_err(|_| Refused::Malformed)?;
    Ok(match (header.command, header.addresses) {
        (v2::Command::Proxy, v2::Addresses::IPv4(addresses)) => {
            Some(addresses.source_address.into())
        }
        (v2::Command::Proxy, v2::Addresses::IPv6(addresses)) => {
            Some(addresses.source_address.into())
        }
        // A health check of the proxy's own (LOCAL), or a client without an address.
        (v2::Command::Local, _) | (v2::Command::Proxy, _) => None,
    })
}

/// What a header of version 1 begins with.
const V1: &[u8] = b"PROXY ";
/// What a header of version 2 begins with.
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// `PROXY UNKNOWN\r\n`; one of version 2 is a byte longer.
const SHORTEST: usize = 15;
/// The specification's own limit, its end included.
const LONGEST_V1: usize = 107;
/// What follows the first sixteen bytes: addresses, and whatever a proxy adds. HAProxy sends some 300 bytes at the
/// most; certificates that a proxy might add take more.
const MOST_V2: usize = 4096;

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use tokio::io::{AsyncWriteExt as _, duplex};

    use super::*;
    use crate::http::headers::Attribution;
    use hyper::HeaderMap;

    const PROXY: &str = "10.0.0.1";
    const REST: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

    fn trust(proxy_protocol: ProxyProtocol) -> Trust {
        Trust {
            proxies: vec![
                "10.0.0.0/8".parse().unwrap(),
                "127.0.0.1/32".parse().unwrap(),
            ],
            proxy_protocol,
            ..Trust::default()
        }
    }

    /// What is made of these bytes, sent in two pieces; and what is left for the connection.
    async fn sent(from: &str, bytes: &[u8], at: usize) -> (Result<Peer, Refused>, Vec<u8>) {
        let (mut far, mut near) = duplex(8192);
        let (first, second) = (bytes[..at].to_vec(), bytes[at..].to_vec());
        let sender = tokio::spawn(async move {
            far.write_all(&first).await.unwrap();
            tokio::task::yield_now().await;
            far.write_all(&second).await.unwrap();
        });
        let trust = trust(ProxyProtocol::Required);
        let address = from.parse().unwrap();
        let peer = peer(&mut near, address, &trust, Duration::from_secs(20)).await;
        sender.await.unwrap();
        let mut left = Vec::new();
        near.read_to_end(&mut left).await.unwrap();
        (peer, left)
    }

    fn v2_header(source: &str) -> Vec<u8> {
        let (source, port): (IpAddr, u16) = (source.parse().unwrap(), 18_780);
        let builder = match source {
            IpAddr::V4(source) => v2::Builder::with_addresses(
                v2::Version::Two | v2::Command::Proxy,
                v2::Protocol::Stream,
                (
                    std::net::SocketAddr::from((source, 1)),
                    std::net::SocketAddr::from(([10, 0, 0, 2], port)),
                ),
            ),
            IpAddr::V6(source) => v2::Builder::with_addresses(
                v2::Version::Two | v2::Command::Proxy,
                v2::Protocol::Stream,
                (
                    std::net::SocketAddr::from((source, 1)),
                    std::net::SocketAddr::from((source, port)),
                ),
            ),
        };
        builder
            .write_tlv(v2::Type::Authority, b"ui.example")
            .unwrap()
            .write_tlv(v2::Type::CRC32C, &[0; 4])
            .unwrap()
            .build()
            .unwrap()
    }

    fn local_header() -> Vec<u8> {
        [V2, &[0x20, 0, 0, 0]].concat()
    }

    #[tokio::test]
    async fn a_trusted_proxy_names_the_client_however_its_header_is_cut() {
        let cases: [(Vec<u8>, &str); 5] = [
            (
                b"PROXY TCP4 203.0.113.9 10.0.0.2 56324 443\r\n".to_vec(),
                "203.0.113.9",
            ),
            (
                b"PROXY TCP6 2001:db8::9 2001:db8::1 56324 443\r\n".to_vec(),
                "2001:db8::9",
            ),
            (v2_header("203.0.113.9"), "203.0.113.9"),
            (v2_header("2001:db8::9"), "2001:db8::9"),
            (v2_header("::ffff:203.0.113.9"), "203.0.113.9"),
        ];
        for (header, client) in cases {
            let bytes = [&header, REST].concat();
            for at in 0..bytes.len() {
                let (peer, left) = sent(PROXY, &bytes, at).await;
                assert_eq!(peer.unwrap(), Peer::named(client.parse().unwrap()), "{at}");
                assert_eq!(left, REST, "{at}");
            }
        }
    }

    #[tokio::test]
    async fn whom_a_proxy_does_not_place_is_nowhere_and_nobody_whatever_it_says() {
        for header in [
            &b"PROXY UNKNOWN\r\n"[..],
            b"PROXY UNKNOWN ff::1 ff::2 1 2\r\n",
            &local_header(),
        ] {
            for proxy in [PROXY, "127.0.0.1"] {
                let (peer, left) = sent(proxy, &[header, REST].concat(), 3).await;
                let peer = peer.unwrap();
                assert_eq!(left, REST);
                let mut headers = HeaderMap::new();
                let trust = trust(ProxyProtocol::Required);
                assert_eq!(trust.attribute(peer, &headers), Attribution::Unattributed);
                // Its own words are not the proxy's.
                headers.insert("x-forwarded-for", "203.0.113.9".parse().unwrap());
                assert_eq!(trust.attribute(peer, &headers), Attribution::Unattributed);
            }
        }
    }

    #[tokio::test]
    async fn no_header_makes_a_client_local() {
        let trust = trust(ProxyProtocol::Required);
        for source in [
            "127.0.0.1",
            "127.9.9.9",
            "::1",
            "::ffff:127.0.0.1",
            "0.0.0.0",
            "::",
        ] {
            let header = v2_header(source);
            let (peer, _) = sent("127.0.0.1", &header, 0).await;
            let peer = peer.unwrap();
            let mut headers = HeaderMap::new();
            assert_eq!(
                trust.attribute(peer, &headers),
                Attribution::Unattributed,
                "{source}"
            );
            headers.insert("x-forwarded-for", "203.0.113.9".parse().unwrap());
            assert_eq!(
                trust.attribute(peer, &headers),
                Attribution::Unattributed,
                "{source}"
            );
        }
    }

    #[tokio::test]
    async fn nobody_else_is_believed_and_nothing_else_is_a_header() {
        let good = b"PROXY TCP4 203.0.113.9 10.0.0.2 1 2\r\n";
        let (peer, _) = sent("192.168.1.7", good, 0).await;
        assert!(matches!(peer, Err(Refused::Untrusted)), "{peer:?}");
        let too_long = [V2, &[0x21, 0x11, 0xff, 0xff], &[0; 16]].concat();
        let endless = [&b"PROXY TCP4 "[..], &[b'1'; 200]].concat();
        let short_v2 = [V2, &[0x21, 0x11, 0, 4], &[0; 4]].concat();
        let version_3 = [V2, &[0x31, 0x11, 0, 12], &[0; 12]].concat();
        for (bytes, expected) in [
            (REST.to_vec(), "no PROXY header"),
            (too_long, "at most"),
            (endless, "not well-formed"),
            (short_v2, "not well-formed"),
            (version_3, "not well-formed"),
            (
                b"PROXY TCP4 localhost 10.0.0.2 1 2\r\n".to_vec(),
                "not well-formed",
            ),
            (
                b"PROXY TCP4 1.2.3.4 10.0.0.2 1 2\n".to_vec(),
                "not well-formed",
            ),
            (
                b"PROXY UDP4 1.2.3.4 10.0.0.2 1 2\r\n".to_vec(),
                "not well-formed",
            ),
            (b"PROXY TCP4".to_vec(), "broke off"),
        ] {
            let (peer, _) = sent(PROXY, &bytes, 0).await;
            let refused = peer.unwrap_err().to_string();
            assert!(refused.contains(expected), "{refused}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_header_has_its_time() {
        let (mut far, mut near) = duplex(64);
        far.write_all(b"PROXY TC").await.unwrap();
        let trust = trust(ProxyProtocol::Required);
        let patience = Duration::from_secs(10);
        let peer = peer(&mut near, PROXY.parse().unwrap(), &trust, patience).await;
        assert!(matches!(peer, Err(Refused::Slow(_))), "{peer:?}");
    }

    #[tokio::test]
    async fn switched_off_nothing_is_read() {
        let (_far, mut near) = duplex(64);
        let address = PROXY.parse().unwrap();
        let trust = trust(ProxyProtocol::Off);
        let peer = peer(&mut near, address, &trust, Duration::ZERO).await;
        assert_eq!(peer.unwrap(), Peer::direct(address));
    }
}
