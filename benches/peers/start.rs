//! From the start of the program to its first handshake, and what it takes at rest.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::fixture::{Device, Way};
use crate::proxies::{Kind, Place, Running};
use crate::table::{median, number};
use crate::wire::{first_frame, frame};

/// What one start came to.
pub struct Start {
    /// Milliseconds to the first accepted handshake.
    milliseconds: f64,
    /// Resident memory a moment later, in MiB.
    resident: f64,
}

/// Starts the program and makes a handshake as soon as it lets one in.
pub fn measure(kind: &Kind, place: &Place, port: u16) -> Start {
    let started = Instant::now();
    let running = Running::spawn(kind, place, port, false);
    while handshake(running.addr, Way::Pass).is_err() {
        assert!(started.elapsed() < PATIENCE, "no handshake succeeds");
        sleep(Duration::from_micros(200));
    }
    let milliseconds = started.elapsed().as_secs_f64() * 1e3;
    sleep(REST);
    let resident = running.tree().map_or(0, |tree| tree.rss());
    Start {
        milliseconds,
        resident: resident as f64 / MIB,
    }
}

/// The lines of the table.
pub fn rows(kind: &Kind, place: &Place, columns: usize, starts: Vec<Start>) -> Vec<String> {
    let (times, resident) = starts
        .into_iter()
        .map(|start| (start.milliseconds, start.resident))
        .unzip();
    let row = |what: &str, value: f64, most: f64| {
        let met = if value <= most { "✓" } else { "✗" };
        let blank = "| – ".repeat(columns - 1);
        format!(
            "| {}, {what} {blank}| {} | ≤ {most} | {met} |",
            kind.name(),
            number(value)
        )
    };
    vec![
        row(
            "start to first handshake: ms",
            median(times).unwrap_or_default(),
            50.0,
        ),
        row("size of the stripped program: MiB", size(kind, place), 12.0),
        row(
            "resident at rest: MiB",
            median(resident).unwrap_or_default(),
            12.0,
        ),
    ]
}

/// The size of the program as it is packaged: without symbols.
fn size(kind: &Kind, place: &Place) -> f64 {
    let Kind::Shim { program, .. } = kind else {
        return 0.0;
    };
    let stripped = place.directory.join("stripped");
    let mut strip = Command::new("strip");
    let _ = strip
        .arg("--strip-unneeded")
        .arg("-o")
        .arg(&stripped)
        .arg(program)
        .status();
    let measured = if stripped.exists() {
        &stripped
    } else {
        program
    };
    let size = measured.metadata().map_or(0, |file| file.len());
    let _ = fs::remove_file(stripped);
    size as f64 / MIB
}

/// Lets a shim open its own session with the gateway before anything is measured: until then it rewrites nothing.
pub fn settle(running: &Running) {
    if running.certificate.is_none() {
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = handshake(running.addr, Way::Rewrite) {
            assert!(
                Instant::now() < deadline,
                "{} lets nobody in: {error}",
                running.kind.name()
            );
            sleep(Duration::from_millis(20));
        }
    }
    sleep(Duration::from_millis(200));
}

fn handshake(addr: SocketAddr, way: Way) -> io::Result<()> {
    let mut stream = TcpStream::connect(addr)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    let upgrade = format!(
        "GET /idle HTTP/1.1\r\nHost: {addr}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(upgrade.as_bytes())?;
    let mut unread = Vec::new();
    let mut asked = false;
    loop {
        let mut buffer = [0; 16384];
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        unread.extend_from_slice(&buffer[..read]);
        if unread.starts_with(b"HTTP")
            && let Some(end) = unread.windows(4).position(|four| four == b"\r\n\r\n")
        {
            if !unread.starts_with(b"HTTP/1.1 101") {
                return Err(io::Error::other("no upgrade"));
            }
            unread.drain(..end + 4);
        }
        while !unread.starts_with(b"HTTP")
            && let Some((opcode, payload, whole)) = first_frame(&unread)
        {
            unread.drain(..whole);
            let text = String::from_utf8_lossy(&payload);
            if opcode == 1 && !asked {
                asked = true;
                stream.write_all(&frame(1, Device::nth(0).connect(way).as_bytes(), true))?;
            } else if opcode == 1 && text.contains("hello-ok") {
                return Ok(());
            } else {
                return Err(io::Error::other(text.into_owned()));
            }
        }
    }
}

const MIB: f64 = 1024.0 * 1024.0;
/// Under callgrind everything takes its time.
const PATIENCE: Duration = Duration::from_secs(60);
const REST: Duration = Duration::from_secs(1);
