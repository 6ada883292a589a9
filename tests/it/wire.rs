//! A client that writes bytes and reads bytes, so that no library can tidy up behind its back.

use std::net::SocketAddr;
use std::time::Duration;

use scope_shim::ws::frame::{Header, Opcode, encode};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

pub const KEY: [u8; 4] = [0xde, 0xad, 0xbe, 0xef];

pub struct RawClient {
    pub stream: TcpStream,
    unread: Vec<u8>,
}

impl RawClient {
    /// Sends the upgrade request, with `glued` behind it in the same segment, and reads the response's head.
    pub async fn upgrade(addr: SocketAddr, path: &str, glued: &[u8]) -> Self {
        let mut client = Self::asks_for_upgrade(addr, path, glued).await;
        let head = client.head().await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        client
    }

    /// The same without waiting for the response.
    pub async fn asks_for_upgrade(addr: SocketAddr, path: &str, glued: &[u8]) -> Self {
        let mut client = Self::connect(addr).await;
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Extensions: permessage-deflate\r\nX-Odd-cAsE: kept\r\n\r\n"
        );
        client
            .stream
            .write_all(&[head.as_bytes(), glued].concat())
            .await
            .unwrap();
        client
    }

    pub async fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            unread: Vec::new(),
        }
    }

    /// Reads what comes on a connection that is there.
    pub const fn over(stream: TcpStream) -> Self {
        Self {
            stream,
            unread: Vec::new(),
        }
    }

    pub async fn connect_from(source: &str, addr: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket
            .bind(SocketAddr::new(source.parse().unwrap(), 0))
            .unwrap();
        Self {
            stream: socket.connect(addr).await.unwrap(),
            unread: Vec::new(),
        }
    }

    /// Reads up to the empty line.
    pub async fn head(&mut self) -> String {
        loop {
            if let Some(end) = self
                .unread
                .windows(4)
                .position(|bytes| bytes == b"\r\n\r\n")
            {
                let head = self.unread.drain(..end + 4).collect();
                return String::from_utf8(head).unwrap();
            }
            assert!(self.more().await > 0, "closed inside the head");
        }
    }

    pub async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The next frame: what it carries, and its payload. `None` at the end of the stream.
    pub async fn frame(&mut self) -> Option<(Opcode, Vec<u8>)> {
        loop {
            if let Some(header) = Header::parse(&self.unread).unwrap() {
                let end = header.header_len + usize::try_from(header.payload_len).unwrap();
                if self.unread.len() >= end {
                    let frame: Vec<u8> = self.unread.drain(..end).collect();
                    return Some((header.opcode, frame[header.header_len..].to_vec()));
                }
            }
            if self.more().await == 0 {
                return None;
            }
        }
    }

    /// The next text message, as JSON.
    pub async fn json(&mut self) -> Value {
        let (opcode, payload) = self.frame().await.expect("a message");
        assert_eq!(opcode, Opcode::Text, "{payload:?}");
        serde_json::from_slice(&payload).unwrap()
    }

    /// The nonce of the challenge, which is the gateway's first message.
    pub async fn nonce(&mut self) -> String {
        let challenge = self.json().await;
        assert_eq!(challenge["event"], "connect.challenge");
        challenge["payload"]["nonce"].as_str().unwrap().to_owned()
    }

    /// Code and reason of the close frame, whatever comes before it.
    pub async fn closed(&mut self) -> (u16, String) {
        loop {
            match self.frame().await {
                None => return (1006, String::new()),
                Some((Opcode::Close, payload)) => {
                    let code = u16::from_be_bytes(payload[..2].try_into().unwrap());
                    return (code, String::from_utf8(payload[2..].to_vec()).unwrap());
                }
                Some(_) => {}
            }
        }
    }

    /// Exactly so many bytes.
    pub async fn exactly(&mut self, count: usize) -> Vec<u8> {
        while self.unread.len() < count {
            assert!(self.more().await > 0, "closed too early");
        }
        self.unread.drain(..count).collect()
    }

    /// Everything up to the end of the stream.
    pub async fn rest(&mut self) -> Vec<u8> {
        while self.more().await > 0 {}
        std::mem::take(&mut self.unread)
    }

    async fn more(&mut self) -> usize {
        let read = self.stream.read_buf(&mut self.unread);
        let read = timeout(Duration::from_secs(20), read).await;
        // A connection that is reset has ended, too.
        read.expect("bytes in time").unwrap_or_default()
    }
}

/// One frame of a client.
pub fn masked(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    encode(opcode, payload, Some(KEY))
}

/// A message in pieces, with a ping between the first and the second.
pub fn fragmented(payload: &[u8]) -> Vec<u8> {
    let (first, rest) = payload.split_at(payload.len() / 3);
    let (second, third) = rest.split_at(rest.len() / 2);
    let piece = |payload: &[u8], first_byte: u8| {
        let mut frame = masked(Opcode::Text, payload);
        frame[0] = first_byte;
        frame
    };
    [
        piece(first, 0x01),
        masked(Opcode::Ping, b"between"),
        piece(second, 0x00),
        piece(third, 0x80),
    ]
    .concat()
}
