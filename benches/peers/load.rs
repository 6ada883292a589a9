//! The clients: connections that make the handshake and then do one kind of work.
//!
//! What is sent is made beforehand, signatures included; what comes is counted, not kept. It says `ready` when its
//! connections stand, waits for a line, says `begin` when it has warmed up, and ends with one line of JSON.

use std::io::{self, BufRead as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::{Events, Interest, Poll, Token};
use rustls::ClientConfig;
use serde::{Deserialize, Serialize};

use crate::fixture::{DEVICES, Device, Way};
use crate::tls;
use crate::wire::{Counter, Wire, first_frame, frame};

/// What is to be done.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    pub addr: SocketAddr,
    /// The certificate to trust, where the proxy speaks TLS.
    pub certificate: Option<PathBuf>,
    /// Whether handshakes are of the kind that the shim rewrites.
    pub rewrite: bool,
    pub connections: usize,
    pub kind: Kind,
    /// How long is measured, in seconds.
    pub seconds: f64,
}

/// The kinds of work.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum Kind {
    /// Each connection sends a frame of this size and waits for one of the same size.
    Echo(usize),
    /// The gateway sends frames of this size as fast as they are taken.
    Stream(usize),
    /// The same, with one write a frame.
    Frames(usize),
    /// So many echoes of 256 bytes, one after the other on each connection.
    Messages(usize),
    /// So many sessions are opened and closed.
    Handshakes(usize),
    /// Sessions that say nothing, until standard input ends.
    Idle,
    /// So many echoes of 256 bytes a second, whatever the number of connections.
    Paced(usize),
}

/// What came of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// Messages echoed, or handshakes made.
    pub count: u64,
    /// Bytes received.
    pub bytes: u64,
    pub seconds: f64,
    /// The median latency in microseconds.
    pub p50: f64,
    /// The 99th percentile.
    pub p99: f64,
}

/// Does the job and says so on standard output.
pub fn run(job: &Job) -> io::Result<()> {
    let mut load = Load::new(job)?;
    if !matches!(job.kind, Kind::Handshakes(_)) {
        load.open_all()?;
    }
    println!("ready");
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    let outcome = match job.kind {
        Kind::Idle => {
            while io::stdin().lock().read_line(&mut line)? > 0 {}
            Outcome::default()
        }
        Kind::Handshakes(count) => load.handshakes(count)?,
        _ => load.sessions()?,
    };
    println!("{}", serde_json::to_string(&outcome)?);
    Ok(())
}

struct Load<'a> {
    job: &'a Job,
    tls: Option<Arc<ClientConfig>>,
    poll: Poll,
    scratch: Vec<u8>,
    clients: Vec<Client>,
    connects: Vec<Vec<u8>>,
    upgrade: Vec<u8>,
    message: Vec<u8>,
    seen: Seen,
}

/// What is counted while it is measured.
#[derive(Default)]
struct Seen {
    latencies: Vec<u32>,
    bytes: u64,
    on: bool,
}

struct Client {
    wire: Wire,
    stage: Stage,
    unread: Vec<u8>,
    counter: Counter,
    since: Instant,
    connect: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Upgrade,
    Challenge,
    Hello,
    Session,
}

