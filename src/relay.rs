//! After the handshake: bytes, not frames.
//!
//! Both directions run in one task and share one buffer per thread, so an idle session holds none. A direction that
//! ends closes its half and lets the other finish. Only a delegated session, which the shim may have to close, has its
//! frame headers counted towards the client, so that its close frame never lands inside another frame. Only a degraded
//! session has a [`Tap`]; no other session's frames are ever looked at.

mod boundary;
mod tap;

use std::borrow::Cow;
use std::cell::RefCell;
use std::future::pending;
use std::io;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout};

use crate::ws::Close;
use boundary::Boundary;
pub use tap::Tap;

/// One end of a session: the socket, and what was read from it but not yet handed on.
#[derive(Debug)]
pub struct Wire {
    /// The socket.
    pub stream: TcpStream,
    /// Bytes that came from it and belong to the other side.
    pub unread: BytesMut,
}

/// What went through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RelayStats {
    /// Bytes from the client to the gateway.
    pub to_gateway: u64,
    /// Bytes from the gateway to the client.
    pub to_client: u64,
}

/// How a session may be ended from outside.
#[derive(Debug)]
pub enum Stop {
    /// Never: nobody but its two ends closes it.
    Never,
    /// When a close arrives; the sender being dropped means never.
    When(oneshot::Receiver<Close>),
}

/// Copies both ways until both directions have ended, one fails, or the session is stopped.
///
/// `idle` ends a session in which nothing went either way for so long. `tap` is for a degraded session alone.
///
/// # Errors
///
/// When a socket fails. Whatever was read before has been handed on, or is lost with the socket it was for.
pub async fn relay(
    client: Wire,
    gateway: Wire,
    idle: Option<Duration>,
    stop: Stop,
    tap: Option<Tap>,
) -> io::Result<RelayStats> {
    let (mut client_stream, mut gateway_stream) = (client.stream, gateway.stream);
    let (client_read, client_write) = client_stream.split();
    let (gateway_read, gateway_write) = gateway_stream.split();
    let (activity, active) = watch::channel(());
    let (ended, end) = watch::channel(false);
    let up = Direction {
        reader: client_read,
        writer: gateway_write,
        pending: client.unread,
        bytes: 0,
        boundary: None,
        tap: None,
        activity: &activity,
    };
    let down = Direction {
        reader: gateway_read,
        writer: client_write,
        pending: gateway.unread,
        bytes: 0,
        boundary: matches!(stop, Stop::When(_)).then(Boundary::default),
        tap,
        activity: &activity,
    };
    let both = async {
        let up = async { finish(up.run(Stop::Never).await, &ended) };
        let down = async { finish(down.run(stop).await, &ended) };
        let (to_gateway, to_client) = tokio::try_join!(up, down)?;
        Ok(RelayStats {
            to_gateway,
            to_client,
        })
    };
    tokio::select! {
        result = both => result,
        () = idle_for(idle, active) => Err(io::Error::new(io::ErrorKind::TimedOut, "nothing went through")),
        () = lingered(end) => Err(io::Error::new(io::ErrorKind::TimedOut, "one side stayed open after the other ended")),
    }
}

/// A stopped session has nothing left to do in either direction: it ends both.
fn finish(result: io::Result<DirectionEnd>, ended: &watch::Sender<bool>) -> io::Result<u64> {
    match result? {
        DirectionEnd::HalfClosed(bytes) => {
            ended.send_replace(true);
            Ok(bytes)
        }
        DirectionEnd::Stopped => Err(io::Error::new(io::ErrorKind::ConnectionAborted, STOPPED)),
    }
}

/// Whether the relay ended because it was stopped.
#[must_use]
pub fn was_stopped(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ConnectionAborted && error.to_string() == STOPPED
}

struct Direction<'a> {
    reader: ReadHalf<'a>,
    writer: WriteHalf<'a>,
    pending: BytesMut,
    bytes: u64,
    boundary: Option<Boundary>,
    tap: Option<Tap>,
    activity: &'a watch::Sender<()>,
}

enum DirectionEnd {
    HalfClosed(u64),
    Stopped,
}

/// What one attempt to move bytes came to.
enum Moved {
    All,
    /// These bytes did not fit into the socket yet.
    Rest(Vec<u8>),
    Nothing,
    End,
}

