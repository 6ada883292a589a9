//! After the handshake: bytes, not frames.
//!
//! Both directions run in one task and share one buffer per thread, so an idle session holds none. A direction that
//! ends closes its half and lets the other finish. The frame headers towards the client are counted, because the shim may
//! have to close any session when it stops, and its close frame must not land inside another frame; that is all that is
//! ever looked at. Only a degraded session has a [`Tap`].

mod boundary;
mod tap;
mod traffic;

use std::borrow::Cow;
use std::cell::RefCell;
use std::future::{pending, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead as _, AsyncReadExt as _, AsyncWrite as _, AsyncWriteExt as _, ReadBuf};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::stream::{ReadEnd, Stream, WriteEnd};
use crate::ws::Close;
use boundary::Boundary;
pub use tap::Tap;
pub use traffic::Traffic;

/// One end of a session: the socket, and what was read from it but not yet handed on.
#[derive(Debug)]
pub struct Wire {
    /// The socket.
    pub stream: Stream,
    /// Bytes that came from it and belong to the other side.
    pub unread: BytesMut,
}

impl Wire {
    /// Writes all of the bytes, and sees to it that none is held back.
    ///
    /// # Errors
    ///
    /// When the socket fails.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }
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
pub enum Stop {
    /// Never: nobody but its two ends closes it.
    Never,
    /// By a close frame between two frames, when this completes. The relay begins between two frames.
    Between(BoxFuture<'static, Close>),
    /// By the end of its connections, when this completes: what goes through is no frames, or begins inside one.
    Anywhere(BoxFuture<'static, Close>),
}

/// Copies both ways until both directions have ended, one fails, or the session is stopped.
///
/// `idle` ends a session in which nothing went either way for so long. `tap` is for a degraded session alone. What goes
/// through is counted in `traffic` as it does.
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
    traffic: Arc<Traffic>,
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
        count: &|bytes| traffic.to_gateway(bytes),
        boundary: None,
        tap: None,
        activity: &activity,
    };
    let down = Direction {
        reader: gateway_read,
        writer: client_write,
        pending: gateway.unread,
        count: &|bytes| traffic.to_client(bytes),
        boundary: matches!(stop, Stop::Between(_)).then(Boundary::default),
        tap,
        activity: &activity,
    };
    let both = async {
        let up = async { finish(up.run(Stop::Never).await, &ended) };
        let down = async { finish(down.run(stop).await, &ended) };
        tokio::try_join!(up, down)?;
        Ok(traffic.stats())
    };
    let result = tokio::select! {
        result = both => result,
        () = idle_for(idle, active) => Err(io::Error::new(io::ErrorKind::TimedOut, "nothing went through")),
        () = lingered(end) => Err(io::Error::new(io::ErrorKind::TimedOut, "one side stayed open after the other ended")),
    };
    if result.as_ref().is_err_and(was_stopped) {
        let _ = timeout(STOP_PATIENCE, farewell(&mut client_stream)).await;
    }
    result
}

/// Reads what the client still sends until it has read the close and leaves: a socket that is closed with bytes unread
/// is reset, and the close frame may be lost with it.
async fn farewell(client: &mut Stream) -> io::Result<()> {
    let mut waste = [0; 1024];
    while client.read(&mut waste).await? > 0 {}
    Ok(())
}

/// A stopped session has nothing left to do in either direction: it ends both.
fn finish(result: io::Result<DirectionEnd>, ended: &watch::Sender<bool>) -> io::Result<()> {
    match result? {
        DirectionEnd::HalfClosed => {
            ended.send_replace(true);
            Ok(())
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
    reader: ReadEnd<'a>,
    writer: WriteEnd<'a>,
    pending: BytesMut,
    count: &'a (dyn Fn(u64) + Sync),
    boundary: Option<Boundary>,
    tap: Option<Tap>,
    activity: &'a watch::Sender<()>,
}

enum DirectionEnd {
    HalfClosed,
    Stopped,
}

/// What one attempt to move bytes came to.
enum Moved {
    All,
    /// These bytes did not fit into the socket yet.
    Rest(Vec<u8>),
    End,
}

/// What became of writing.
enum Written {
    All,
    /// All of it, and the session is to end.
    Stopped(Close),
    /// The session is to end, and these bytes are not taken.
    Stuck,
}

impl Direction<'_> {
    async fn run(mut self, stop: Stop) -> io::Result<DirectionEnd> {
        let mut stopped = Box::pin(stopped(stop));
        let mut moved = Moved::Rest(self.take_pending());
        let close = loop {
            let rest = match moved {
                Moved::All => Vec::new(),
                Moved::Rest(rest) => rest,
                Moved::End => {
                    if let Some(tap) = &mut self.tap {
                        self.writer.write_all(&tap.finish()).await?;
                    }
                    let _ = self.writer.shutdown().await;
                    return Ok(DirectionEnd::HalfClosed);
                }
            };
            if !rest.is_empty() || self.writer.is_tls() {
                match self.write_unless_stopped(&rest, &mut stopped).await? {
                    Written::All => {}
                    Written::Stopped(close) => break close,
                    Written::Stuck => return Ok(DirectionEnd::Stopped),
                }
            }
            moved = tokio::select! {
                biased;
                close = &mut stopped => break close,
                moved = self.move_some(usize::MAX) => moved?,
            };
        };
        let _ = timeout(STOP_PATIENCE, self.close_at_boundary(&close)).await;
        Ok(DirectionEnd::Stopped)
    }

    /// What the handshake read too early.
    fn take_pending(&mut self) -> Vec<u8> {
        let first = std::mem::take(&mut self.pending);
        self.count(&first);
        tapped(&mut self.tap, &first).into_owned()
    }

    /// Writes all of the bytes. Whoever does not take them cannot keep a session open that is to end: it has a moment
    /// left, so that it can still be told why.
    async fn write_unless_stopped(
        &mut self,
        bytes: &[u8],
        stopped: &mut (impl Future<Output = Close> + Unpin),
    ) -> io::Result<Written> {
        let mut write = pin!(self.write(bytes));
        tokio::select! {
            biased;
            written = &mut write => {
                written?;
                Ok(Written::All)
            }
            close = stopped => match timeout(STOP_PATIENCE, write).await {
                Ok(written) => {
                    written?;
                    Ok(Written::Stopped(close))
                }
                Err(_) => Ok(Written::Stuck),
            },
        }
    }

    /// Waits for bytes, reads them into the thread's buffer and writes them on at once. Nothing is lost where it is
    /// given up: bytes that were read are always part of what it returns.
    async fn move_some(&mut self, at_most: usize) -> io::Result<Moved> {
        poll_fn(|cx| self.poll_move(cx, at_most)).await
    }

    fn poll_move(&mut self, cx: &mut Context<'_>, at_most: usize) -> Poll<io::Result<Moved>> {
        BUFFER.with_borrow_mut(|buffer| {
            let room = buffer.len().min(at_most);
            let mut buffer = ReadBuf::new(buffer.get_mut(..room).unwrap_or_default());
            ready!(Pin::new(&mut self.reader).poll_read(cx, &mut buffer))?;
            let bytes = buffer.filled();
            if bytes.is_empty() {
                return Poll::Ready(Ok(Moved::End));
            }
            self.count(bytes);
            let bytes = tapped(&mut self.tap, bytes);
            let written = match Pin::new(&mut self.writer).poll_write(cx, &bytes) {
                Poll::Ready(written) => written?,
                Poll::Pending => 0,
            };
            Poll::Ready(Ok(match bytes.get(written..) {
                None | Some([]) => Moved::All,
                Some(rest) => Moved::Rest(rest.to_vec()),
            }))
        })
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.write_all(bytes).await?;
        self.writer.flush_tls().await
    }

    fn count(&mut self, bytes: &[u8]) {
        (self.count)(bytes.len() as u64);
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
            match self.move_some(missing).await? {
                Moved::All => {}
                Moved::Rest(rest) => self.write(&rest).await?,
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
        Stop::Between(close) | Stop::Anywhere(close) => close.await,
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