impl<'a> Load<'a> {
    fn new(job: &'a Job) -> io::Result<Self> {
        let way = if job.rewrite { Way::Rewrite } else { Way::Pass };
        let connects = (0..DEVICES)
            .map(|number| frame(1, Device::nth(number).connect(way).as_bytes(), true))
            .collect();
        let path = match job.kind {
            Kind::Echo(_) | Kind::Messages(_) | Kind::Paced(_) => "/echo".to_owned(),
            Kind::Stream(size) => format!("/stream/{size}"),
            Kind::Frames(size) => format!("/frames/{size}"),
            Kind::Handshakes(_) | Kind::Idle => "/idle".to_owned(),
        };
        let upgrade = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            job.addr
        );
        let size = match job.kind {
            Kind::Echo(size) => size,
            Kind::Messages(_) | Kind::Paced(_) => 256,
            _ => 1,
        };
        Ok(Self {
            job,
            tls: job.certificate.as_deref().map(tls::client),
            poll: Poll::new()?,
            scratch: vec![0; 256 * 1024],
            clients: Vec::new(),
            connects,
            upgrade: upgrade.into_bytes(),
            message: frame(2, &vec![b'c'; size], true),
            seen: Seen::default(),
        })
    }

    fn client(&self, index: usize) -> io::Result<Client> {
        let since = Instant::now();
        let mut wire = Wire::connect(self.job.addr, self.tls.as_ref())?;
        let both = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        registry.register(&mut wire.stream, Token(index), both)?;
        wire.stream.set_nodelay(true)?;
        wire.send(&self.upgrade)?;
        Ok(Client {
            wire,
            stage: Stage::Upgrade,
            unread: Vec::new(),
            counter: Counter::default(),
            since,
            connect: index % usize::from(DEVICES),
        })
    }

    /// Opens every connection, a few at a time: gateways have a budget for unfinished handshakes.
    fn open_all(&mut self) -> io::Result<()> {
        let mut open = 0;
        let mut events = Events::with_capacity(1024);
        while open < self.job.connections {
            while self.clients.len() < (open + AT_ONCE).min(self.job.connections) {
                let client = self.client(self.clients.len())?;
                self.clients.push(client);
            }
            self.wait(&mut events, None)?;
            for event in &events {
                let client = &mut self.clients[event.token().0];
                if client.stage != Stage::Session
                    && client.shake(event, &mut self.scratch, &self.connects)?
                {
                    open += 1;
                }
            }
        }
        Ok(())
    }

    /// Opens and closes sessions, so many at a time, so often.
    fn handshakes(&mut self, count: usize) -> io::Result<Outcome> {
        for index in 0..self.job.connections {
            let client = self.client(index)?;
            self.clients.push(client);
        }
        let warm_up = (count / 10).max(self.job.connections);
        let mut events = Events::with_capacity(1024);
        let (mut done, mut begun) = (0, Instant::now());
        while done < warm_up + count {
            self.wait(&mut events, None)?;
            for event in &events {
                let index = event.token().0;
                let client = &mut self.clients[index];
                if !client.shake(event, &mut self.scratch, &self.connects)? {
                    continue;
                }
                self.seen.latency(client.since);
                done += 1;
                if done == warm_up {
                    begun = Instant::now();
                    self.seen.begin();
                }
                let connect = client.connect;
                self.clients[index] = self.client(index)?;
                self.clients[index].connect = (connect + 1) % usize::from(DEVICES);
            }
        }
        Ok(self.seen.outcome(begun.elapsed()))
    }

    /// The work of sessions that stand.
    fn sessions(&mut self) -> io::Result<Outcome> {
        let pace = match self.job.kind {
            Kind::Paced(rate) => Some(rate),
            _ => None,
        };
        if pace.is_none() {
            for index in 0..self.clients.len() {
                self.say(index)?;
            }
        }
        let enough = match self.job.kind {
            Kind::Messages(count) => Some(count),
            _ => None,
        };
        let started = Instant::now();
        let mut begun: Option<Instant> = None;
        let mut events = Events::with_capacity(1024);
        let mut said = 0;
        loop {
            let now = started.elapsed();
            if begun.is_none() && (now >= WARM_UP || enough.is_some()) {
                begun = Some(Instant::now());
                self.seen.begin();
            }
            if let Some(begun) = begun
                && enough.map_or_else(
                    || begun.elapsed().as_secs_f64() >= self.job.seconds,
                    |enough| self.seen.latencies.len() >= enough,
                )
            {
                return Ok(self.seen.outcome(begun.elapsed()));
            }
            if let Some(rate) = pace {
                let due = (now.as_secs_f64() * rate as f64) as usize;
                // What was missed on a busy machine is not made up for: a burst costs less than what it is made of.
                said = said.max(due.saturating_sub(BURST));
                while said < due {
                    self.say(said % self.clients.len())?;
                    said += 1;
                }
            }
            let patience = pace.map_or(Duration::from_millis(50), |_| Duration::from_millis(1));
            self.wait(&mut events, Some(patience))?;
            for event in &events {
                self.heard(event, pace.is_none())?;
            }
        }
    }

    fn heard(&mut self, event: &Event, again: bool) -> io::Result<()> {
        let index = event.token().0;
        let Self {
            clients,
            scratch,
            seen,
            job,
            ..
        } = self;
        let client = &mut clients[index];
        client.wire.flush()?;
        let echo = !matches!(job.kind, Kind::Stream(_) | Kind::Frames(_));
        let (counter, mut frames) = (&mut client.counter, 0);
        let open = client
            .wire
            .drain(scratch, event.is_read_closed(), |bytes| {
                seen.bytes += bytes.len() as u64;
                if echo {
                    frames += counter.feed(bytes).0;
                }
            })?;
        if !open {
            return Err(io::Error::other("a session ended while it was measured"));
        }
        for _ in 0..frames {
            seen.latency(client.since);
        }
        if frames > 0 && again {
            self.say(index)?;
        }
        Ok(())
    }

    fn say(&mut self, index: usize) -> io::Result<()> {
        let client = &mut self.clients[index];
        client.since = Instant::now();
        client.wire.send(&self.message)
    }

    fn wait(&mut self, events: &mut Events, patience: Option<Duration>) -> io::Result<()> {
        let longest = patience.unwrap_or(HANDSHAKE_PATIENCE);
        self.poll.poll(events, Some(longest))?;
        if events.is_empty() && patience.is_none() {
            return Err(io::Error::other("a handshake got no answer"));
        }
        Ok(())
    }
}

