//! The two directions of a session, moved on as far as the sockets let them.

use std::borrow::Cow;
use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead as _, AsyncWrite as _, AsyncWriteExt as _, ReadBuf};

use super::boundary::Boundary;
use super::bulk::{Bulk, Taken};
use super::{Client, RelayStats, Tap, Traffic, Wire};
use crate::stream::Stream;
use crate::ws::Close;

/// Both ends of a session, and how far each direction is.
pub(super) struct Pump {
    client: Stream,
    gateway: Stream,
    up: Direction,
    down: Direction,
    traffic: Arc<Traffic>,
    half_closed: bool,
}

/// What has changed for good.
pub(super) enum Progress {
    /// One direction has ended.
    HalfClosed,
    /// Both have.
    Over,
}

/// One direction.
struct Direction {
    /// What the receiver has not taken yet. Nothing is read before it has.
    rest: Bytes,
    state: State,
    way: Way,
    boundary: Option<Boundary>,
    bulk: Bulk,
    tap: Option<Box<Tap>>,
    /// Why the receiver takes nothing any more. What it said before may still lie unread.
    failure: Option<Box<io::Error>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// The sender has ended; the receiver has not been told yet.
    Ending,
    Ended,
}

#[derive(Clone, Copy)]
enum Way {
    ToGateway,
    ToClient,
}

impl Pump {
    pub(super) fn new(
        client: Client,
        gateway: Wire,
        framed: bool,
        tap: Option<Tap>,
        traffic: Arc<Traffic>,
    ) -> Self {
        let mut up = Direction::new(Way::ToGateway);
        let mut down = Direction::new(Way::ToClient);
        down.boundary = framed.then_some(client.told);
        down.tap = tap.map(Box::new);
        up.begin_with(&client.wire.unread, &traffic);
        down.begin_with(&gateway.unread, &traffic);
        Self {
            client: client.wire.stream,
            gateway: gateway.stream,
            up,
            down,
            traffic,
            half_closed: false,
        }
    }

    /// What went through so far.
    pub(super) fn stats(&self) -> RelayStats {
        self.traffic.stats()
    }

    pub(super) fn client(&mut self) -> &mut Stream {
        &mut self.client
    }

    /// Moves what can be moved.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Progress>> {
        let Self {
            client,
            gateway,
            traffic,
            ..
        } = self;
        let up = self.up.poll(cx, client, gateway, traffic)?;
        let down = self.down.poll(cx, gateway, client, traffic)?;
        if up.is_ready() && down.is_ready() {
            let failure = self.up.failure.take().or_else(|| self.down.failure.take());
            return Poll::Ready(failure.map_or(Ok(Progress::Over), |failure| Err(*failure)));
        }
        if !self.half_closed && (up.is_ready() || down.is_ready()) {
            self.half_closed = true;
            return Poll::Ready(Ok(Progress::HalfClosed));
        }
        Poll::Pending
    }

    /// Lets the frame towards the client that is under way end, then closes. Where frames cannot be told apart, the
    /// connection just ends.
    pub(super) async fn close(&mut self, close: &Close) -> io::Result<()> {
        let Self {
            client,
            gateway,
            down,
            traffic,
            ..
        } = self;
        poll_fn(|cx| down.poll_rest(cx, client)).await?;
        while let Some(missing) = down.boundary.as_ref().and_then(Boundary::missing) {
            match poll_fn(|cx| down.poll_move(cx, gateway, client, traffic, missing)).await? {
                Moved::Some => poll_fn(|cx| down.poll_rest(cx, client)).await?,
                Moved::Refused(error) => return Err(error),
                Moved::End => return Ok(()),
            }
        }
        if down.boundary.as_ref().is_some_and(Boundary::may_close) {
            client.write_all(&close.server_frame()).await?;
        }
        client.shutdown().await
    }
}

/// What one attempt to move bytes came to.
enum Moved {
    Some,
    /// The receiver takes nothing any more.
    Refused(io::Error),
    /// The sender has ended.
    End,
}

