//! A client that checks what comes back.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::fixture::{DEVICES, Device, Way};
use crate::wire::{first_frame, frame};

/// A session that stands.
pub(crate) struct Session {
    stream: TcpStream,
    unread: Vec<u8>,
    said: u64,
}

/// Why there is no session.
#[derive(Debug, Error)]
pub(crate) enum Refused {
    /// By a close frame that asks to try again.
    #[error("told to come later")]
    Later,
    /// By other words.
    #[error("told {0}")]
    Otherwise(String),
    /// The connection was not to be had, or ended without a word.
    #[error("not connected: {0}")]
    Broken(#[from] io::Error),
}

impl Session {
    /// Makes the handshake of the device of this number, in no more than [`PATIENCE`].
    pub(crate) async fn open(shim: SocketAddr, number: usize) -> Result<Self, Refused> {
        timeout(PATIENCE, Self::shake(shim, number))
            .await
            .map_err(|_| Refused::Otherwise("no answer in time".into()))?
    }

    async fn shake(shim: SocketAddr, number: usize) -> Result<Self, Refused> {
        let mut session = Self::upgraded(shim).await?;
        session.event("connect.challenge").await?;
        let device = Device::nth(u8::try_from(number % usize::from(DEVICES)).unwrap());
        // Every other one comes with a platform that its gateway would refuse.
        let way = if number.is_multiple_of(2) {
            Way::Pass
        } else {
            Way::Rewrite
        };
        let connect = frame(1, device.connect(way).as_bytes(), true);
        session.stream.write_all(&connect).await?;
        session.event("hello-ok").await?;
        Ok(session)
    }

    /// A connection whose upgrade was agreed to.
    pub(crate) async fn upgraded(shim: SocketAddr) -> Result<Self, Refused> {
        let mut stream = TcpStream::connect(shim).await?;
        stream.set_nodelay(true)?;
        let upgrade = format!(
            "GET / HTTP/1.1\r\nHost: {shim}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(upgrade.as_bytes()).await?;
        let mut session = Self {
            stream,
            unread: Vec::new(),
            said: 0,
        };
        loop {
            if let Some(end) = session
                .unread
                .windows(4)
                .position(|four| four == b"\r\n\r\n")
            {
                let head: Vec<u8> = session.unread.drain(..end + 4).collect();
                let head = String::from_utf8_lossy(&head).into_owned();
                if head.starts_with("HTTP/1.1 101 ") {
                    return Ok(session);
                }
                return Err(Refused::Otherwise(head));
            }
            session.more().await?;
        }
    }

    async fn event(&mut self, name: &str) -> Result<(), Refused> {
        let (opcode, payload) = self.next().await?;
        let text = String::from_utf8_lossy(&payload);
        match (opcode, payload.first_chunk()) {
            (1, _) if text.contains(name) => Ok(()),
            (8, Some(code)) => {
                let code = u16::from_be_bytes(*code);
                let later = matches!(code, 1012 | 1013);
                Err(if later {
                    Refused::Later
                } else {
                    Refused::Otherwise(format!("{code} {}", String::from_utf8_lossy(&payload[2..])))
                })
            }
            _ => Err(Refused::Otherwise(format!("not {name} but {text}"))),
        }
    }

    /// Sends a message that no other is like, and waits for the same; how many bytes went each way.
    pub(crate) async fn echo(&mut self, length: usize) -> io::Result<Traffic> {
        self.said += 1;
        let numbers = (self.said..).flat_map(u64::to_le_bytes);
        let message: Vec<u8> = numbers.take(length).collect();
        let sent = frame(2, &message, true);
        self.stream.write_all(&sent).await?;
        let (opcode, answer) = timeout(PATIENCE, self.next())
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        if opcode == 8 {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        assert!(opcode == 2 && answer == message, "something else came back");
        let received = sent.len() - MASK;
        Ok(Traffic {
            to_gateway: sent.len() as u64,
            to_client: received as u64,
        })
    }

    /// Ends it as it should be ended.
    pub(crate) async fn close(mut self) -> io::Result<()> {
        self.stream
            .write_all(&frame(8, &1000_u16.to_be_bytes(), true))
            .await?;
        timeout(PATIENCE, async { while self.more().await.is_ok() {} })
            .await
            .map_err(|_| io::ErrorKind::TimedOut.into())
    }

    async fn next(&mut self) -> io::Result<(u8, Vec<u8>)> {
        loop {
            if let Some((opcode, payload, whole)) = first_frame(&self.unread) {
                self.unread.drain(..whole);
                return Ok((opcode, payload));
            }
            self.more().await?;
        }
    }

    async fn more(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.unread).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

/// Bytes of frames, headers included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    pub(crate) to_gateway: u64,
    pub(crate) to_client: u64,
}

impl std::ops::AddAssign for Traffic {
    fn add_assign(&mut self, more: Self) {
        self.to_gateway += more.to_gateway;
        self.to_client += more.to_client;
    }
}

/// A client's frame has four bytes more than a server's.
const MASK: usize = 4;
/// The most that clients of OpenClaw wait.
const PATIENCE: Duration = Duration::from_secs(15);