impl Client {
    /// Takes the handshake as far as what has come allows; whether it is over now.
    fn shake(
        &mut self,
        event: &Event,
        scratch: &mut [u8],
        connects: &[Vec<u8>],
    ) -> io::Result<bool> {
        self.wire.flush()?;
        if !event.is_readable() {
            return Ok(false);
        }
        let unread = &mut self.unread;
        let ended = event.is_read_closed();
        let open = self
            .wire
            .drain(scratch, ended, |bytes| unread.extend_from_slice(bytes))?;
        self.wire.flush()?;
        if self.stage == Stage::Upgrade
            && let Some(end) = self.unread.windows(4).position(|four| four == b"\r\n\r\n")
        {
            if !self.unread.starts_with(b"HTTP/1.1 101") {
                return Err(self.unexpected("no upgrade"));
            }
            self.unread.drain(..end + 4);
            self.stage = Stage::Challenge;
        }
        while self.stage != Stage::Upgrade
            && let Some((_, payload, whole)) = first_frame(&self.unread)
        {
            let payload = String::from_utf8_lossy(&payload);
            if self.stage == Stage::Challenge && payload.contains("connect.challenge") {
                self.wire.send(&connects[self.connect])?;
                self.stage = Stage::Hello;
            } else if self.stage == Stage::Hello && payload.contains("hello-ok") {
                self.stage = Stage::Session;
            } else {
                return Err(self.unexpected("not what a gateway says"));
            }
            self.unread.drain(..whole);
            if self.stage == Stage::Session {
                self.unread = Vec::new();
                return Ok(true);
            }
        }
        if !open {
            return Err(self.unexpected("it was closed"));
        }
        Ok(false)
    }

    fn unexpected(&self, what: &str) -> io::Error {
        let said = String::from_utf8_lossy(&self.unread).into_owned();
        io::Error::other(format!("a handshake failed, {what}: {said:?}"))
    }
}

impl Seen {
    fn begin(&mut self) {
        self.latencies.clear();
        (self.bytes, self.on) = (0, true);
        println!("begin");
    }

    fn latency(&mut self, since: Instant) {
        if self.on {
            let nanoseconds = since.elapsed().as_nanos();
            self.latencies
                .push(u32::try_from(nanoseconds).unwrap_or(u32::MAX));
        }
    }

    fn outcome(&mut self, took: Duration) -> Outcome {
        self.latencies.sort_unstable();
        let at = |share: f64| {
            let index = (self.latencies.len() as f64 * share) as usize;
            self.latencies
                .get(index)
                .map_or(0.0, |&nanoseconds| f64::from(nanoseconds) / 1e3)
        };
        Outcome {
            count: self.latencies.len() as u64,
            bytes: self.bytes,
            seconds: took.as_secs_f64(),
            p50: at(0.5),
            p99: at(0.99),
        }
    }
}

/// Unfinished handshakes at a time while sessions are opened.
const AT_ONCE: usize = 16;
/// No more than one message to each session, where there are ten.
const BURST: usize = 10;
const WARM_UP: Duration = Duration::from_millis(400);
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(30);
