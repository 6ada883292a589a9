use std::net::IpAddr;
use std::time::Duration;

use hyper::HeaderMap;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

use super::{Choices, run};
use crate::config::ProxyProtocol;
use crate::http::headers::{Attribution, Peer, Trust};
use crate::listen::proxy_protocol::peer;

/// A header of the PROXY protocol: what it says does not depend on how it is cut, not a byte behind it is taken, and it
/// makes nobody local.
pub fn proxy(data: &[u8]) {
    let mut choices = Choices(data);
    let at = usize::from(choices.byte());
    let bytes = choices.0;
    let (whole, taken) = read(bytes, bytes.len());
    assert_eq!((whole, taken), read(bytes, at.min(bytes.len())));
    let Some(peer) = whole else {
        return;
    };
    // The header alone says the same, and any less says nothing.
    assert_eq!(read(&bytes[..taken], taken), (whole, taken));
    assert_eq!(read(&bytes[..taken - 1], taken - 1).0, None);
    let mut headers = HeaderMap::new();
    assert_ne!(trust().attribute(peer, &headers), Attribution::Local);
    headers.insert("x-forwarded-for", "127.0.0.1".parse().unwrap());
    assert_ne!(trust().attribute(peer, &headers), Attribution::Local);
}

/// Who is named by bytes that come in two pieces, and how many of them were taken.
fn read(bytes: &[u8], at: usize) -> (Option<Peer>, usize) {
    run(async {
        let (mut far, mut near) = duplex(bytes.len() + 1);
        let (first, second) = bytes.split_at(at);
        let send = async {
            far.write_all(first).await.unwrap();
            tokio::task::yield_now().await;
            far.write_all(second).await.unwrap();
            drop(far);
        };
        let trust = trust();
        let patience = Duration::from_secs(1);
        let (peer, ()) = tokio::join!(peer(&mut near, PROXY, &trust, patience), send);
        let mut left = Vec::new();
        near.read_to_end(&mut left).await.unwrap();
        assert!(bytes.ends_with(&left));
        match peer {
            Ok(peer) => (Some(peer), bytes.len() - left.len()),
            Err(refused) => {
                super::assert_printable(&refused.to_string());
                (None, 0)
            }
        }
    })
}

fn trust() -> Trust {
    Trust {
        proxies: vec!["127.0.0.1/32".parse().unwrap()],
        proxy_protocol: ProxyProtocol::Required,
        ..Trust::default()
    }
}

const PROXY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