impl Direction<'_> {
    async fn run(mut self, stop: Stop) -> io::Result<DirectionEnd> {
        let first = std::mem::take(&mut self.pending);
        self.count(&first);
        let shown = tapped(&mut self.tap, &first);
        self.writer.write_all(&shown).await?;
        drop(shown);
        drop(first);
        let mut stopped = Box::pin(stopped(stop));
        let close = loop {
            tokio::select! {
                biased;
                close = &mut stopped => break close,
                ready = self.reader.readable() => ready?,
            }
            match self.move_some(usize::MAX)? {
                Moved::All | Moved::Nothing => {}
                Moved::Rest(rest) => self.writer.write_all(&rest).await?,
                Moved::End => {
                    if let Some(tap) = &mut self.tap {
                        self.writer.write_all(&tap.finish()).await?;
                    }
                    let _ = self.writer.shutdown().await;
                    return Ok(DirectionEnd::HalfClosed(self.bytes));
                }
            }
        };
        let _ = timeout(STOP_PATIENCE, self.close_at_boundary(&close)).await;
        Ok(DirectionEnd::Stopped)
    }

    /// Reads what is there into the thread's buffer and writes it on at once.
    fn move_some(&mut self, at_most: usize) -> io::Result<Moved> {
        BUFFER.with_borrow_mut(|buffer| {
            let room = buffer.len().min(at_most);
            let Some(buffer) = buffer.get_mut(..room) else {
                return Ok(Moved::Nothing);
            };
            let read = match self.reader.try_read(buffer) {
                Ok(0) => return Ok(Moved::End),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Moved::Nothing);
                }
                Err(error) => return Err(error),
            };
            let bytes = buffer.get(..read).unwrap_or_default();
            self.count(bytes);
            let bytes = tapped(&mut self.tap, bytes);
            let written = match self.writer.try_write(&bytes) {
                Ok(written) => written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(error) => return Err(error),
            };
            match bytes.get(written..) {
                None | Some([]) => Ok(Moved::All),
                Some(rest) => Ok(Moved::Rest(rest.to_vec())),
            }
        })
    }

    fn count(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        if let Some(boundary) = &mut self.boundary {
            boundary.feed(bytes);
        }
        if !bytes.is_empty() {
            self.activity.send_replace(());
        }
    }

    /// Lets the frame under way end, then closes. Where frames cannot be told apart, the connection just ends.
    async fn close_at_boundary(&mut self, close: &Close) -> io::Result<()> {
        while let Some(missing) = self.boundary.as_ref().and_then(Boundary::missing) {
            self.reader.readable().await?;
            match self.move_some(missing)? {
                Moved::All | Moved::Nothing => {}
                Moved::Rest(rest) => self.writer.write_all(&rest).await?,
                Moved::End => return Ok(()),
            }
        }
        if self.boundary.as_ref().is_some_and(Boundary::is_known) {
            self.writer.write_all(&close.server_frame()).await?;
        }
        self.writer.shutdown().await
    }
}

/// What the other side gets of these bytes.
fn tapped<'b>(tap: &mut Option<Tap>, bytes: &'b [u8]) -> Cow<'b, [u8]> {
    match tap {
        None => Cow::Borrowed(bytes),
        Some(tap) => tap.pass(bytes),
    }
}

async fn stopped(stop: Stop) -> Close {
    match stop {
        Stop::Never => pending().await,
        Stop::When(close) => match close.await {
            Ok(close) => close,
            Err(_) => pending().await,
        },
    }
}

async fn idle_for(limit: Option<Duration>, mut active: watch::Receiver<()>) {
    let Some(limit) = limit else {
        return pending().await;
    };
    while let Ok(Ok(())) = timeout(limit, active.changed()).await {}
}

/// Completes some time after the first direction has ended.
async fn lingered(mut end: watch::Receiver<bool>) {
    if end.wait_for(|ended| *ended).await.is_err() {
        return pending().await;
    }
    tokio::time::sleep_until(Instant::now() + LINGER).await;
}

thread_local! {
    /// Shared by every session of the thread: bytes stay in it only between a read and the write that follows at once.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; BUFFER_SIZE]);
}

const BUFFER_SIZE: usize = 64 * 1024;
/// How long the other side may stay open after one has ended.
const LINGER: Duration = Duration::from_secs(60);
/// How long a frame under way may take to end when the session is stopped.
const STOP_PATIENCE: Duration = Duration::from_millis(500);
const STOPPED: &str = "stopped";
