//! Bulk: bytes that go from one socket to the other through a pipe, and never into this process (`splice(2)`).
//!
//! That takes half the time for large messages, and more for anything small. So a direction changes over when its reads
//! keep filling the buffer, and back when little comes at a time. Towards the client it must stay known where frames end:
//! the header of each is looked at before it goes, which pays for large frames alone.
//!
//! Pipes belong to the thread. A session has one only while its receiver has not taken what is in it.

use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::task::{Context, Poll, ready};

use rustix::net::{RecvFlags, recv};
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::boundary::{Ahead, Boundary};
use crate::ws::Header;

/// How a direction stands to bulk.
#[derive(Default)]
pub(super) struct Bulk {
    /// Reads in a row that filled the buffer; below zero while it is known not to be worth it.
    full_reads: i16,
    /// What the receiver has not taken yet.
    held: Option<Box<Pipe>>,
}

/// What an attempt to take bytes from the sender came to.
pub(super) enum Taken {
    /// So many, which are now to be given.
    Bytes(u64),
    /// None, and there are no more.
    End,
    /// None: what comes has to be copied.
    Unsuitable,
    /// None: so many have to be copied before a frame begins.
    NotYet(usize),
}

impl Bulk {
    /// Notes whether a read filled the buffer.
    pub(super) const fn note_read(&mut self, full: bool) {
        if full {
            self.full_reads = self.full_reads.saturating_add(1);
        } else if self.full_reads > 0 {
            self.full_reads = 0;
        }
    }

    pub(super) const fn is_due(&self) -> bool {
        self.full_reads >= DUE
    }

    /// Whether something was taken that is not given yet.
    pub(super) const fn holds(&self) -> bool {
        self.held.is_some()
    }

    /// Lets go of what the receiver does not take any more.
    pub(super) fn drop_held(&mut self) {
        self.held = None;
    }

    /// Takes what there is, as much as a pipe holds.
    pub(super) fn poll_take(
        &mut self,
        cx: &mut Context<'_>,
        from: &TcpStream,
        boundary: Option<&mut Boundary>,
    ) -> Poll<io::Result<Taken>> {
        let Some(mut pipe) = Pipe::of_thread() else {
            self.full_reads = -A_WHILE;
            return Poll::Ready(Ok(Taken::Unsuitable));
        };
        let filled = pipe.poll_fill(cx, from, boundary);
        match &filled {
            Poll::Ready(Ok(Taken::Bytes(bytes))) => {
                if *bytes < WORTH_IT {
                    self.full_reads = 0;
                }
                self.held = Some(Box::new(pipe));
            }
            other => {
                if let Poll::Ready(Ok(Taken::Unsuitable)) = other {
                    self.full_reads = -A_WHILE;
                }
                pipe.give_back();
            }
        }
        filled
    }

    /// Gives the receiver all that was taken.
    pub(super) fn poll_give(
        &mut self,
        cx: &mut Context<'_>,
        to: &TcpStream,
    ) -> Poll<io::Result<()>> {
        let Some(pipe) = &mut self.held else {
            return Poll::Ready(Ok(()));
        };
        while pipe.filled > 0 {
            ready!(to.poll_write_ready(cx))?;
            let give = || Ok(splice(&pipe.read, None, to, None, pipe.filled, FLAGS)?);
            match to.try_io(Interest::WRITABLE, give) {
                Ok(0) => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
                Ok(given) => pipe.filled -= given,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        if let Some(pipe) = self.held.take() {
            pipe.give_back();
        }
        Poll::Ready(Ok(()))
    }
}

struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    /// Bytes in it.
    filled: usize,
}

impl Pipe {
    /// An empty one; `None` where there is none to be had.
    fn of_thread() -> Option<Self> {
        POOL.with_borrow_mut(Vec::pop).or_else(Self::new)
    }

    fn new() -> Option<Self> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
        // A user has only so much room for pipes; a smaller one will do.
        let _ = fcntl_setpipe_size(&write, ROOM);
        let filled = 0;
        Some(Self {
            read,
            write,
            filled,
        })
    }

    fn give_back(self) {
        if self.filled == 0 {
            POOL.with_borrow_mut(|pool| {
                if pool.len() < POOLED {
                    pool.push(self);
                }
            });
        }
    }

    fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        from: &TcpStream,
        mut boundary: Option<&mut Boundary>,
    ) -> Poll<io::Result<Taken>> {
        while self.filled < ROOM {
            match self.poll_fill_some(cx, from, boundary.as_deref_mut()) {
                Poll::Ready(Ok(Taken::Bytes(_))) => {}
                // What was taken first is given first; whatever is the matter then shows again.
                _ if self.filled > 0 => break,
                other => return other,
            }
        }
        Poll::Ready(Ok(Taken::Bytes(self.filled as u64)))
    }

    /// Takes bytes of one frame, where frames matter.
    fn poll_fill_some(
        &mut self,
        cx: &mut Context<'_>,
        from: &TcpStream,
        boundary: Option<&mut Boundary>,
    ) -> Poll<io::Result<Taken>> {
        let room = ROOM - self.filled;
        let Some(boundary) = boundary else {
            return self.poll_splice(cx, from, room);
        };
        match boundary.ahead() {
            Ahead::Anything => self.poll_splice(cx, from, room),
            Ahead::Payload(left @ ..WORTH_IT) if self.filled == 0 => {
                let left = usize::try_from(left).unwrap_or(usize::MAX);
                Poll::Ready(Ok(Taken::NotYet(left)))
            }
            Ahead::Payload(left) => {
                let at_most = usize::try_from(left).unwrap_or(usize::MAX).min(room);
                let taken = ready!(self.poll_splice(cx, from, at_most))?;
                if let Taken::Bytes(bytes) = taken {
                    boundary.skip(bytes);
                }
                Poll::Ready(Ok(taken))
            }
            Ahead::Header => self.poll_frame(cx, from, boundary),
            Ahead::RestOfHeader => Poll::Ready(Ok(Taken::NotYet(1))),
        }
    }

    /// Takes a frame with its header, or the first part of it.
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
        from: &TcpStream,
        boundary: &mut Boundary,
    ) -> Poll<io::Result<Taken>> {
        let mut peeked = [0; LONGEST_HEADER];
        let peek = || Ok(recv(from, &mut peeked, RecvFlags::PEEK)?.1);
        let seen = ready!(self.poll_with(cx, from, peek))?;
        if seen == 0 {
            return Poll::Ready(Ok(Taken::End));
        }
        let seen = peeked.get(..seen).unwrap_or_default();
        let Ok(Some(header)) = Header::parse(seen) else {
            return Poll::Ready(Ok(Taken::Unsuitable));
        };
        let length = header.payload_len.saturating_add(header.header_len as u64);
        if length < WORTH_IT {
            return Poll::Ready(Ok(Taken::Unsuitable));
        }
        let room = ROOM - self.filled;
        let at_most = usize::try_from(length).unwrap_or(usize::MAX).min(room);
        let taken = ready!(self.poll_splice(cx, from, at_most))?;
        if let Taken::Bytes(bytes) = taken {
            let of_header = usize::try_from(bytes)
                .unwrap_or(usize::MAX)
                .min(header.header_len);
            boundary.feed(seen.get(..of_header).unwrap_or_default());
            boundary.skip(bytes - of_header as u64);
        }
        Poll::Ready(Ok(taken))
    }

    fn poll_splice(
        &mut self,
        cx: &mut Context<'_>,
        from: &TcpStream,
        at_most: usize,
    ) -> Poll<io::Result<Taken>> {
        let take = || Ok(splice(from, None, &self.write, None, at_most, FLAGS)?);
        let taken = ready!(self.poll_with(cx, from, take))?;
        self.filled += taken;
        #[cfg(test)]
        SPLICED.set(SPLICED.get() + taken as u64);
        Poll::Ready(Ok(match taken {
            0 => Taken::End,
            taken => Taken::Bytes(taken as u64),
        }))
    }

    /// Tries once the sender may have something. Where the pipe holds something already, it is tried at once and nobody is
    /// woken later: that nothing could be taken then says nothing of the sender, because the pipe may be full.
    fn poll_with(
        &self,
        cx: &mut Context<'_>,
        from: &TcpStream,
        mut attempt: impl FnMut() -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            let tried = if self.filled > 0 {
                attempt()
            } else {
                ready!(from.poll_read_ready(cx))?;
                from.try_io(Interest::READABLE, &mut attempt)
            };
            match tried {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if self.filled > 0 {
                        return Poll::Pending;
                    }
                }
                done => return Poll::Ready(done),
            }
        }
    }
}

thread_local! {
    /// Pipes that nothing is in.
    static POOL: RefCell<Vec<Pipe>> = const { RefCell::new(Vec::new()) };
}

#[cfg(test)]
thread_local! {
    static SPLICED: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// The bytes that went through pipes in this thread.
#[cfg(test)]
pub(super) fn spliced() -> u64 {
    SPLICED.get()
}

const FLAGS: SpliceFlags = SpliceFlags::NONBLOCK.union(SpliceFlags::MOVE);
/// Full reads in a row before it is tried.
const DUE: i16 = 2;
/// Full reads before it is tried again where it was not worth it.
const A_WHILE: i16 = 64;
/// Fewer bytes than this are copied sooner: a frame, or what comes at once.
const WORTH_IT: u64 = 16 * 1024;
/// Of a pipe, in bytes.
const ROOM: usize = 256 * 1024;
/// Of one thread.
const POOLED: usize = 2;
/// Of a frame, in bytes.
const LONGEST_HEADER: usize = 14;
