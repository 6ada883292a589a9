//! A gateway that admits everybody and echoes, and that can be taken away.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{MissedTickBehavior, interval};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::fixture::{ID, NONCE, hello_ok};
use crate::wire::{first_frame, frame};

/// A running gateway.
pub(crate) struct Gateway {
    pub(crate) seen: Arc<Seen>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// What a gateway has seen.
#[derive(Default)]
pub(crate) struct Seen {
    unfinished: AtomicUsize,
    /// The most handshakes that were unfinished at a time.
    pub(crate) most_unfinished: AtomicUsize,
}

/// A handshake that is under way.
struct Unfinished<'a>(&'a Seen);

impl Seen {
    fn begins(&self) -> Unfinished<'_> {
        let now = self.unfinished.fetch_add(1, Ordering::Relaxed) + 1;
        self.most_unfinished.fetch_max(now, Ordering::Relaxed);
        Unfinished(self)
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        self.0.unfinished.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Gateway {
    pub(crate) async fn start(addr: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(addr).await?;
        let gateway = Self {
            seen: Arc::default(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let (stop, tasks) = (gateway.stop.clone(), gateway.tasks.clone());
        let seen = Arc::clone(&gateway.seen);
        gateway.tasks.spawn(async move {
            loop {
                let accepted = tokio::select! {
                    () = stop.cancelled() => return,
                    accepted = listener.accept() => accepted,
                };
                let Ok((stream, _)) = accepted else { continue };
                let (stop, seen) = (stop.clone(), Arc::clone(&seen));
                tasks.spawn(async move {
                    tokio::select! {
                        () = stop.cancelled() => {}
                        _ = serve(stream, &seen) => {}
                    }
                });
            }
        });
        Ok(gateway)
    }

    /// Ends every session where it is, and gives the port back.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

async fn serve(mut stream: TcpStream, seen: &Seen) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut unread = Vec::new();
    let head = loop {
        if let Some(end) = unread.windows(4).position(|four| four == b"\r\n\r\n") {
            let head: Vec<u8> = unread.drain(..end + 4).collect();
            break String::from_utf8_lossy(&head).into_owned();
        }
        more(&mut stream, &mut unread).await?;
    };
    let fields = head.lines().filter_map(|line| line.split_once(':'));
    let mut keys = fields.filter(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"));
    let Some((_, key)) = keys.next() else {
        let response = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
        return stream.write_all(response).await;
    };
    let unfinished = seen.begins();
    let response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        derive_accept_key(key.trim().as_bytes())
    );
    stream.write_all(response.as_bytes()).await?;
    let challenge = json!({"type": "event", "event": "connect.challenge", "payload": {"nonce": NONCE, "ts": 1}});
    say(&mut stream, &challenge.to_string()).await?;
    let connect = next(&mut stream, &mut unread).await?;
    say(&mut stream, &hello_ok().replacen(ID, &id(&connect.1), 1)).await?;
    drop(unfinished);
    converse(stream, unread).await
}

/// Echoes what is binary, answers what is a call, and gives the sign of life that the shim's own session waits for.
async fn converse(mut stream: TcpStream, mut unread: Vec<u8>) -> io::Result<()> {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    let mut calls = false;
    loop {
        let (opcode, payload) = tokio::select! {
            frame = next(&mut stream, &mut unread) => frame?,
            _ = ticks.tick(), if calls => {
                let tick = json!({"type": "event", "event": "tick", "payload": {"ts": 1}});
                say(&mut stream, &tick.to_string()).await?;
                continue;
            }
        };
        match opcode {
            1 => {
                calls = true;
                let answer = json!({"type": "res", "id": id(&payload), "ok": true, "payload": {}});
                say(&mut stream, &answer.to_string()).await?;
            }
            2 => stream.write_all(&frame(2, &payload, false)).await?,
            8 => return stream.write_all(&frame(8, &payload, false)).await,
            9 => stream.write_all(&frame(10, &payload, false)).await?,
            _ => {}
        }
    }
}

async fn say(stream: &mut TcpStream, text: &str) -> io::Result<()> {
    stream.write_all(&frame(1, text.as_bytes(), false)).await
}

/// The next frame. Nothing is lost where it is not waited for to the end.
async fn next(stream: &mut TcpStream, unread: &mut Vec<u8>) -> io::Result<(u8, Vec<u8>)> {
    loop {
        if let Some((opcode, payload, whole)) = first_frame(unread) {
            unread.drain(..whole);
            return Ok((opcode, payload));
        }
        more(stream, unread).await?;
    }
}

async fn more(stream: &mut TcpStream, unread: &mut Vec<u8>) -> io::Result<()> {
    match stream.read_buf(unread).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

fn id(message: &[u8]) -> String {
    let message: serde_json::Value = serde_json::from_slice(message).unwrap_or_default();
    message["id"].as_str().unwrap_or_default().to_owned()
}

const TICK: Duration = Duration::from_secs(20);
