//! After the handshake: bytes, not frames.
//!
//! Both directions run in one task and share one buffer per thread, so an idle session holds none, and what may end a
//! session from outside costs nothing while bytes go through. A direction that ends closes its half and lets the other
//! finish. The frame headers towards the client are counted, because the shim may have to close any session when it
//! stops, and its close frame must not land inside another frame; that is all that is ever looked at. Only a degraded
//! session has a [`Tap`].

mod alarm;
mod boundary;
#[cfg_attr(not(target_os = "linux"), path = "relay/bulk_elsewhere.rs")]
mod bulk;
mod client;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod pump;
mod tap;
mod traffic;

use std::future::{pending, poll_fn};
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{sleep, timeout};

use crate::stream::Stream;
use crate::ws::Close;
use alarm::Alarm;
pub use client::Client;
use pump::{Progress, Pump};
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
    /// By a close frame between two frames, when this completes.
    Between(BoxFuture<'static, Close>),
    /// By the end of its connections, when this completes: what goes through is no frames.
    Anywhere(BoxFuture<'static, Close>),
}

/// Copies both ways until both directions have ended, one fails, or the session is stopped.
///
/// `idle` ends a session in which nothing went either way for so long, or up to an eighth of it longer. `tap` is for a
/// degraded session alone. What goes through is counted in `traffic` as it does. `kept` is let go of at the end.
///
/// What it returns is all that a session takes up for as long as it lasts, so whatever is rare lies elsewhere. It fails
/// when a socket does; whatever was read before has been handed on, or is lost with the socket it was for.
pub fn relay(
    client: impl Into<Client>,
    gateway: Wire,
    idle: Option<Duration>,
    stop: Stop,
    tap: Option<Tap>,
    traffic: Arc<Traffic>,
    kept: impl Send,
) -> impl Future<Output = io::Result<RelayStats>> + Send {
    let framed = matches!(stop, Stop::Between(_));
    let mut alarm = alarm(stop, idle, &traffic);
    let mut pump = Pump::new(client.into(), gateway, framed, tap, Arc::clone(&traffic));
    let mut linger: Option<BoxFuture<'_, ()>> = None;
    async move {
        let _kept = &kept;
        loop {
            let next = poll_fn(|cx| {
                if let Poll::Ready(interruption) = poll_some(&mut alarm, cx) {
                    return Poll::Ready(Ok(Next::Interrupted(interruption)));
                }
                if poll_some(&mut linger, cx).is_ready() {
                    return Poll::Ready(Ok(Next::Lingered));
                }
                pump.poll(cx).map(|progress| progress.map(Next::Progress))
            });
            match next.await? {
                Next::Progress(Progress::HalfClosed) => {
                    let traffic = Arc::clone(&traffic);
                    linger = Some(async move { quiet_for(LINGER, &traffic).await }.boxed());
                }
                Next::Progress(Progress::Over) => return Ok(pump.stats()),
                Next::Lingered => {
                    return Err(timed_out(
                        "one side stayed open and silent after the other ended",
                    ));
                }
                Next::Interrupted(Interruption::Idle) => {
                    return Err(timed_out("nothing went through"));
                }
                Next::Interrupted(Interruption::Stopped(close)) => {
                    Box::pin(take_leave(&mut pump, close)).await;
                    return Err(io::Error::new(io::ErrorKind::ConnectionAborted, STOPPED));
                }
            }
        }
    }
}

/// Ends a session that is to end. Its client may not read: it has a moment, so that it can still be told why.
async fn take_leave(pump: &mut Pump, close: Close) {
    let _ = timeout(STOP_PATIENCE, pump.close(&close)).await;
    let _ = timeout(STOP_PATIENCE, farewell(pump.client())).await;
}

/// What ends the wait for bytes.
enum Next {
    Progress(Progress),
    Interrupted(Interruption),
    Lingered,
}

/// What ends a session from outside.
enum Interruption {
    Stopped(Close),
    Idle,
}

fn poll_some<F: Future + Unpin>(future: &mut Option<F>, cx: &mut Context<'_>) -> Poll<F::Output> {
    future
        .as_mut()
        .map_or(Poll::Pending, |future| future.poll_unpin(cx))
}

/// Rings when the session is to end; `None` where nothing can end it.
fn alarm(
    stop: Stop,
    idle: Option<Duration>,
    traffic: &Arc<Traffic>,
) -> Option<Alarm<Interruption>> {
    let stopped = match stop {
        Stop::Never => None,
        Stop::Between(close) | Stop::Anywhere(close) => Some(close),
    };
    match (stopped, idle) {
        (None, None) => None,
        (Some(close), None) => Some(Alarm::new(close.map(Interruption::Stopped).boxed())),
        (stopped, Some(limit)) => {
            let traffic = Arc::clone(traffic);
            let stopped = stopped.unwrap_or_else(|| pending().boxed());
            let either = async move {
                tokio::select! {
                    close = stopped => Interruption::Stopped(close),
                    () = quiet_for(limit, &traffic) => Interruption::Idle,
                }
            };
            Some(Alarm::new(either.boxed()))
        }
    }
}

/// Completes when nothing went either way for so long. It looks from time to time: asking the clock with every message
/// would cost every message.
async fn quiet_for(limit: Duration, traffic: &Traffic) {
    let mut before = traffic.stats();
    let mut looks = 0;
    while looks < LOOKS {
        sleep(limit / LOOKS).await;
        let now = traffic.stats();
        looks = if now == before { looks + 1 } else { 0 };
        before = now;
    }
}

/// Reads what the client still sends until it has read the close and leaves: a socket that is closed with bytes unread
/// is reset, and the close frame may be lost with it.
async fn farewell(client: &mut Stream) -> io::Result<()> {
    let mut waste = [0; 1024];
    while client.read(&mut waste).await? > 0 {}
    Ok(())
}

fn timed_out(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, why)
}

/// Whether the relay ended because it was stopped.
#[must_use]
pub fn was_stopped(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ConnectionAborted && error.to_string() == STOPPED
}

/// How often it is looked whether a session is idle, in the time that it may be.
const LOOKS: u32 = 8;
/// How long the other side may stay open, with nothing to say, after one has ended.
const LINGER: Duration = Duration::from_secs(60);
/// How long a frame under way may take to end when the session is stopped.
const STOP_PATIENCE: Duration = Duration::from_millis(500);
const STOPPED: &str = "stopped";

#[cfg(test)]
mod tests;
