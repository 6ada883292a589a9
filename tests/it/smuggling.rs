use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::stage::Shim;
use crate::wire::RawClient;

/// A gateway that keeps every byte of every connection and answers each head as if it were refused or done.
#[derive(Clone, Default)]
struct Keeping(Arc<Mutex<Vec<String>>>);

impl Keeping {
    async fn start() -> (Self, SocketAddr) {
        let keeping = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let kept = keeping.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(kept.clone().attend(stream));
            }
        });
        (keeping, address)
    }

    async fn attend(self, mut stream: TcpStream) {
        let place = {
            let mut kept = self.0.lock().unwrap();
            kept.push(String::new());
            kept.len() - 1
        };
        let (mut buffer, mut answered) = ([0; 4096], 0);
        while let Ok(length @ 1..) = stream.read(&mut buffer).await {
            let heads = {
                let mut kept = self.0.lock().unwrap();
                let text = String::from_utf8_lossy(&buffer[..length]).to_lowercase();
                kept[place].push_str(&text);
                kept[place].matches("\r\n\r\n").count()
            };
            while answered < heads {
                let answer = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
                if stream.write_all(answer).await.is_err() {
                    return;
                }
                answered += 1;
            }
        }
    }

    /// What came on the connections that are not the shim's own.
    fn marked(&self) -> Vec<String> {
        let kept = self.0.lock().unwrap();
        let marked = kept.iter().filter(|text| text.contains("/marked"));
        marked.cloned().collect()
    }
}

/// Sends these bytes, and reads what comes until the shim closes or the last of so many answers is there; their heads,
/// and what the gateway got.
async fn after(bytes: &str, answers: usize) -> (Vec<String>, Vec<String>) {
    let (keeping, gateway) = Keeping::start().await;
    let dir = tempfile::tempdir().unwrap();
    let shim = Shim::start(gateway, &dir, "").await;
    let mut client = RawClient::connect(shim.addr).await;
    client.write(bytes.as_bytes()).await;
    let mut heads = Vec::new();
    for _ in 0..answers {
        let head = client.head().await;
        let ends = head.to_lowercase().contains("connection: close");
        heads.push(head);
        if ends {
            break;
        }
    }
    (heads, keeping.marked())
}

const SMUGGLED: &str = "GET /marked/smuggled HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-User: smuggler\r\n\
                        X-Forwarded-For: 127.0.0.1\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn a_request_with_a_length_and_chunks_has_one_meaning() {
    let request = format!(
        "POST /marked HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n\
         0\r\n\r\n{SMUGGLED}",
        5 + SMUGGLED.len()
    );
    let (_, kept) = after(&request, 2).await;
    for text in &kept {
        assert!(!text.contains("smuggler"), "{text}");
        for head in text.split("\r\n\r\n") {
            let both = head.contains("content-length:") && head.contains("transfer-encoding:");
            assert!(!both, "{head}");
        }
    }
}

#[tokio::test]
async fn what_follows_a_refused_upgrade_is_a_request_like_any_other() {
    let request = format!(
        "GET /marked HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n{SMUGGLED}"
    );
    let (heads, kept) = after(&request, 2).await;
    assert!(heads[0].starts_with("HTTP/1.1 400 "), "{heads:?}");
    assert!(!kept.is_empty());
    for text in &kept {
        assert!(!text.contains("smuggler"), "{text}");
    }
}

#[tokio::test]
async fn what_a_stranger_says_twice_or_in_odd_letters_arrives_no_more_than_once_said() {
    let request = "GET /marked HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 203.0.113.66\r\nX-FORWARDED-for: 203.0.113.66\r\n\
                   x-forwarded-USER: smuggler\r\nX-Forwarded-User: smuggler\r\nForwarded: for=203.0.113.66\r\n\
                   X-Real-IP: 203.0.113.66\r\nConnection: close, x-harmless\r\nX-Harmless: 1\r\n\r\n";
    let (heads, kept) = after(request, 1).await;
    assert!(heads[0].starts_with("HTTP/1.1 400 "), "{heads:?}");
    let [text] = kept.as_slice() else {
        panic!("one request: {kept:?}");
    };
    for said in ["203.0.113.66", "smuggler", "x-harmless"] {
        assert!(!text.contains(said), "{text}");
    }
}

#[tokio::test]
async fn a_request_with_two_hosts_is_for_none() {
    let request = "GET /marked HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    let (heads, kept) = after(request, 1).await;
    assert!(heads[0].starts_with("HTTP/1.1 400 "), "{heads:?}");
    assert!(kept.is_empty(), "{kept:?}");
}
