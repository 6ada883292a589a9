//! A gateway that says what a gateway says, and computes nothing.
//!
//! It speaks as 2026.7.1: challenge, `hello-ok`, answers to calls. What it does after `hello-ok` is in the path of the
//! upgrade request: `/echo` sends a frame of the same length for each that comes, `/stream/N` sends frames of N bytes as
//! fast as they are taken once the client has sent one, `/frames/N` the same with one write a frame. Everything it says is
//! made beforehand. One thread, because its CPU time is everybody's.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};
use serde_json::json;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::fixture::{ID, NONCE, hello_ok};
use crate::wire::{Counter, Wire, first_frame, frame};

/// Serves until it is killed.
pub fn serve(addr: SocketAddr) -> io::Result<()> {
    let mut listener = TcpListener::bind(addr)?;
    let poll = Poll::new()?;
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)?;
    println!("ready");
    let mut gateway = Gateway::new(poll);
    let mut events = Events::with_capacity(1024);
    let mut ticked = Instant::now();
    loop {
        gateway.poll.poll(&mut events, Some(TICK))?;
        for event in &events {
            match event.token() {
                LISTENER => gateway.accept(&listener)?,
                Token(index) => gateway.serve(index, event.is_read_closed()),
            }
        }
        if ticked.elapsed() >= TICK {
            ticked = Instant::now();
            gateway.tick();
        }
    }
}

struct Gateway {
    poll: Poll,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    scratch: Vec<u8>,
    challenge: Vec<u8>,
    hello: String,
}

struct Connection {
    wire: Wire,
    stage: Stage,
    unread: Vec<u8>,
    work: Work,
    counter: Counter,
}

#[derive(Clone, Copy, PartialEq)]
enum Stage {
    Upgrade,
    Connect,
    Session,
}

enum Work {
    /// Answers calls, as the shim's own session makes them.
    Calls,
    Echo(Vec<u8>),
    /// Frames, how much goes into one write, how far the batch is out, and whether it has begun.
    Stream {
        batch: Vec<u8>,
        at_once: usize,
        out: usize,
        begun: bool,
    },
}

impl Gateway {
    fn new(poll: Poll) -> Self {
        let challenge = json!({"type": "event", "event": "connect.challenge", "payload": {"nonce": NONCE, "ts": 1}});
        Self {
            poll,
            connections: Vec::new(),
            free: Vec::new(),
            scratch: vec![0; 256 * 1024],
            challenge: frame(1, challenge.to_string().as_bytes(), false),
            hello: hello_ok(),
        }
    }

    fn accept(&mut self, listener: &TcpListener) -> io::Result<()> {
        loop {
            let mut stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            stream.set_nodelay(true)?;
            let index = self.free.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            let both = Interest::READABLE | Interest::WRITABLE;
            self.poll
                .registry()
                .register(&mut stream, Token(index), both)?;
            self.connections[index] = Some(Connection {
                wire: Wire::plain(stream),
                stage: Stage::Upgrade,
                unread: Vec::new(),
                work: Work::Calls,
                counter: Counter::default(),
            });
        }
    }

    fn serve(&mut self, index: usize, ended: bool) {
        let Some(connection) = &mut self.connections[index] else {
            return;
        };
        let open = connection.advance(&mut self.scratch, ended, &self.challenge, &self.hello);
        if !open.unwrap_or(false) {
            self.connections[index] = None;
            self.free.push(index);
        }
    }

    /// The sign of life that the shim's own session waits for.
    fn tick(&mut self) {
        let tick = json!({"type": "event", "event": "tick", "payload": {"ts": 1}});
        let tick = frame(1, tick.to_string().as_bytes(), false);
        for connection in self.connections.iter_mut().flatten() {
            if connection.stage == Stage::Session && matches!(connection.work, Work::Calls) {
                let _ = connection.wire.send(&tick);
            }
        }
    }
}

