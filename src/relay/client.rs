//! The client's end of a session, and where what it was told so far ends: between two frames, or inside one.
//!
//! That is followed from the first byte on, so that a client can be sent away wherever its session is: in the middle of
//! its handshake as well as years later.

use std::io;

use bytes::{Buf as _, BytesMut};
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

use super::boundary::Boundary;
use super::{STOP_PATIENCE, Wire, farewell};
use crate::ws::Close;

/// The client's end of a session.
#[derive(Debug)]
pub struct Client {
    /// Its connection. Whatever is written to it directly is not followed.
    pub wire: Wire,
    pub(super) told: Boundary,
}

impl From<Wire> for Client {
    /// A client that was told nothing yet, or nothing but whole frames.
    fn from(wire: Wire) -> Self {
        Self {
            wire,
            told: Boundary::default(),
        }
    }
}

impl Client {
    /// Writes all of the bytes, and sees to it that none is held back. Where that is given up in between, it is known
    /// how far it came.
    ///
    /// # Errors
    ///
    /// When the socket fails.
    pub async fn send(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = self.write(bytes).await?;
            bytes.advance(written);
        }
        self.wire.stream.flush().await
    }

    /// Hands on so many of the gateway's bytes. Whoever gives up waiting for it loses none: what the client has not taken
    /// yet stays unread.
    ///
    /// # Errors
    ///
    /// When the socket fails.
    pub async fn hand_on(&mut self, bytes: usize, unread: &mut BytesMut) -> io::Result<()> {
        let mut left = bytes;
        while left > 0 {
            let written = self.write(unread.get(..left).unwrap_or_default()).await?;
            unread.advance(written);
            left -= written;
        }
        self.wire.stream.flush().await
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.wire.stream.write(bytes).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.told.feed(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    /// Says some last frames and closes. Inside a frame that nobody is going to end, its connection just ends.
    ///
    /// # Errors
    ///
    /// When the socket fails.
    pub async fn close(&mut self, mut last: Vec<u8>, close: &Close) -> io::Result<()> {
        if self.told.may_close() {
            // Together, so that nobody acts on one without the other.
            last.extend_from_slice(&close.server_frame());
            self.send(&last).await?;
        }
        self.wire.stream.shutdown().await
    }

    /// Sends it away, and gives it a moment to leave.
    pub async fn dismiss(&mut self, close: &Close) {
        let _ = timeout(STOP_PATIENCE, self.close(Vec::new(), close)).await;
        let _ = timeout(STOP_PATIENCE, farewell(&mut self.wire.stream)).await;
    }
}