impl Direction {
    fn new(way: Way) -> Self {
        Self {
            rest: Bytes::new(),
            state: State::Open,
            way,
            boundary: None,
            bulk: Bulk::default(),
            tap: None,
            failure: None,
        }
    }

    /// What the handshake read too early.
    fn begin_with(&mut self, unread: &[u8], traffic: &Traffic) {
        self.take_note(unread, traffic);
        self.rest = Bytes::copy_from_slice(&tapped(&mut self.tap, unread));
    }

    /// Moves what there is. Ready when the direction has ended; the other may go on.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Stream,
        to: &mut Stream,
        traffic: &Traffic,
    ) -> Poll<io::Result<()>> {
        for _ in 0..ROUNDS {
            if self.state == State::Ended {
                return Poll::Ready(Ok(()));
            }
            if let Err(error) = ready!(self.poll_rest(cx, to)) {
                return self.refused(error);
            }
            if self.state == State::Ending {
                // A receiver that is gone has ended, too.
                let _ = ready!(Pin::new(&mut *to).poll_shutdown(cx));
                self.state = State::Ended;
                return Poll::Ready(Ok(()));
            }
            match ready!(self.poll_move(cx, from, to, traffic, usize::MAX))? {
                Moved::Some => {}
                Moved::Refused(error) => return self.refused(error),
                Moved::End => {
                    self.state = State::Ending;
                    let held = self.tap.take().map(|mut tap| tap.finish());
                    self.rest = held.unwrap_or_default().into();
                }
            }
        }
        // The other sessions of this thread have their turn.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// The direction has ended, because of its receiver. The other one may still hold what the receiver said last.
    fn refused(&mut self, error: io::Error) -> Poll<io::Result<()>> {
        self.rest = Bytes::new();
        self.bulk.drop_held();
        self.state = State::Ended;
        self.failure = Some(Box::new(error));
        Poll::Ready(Ok(()))
    }

    /// Hands on what the receiver had no room for, and what TLS may still hold back.
    fn poll_rest(&mut self, cx: &mut Context<'_>, to: &mut Stream) -> Poll<io::Result<()>> {
        while self.rest.has_remaining() {
            let written = ready!(Pin::new(&mut *to).poll_write(cx, &self.rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.rest.advance(written);
        }
        // Not even a small allocation stays with an idle session.
        self.rest = Bytes::new();
        if self.bulk.holds()
            && let Stream::Plain(to) = &*to
        {
            ready!(self.bulk.poll_give(cx, to))?;
        }
        if to.is_tls() {
            return Pin::new(to).poll_flush(cx);
        }
        Poll::Ready(Ok(()))
    }

    /// Moves what there is on; what the receiver has no room for becomes the rest.
    fn poll_move(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Stream,
        to: &mut Stream,
        traffic: &Traffic,
        mut at_most: usize,
    ) -> Poll<io::Result<Moved>> {
        if self.bulk.is_due()
            && at_most == usize::MAX
            && self.tap.is_none()
            && let (Stream::Plain(from), Stream::Plain(_)) = (&*from, &*to)
        {
            match ready!(self.bulk.poll_take(cx, from, self.boundary.as_mut()))? {
                Taken::Bytes(bytes) => {
                    self.count(bytes, traffic);
                    return Poll::Ready(Ok(Moved::Some));
                }
                Taken::End => return Poll::Ready(Ok(Moved::End)),
                Taken::NotYet(bytes) => at_most = bytes,
                Taken::Unsuitable => {}
            }
        }
        self.poll_copy(cx, from, to, traffic, at_most)
    }

    /// Reads into the thread's buffer and writes it on at once.
    fn poll_copy(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Stream,
        to: &mut Stream,
        traffic: &Traffic,
        at_most: usize,
    ) -> Poll<io::Result<Moved>> {
        BUFFER.with_borrow_mut(|buffer| {
            let room = buffer.len().min(at_most);
            let mut buffer = ReadBuf::new(buffer.get_mut(..room).unwrap_or_default());
            match ready!(Pin::new(from).poll_read(cx, &mut buffer)) {
                // A peer that ends the connection without a word of TLS has ended it like one that says so: what is
                // relayed has frames of its own, which tell where something is missing.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
                read => read?,
            }
            let bytes = buffer.filled();
            if bytes.is_empty() {
                return Poll::Ready(Ok(Moved::End));
            }
            if at_most == usize::MAX {
                self.bulk.note_read(bytes.len() == BUFFER_SIZE);
            }
            self.take_note(bytes, traffic);
            let bytes = tapped(&mut self.tap, bytes);
            if bytes.is_empty() {
                return Poll::Ready(Ok(Moved::Some));
            }
            let written = match Pin::new(to).poll_write(cx, &bytes) {
                Poll::Ready(Ok(written)) => written,
                Poll::Ready(Err(error)) => return Poll::Ready(Ok(Moved::Refused(error))),
                Poll::Pending => 0,
            };
            if let Some(rest @ [_, ..]) = bytes.get(written..) {
                self.rest = Bytes::copy_from_slice(rest);
            }
            Poll::Ready(Ok(Moved::Some))
        })
    }

    fn count(&self, bytes: u64, traffic: &Traffic) {
        match self.way {
            Way::ToGateway => traffic.to_gateway(bytes),
            Way::ToClient => traffic.to_client(bytes),
        }
    }

    fn take_note(&mut self, bytes: &[u8], traffic: &Traffic) {
        self.count(bytes.len() as u64, traffic);
        if let Some(boundary) = &mut self.boundary {
            boundary.feed(bytes);
        }
    }
}

/// What the other side gets of these bytes.
fn tapped<'b>(tap: &mut Option<Box<Tap>>, bytes: &'b [u8]) -> Cow<'b, [u8]> {
    match tap {
        None => Cow::Borrowed(bytes),
        Some(tap) => tap.pass(bytes),
    }
}