impl Connection {
    /// `false` where it is over.
    fn advance(
        &mut self,
        scratch: &mut [u8],
        ended: bool,
        challenge: &[u8],
        hello: &str,
    ) -> io::Result<bool> {
        self.wire.flush()?;
        let (stage, unread, counter) = (self.stage, &mut self.unread, &mut self.counter);
        let calls = matches!(self.work, Work::Calls);
        let (mut frames, mut length) = (0, 0);
        let open = self.wire.drain(scratch, ended, |bytes| {
            if stage != Stage::Session || calls {
                unread.extend_from_slice(bytes);
            } else {
                let (more, last) = counter.feed(bytes);
                (frames, length) = (frames + more, last);
            }
        })?;
        if self.stage == Stage::Upgrade {
            self.upgrade(challenge)?;
        }
        if self.stage == Stage::Connect {
            self.connect(hello)?;
        } else if calls && self.stage == Stage::Session {
            self.answer()?;
        }
        self.work(frames, length)?;
        Ok(open)
    }

    fn upgrade(&mut self, challenge: &[u8]) -> io::Result<()> {
        let Some(end) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") else {
            return Ok(());
        };
        let head = String::from_utf8_lossy(&self.unread[..end]).into_owned();
        self.unread.drain(..end + 4);
        let Some(key) = value(&head, "sec-websocket-key") else {
            return self
                .wire
                .send(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n");
        };
        let accept = derive_accept_key(key.as_bytes());
        let response = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        let path = head.split(' ').nth(1).unwrap_or_default();
        self.work = Work::named(path);
        self.stage = Stage::Connect;
        // Two writes, as a gateway under Node does it.
        self.wire.send(response.as_bytes())?;
        self.wire.send(challenge)
    }

    fn connect(&mut self, hello: &str) -> io::Result<()> {
        let Some((_, payload, whole)) = first_frame(&self.unread) else {
            return Ok(());
        };
        self.unread.drain(..whole);
        self.stage = Stage::Session;
        let answer = hello.replacen(ID, request_id(&payload), 1);
        self.wire.send(&frame(1, answer.as_bytes(), false))
    }

    fn answer(&mut self) -> io::Result<()> {
        while let Some((opcode, payload, whole)) = first_frame(&self.unread) {
            self.unread.drain(..whole);
            match opcode {
                1 => {
                    let id = request_id(&payload);
                    let answer = json!({"type": "res", "id": id, "ok": true, "payload": {}});
                    self.wire
                        .send(&frame(1, answer.to_string().as_bytes(), false))?;
                }
                9 => self.wire.send(&frame(10, &payload, false))?,
                _ => {}
            }
        }
        Ok(())
    }

    fn work(&mut self, frames: usize, length: usize) -> io::Result<()> {
        match &mut self.work {
            Work::Calls => Ok(()),
            Work::Echo(reply) => {
                if frames > 0 && reply.len() < length {
                    *reply = frame(2, &vec![b'e'; length], false);
                }
                for _ in 0..frames {
                    self.wire.send(reply)?;
                }
                Ok(())
            }
            Work::Stream {
                batch,
                at_once,
                out,
                begun,
            } => {
                *begun |= frames > 0;
                if !*begun {
                    return Ok(());
                }
                loop {
                    let end = (*out + *at_once - *out % *at_once).min(batch.len());
                    match self.wire.stream.write(&batch[*out..end]) {
                        Ok(written) => *out = (*out + written) % batch.len(),
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                        Err(error) => return Err(error),
                    }
                }
            }
        }
    }
}

impl Work {
    fn named(path: &str) -> Self {
        let mut parts = path.trim_start_matches('/').split('/');
        let (kind, size) = (parts.next(), parts.next());
        let size = size.and_then(|size| size.parse().ok()).unwrap_or(512);
        match kind {
            Some("echo") => Self::Echo(Vec::new()),
            Some(kind @ ("stream" | "frames")) => {
                let one = frame(2, &vec![b's'; size], false);
                let batch = one.repeat((BATCH / one.len()).max(1));
                let at_once = if kind == "stream" { &batch } else { &one }.len();
                Self::Stream {
                    batch,
                    at_once,
                    out: 0,
                    begun: false,
                }
            }
            _ => Self::Calls,
        }
    }
}

fn request_id(message: &[u8]) -> &str {
    let text = std::str::from_utf8(message).unwrap_or_default();
    let id = text.split_once("\"id\":\"").map(|(_, rest)| rest);
    id.and_then(|rest| rest.split_once('"'))
        .map_or("", |(id, _)| id)
}

fn value<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    fields
        .find(|(field, _)| field.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
}

const LISTENER: Token = Token(usize::MAX - 1);
const TICK: Duration = Duration::from_secs(20);
/// What one write of a stream hands to the kernel, in bytes: a server whose socket is full.
const BATCH: usize = 64 * 1024;