thread_local! {
    /// Shared by every session of the thread: bytes stay in it only between a read and the write that follows at once.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; BUFFER_SIZE]);
}

/// How often one direction is read in a row while there is more.
const ROUNDS: usize = 8;
const BUFFER_SIZE: usize = 64 * 1024;

#[cfg(test)]
pub(super) mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use bytes::BytesMut;
    use tokio::io::AsyncReadExt as _;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// Two ends of a connection.
    pub(in crate::relay) async fn connected() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (here, there) = tokio::join!(TcpStream::connect(address), listener.accept());
        (here.unwrap(), there.unwrap().0)
    }

    pub(in crate::relay) fn wire(stream: TcpStream) -> Wire {
        let (stream, unread) = (stream.into(), BytesMut::new());
        Wire { stream, unread }
    }

    #[tokio::test]
    async fn the_last_words_of_a_gateway_that_takes_nothing_any_more_arrive() {
        let (mut client, client_end) = connected().await;
        let (gateway_end, mut gateway) = connected().await;
        // Bytes that nobody reads make the system reset the connection when it is closed.
        gateway_end.writable().await.unwrap();
        assert_eq!(gateway_end.try_write(b"unread").unwrap(), 6);
        gateway.readable().await.unwrap();
        gateway.write_all(b"last words").await.unwrap();
        drop(gateway);
        client.write_all(b"still talking").await.unwrap();
        client_end.readable().await.unwrap();

        let mut pump = Pump::new(
            wire(client_end).into(),
            wire(gateway_end),
            false,
            None,
            Arc::default(),
        );
        let pumping = async {
            while !matches!(
                poll_fn(|cx| pump.poll(cx)).await,
                Ok(Progress::Over) | Err(_)
            ) {}
            drop(pump);
        };
        let mut heard = Vec::new();
        let (_, read) = tokio::join!(pumping, client.read_to_end(&mut heard));
        let _ = read;
        assert_eq!(heard, b"last words");
    }
}
