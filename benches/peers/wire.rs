//! Sockets and frames for both ends of the bench: no more work than what is measured needs.

use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;

use mio::net::TcpStream;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

/// A socket that never blocks, with TLS on it or not, and what did not fit into it yet.
pub struct Wire {
    pub stream: TcpStream,
    tls: Option<ClientConnection>,
    out: Vec<u8>,
    sent: usize,
}

impl Wire {
    pub fn plain(stream: TcpStream) -> Self {
        Self {
            stream,
            tls: None,
            out: Vec::new(),
            sent: 0,
        }
    }

    pub fn connect(addr: SocketAddr, tls: Option<&Arc<ClientConfig>>) -> io::Result<Self> {
        let mut wire = Self::plain(TcpStream::connect(addr)?);
        wire.tls = tls.map(|config| {
            let name = ServerName::from(addr.ip());
            ClientConnection::new(Arc::clone(config), name).unwrap()
        });
        Ok(wire)
    }

    /// Hands on everything that is there to be read; `false` where the other side has ended. Edge-triggered: a read that
    /// does not fill the buffer has taken all there was, unless the end came right behind it.
    pub fn drain(
        &mut self,
        scratch: &mut [u8],
        ended: bool,
        mut on: impl FnMut(&[u8]),
    ) -> io::Result<bool> {
        loop {
            match self.read(scratch) {
                Ok(0) => return Ok(false),
                Ok(read) => {
                    on(&scratch[..read]);
                    if read < scratch.len() && self.tls.is_none() && !ended {
                        return Ok(true);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error),
            }
        }
    }

    fn read(&mut self, scratch: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else {
            return self.stream.read(scratch);
        };
        loop {
            match tls.reader().read(scratch) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read,
            }
            if tls.read_tls(&mut self.stream)? == 0 {
                return Ok(0);
            }
            tls.process_new_packets().map_err(io::Error::other)?;
            if tls.wants_write() {
                let _ = tls.write_tls(&mut self.stream);
            }
        }
    }

    /// Sends, or keeps what does not fit until the socket is writable.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.tls.is_none() && self.is_idle() {
            let sent = sent(self.stream.write(bytes))?;
            if sent < bytes.len() {
                self.out.extend_from_slice(&bytes[sent..]);
            }
            return Ok(());
        }
        self.out.extend_from_slice(bytes);
        self.flush()
    }

    /// Sends what was kept.
    pub fn flush(&mut self) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            loop {
                if self.sent < self.out.len() && !tls.is_handshaking() {
                    self.sent += tls.writer().write(&self.out[self.sent..])?;
                }
                if !tls.wants_write() || sent(tls.write_tls(&mut self.stream))? == 0 {
                    break;
                }
            }
        } else {
            while self.sent < self.out.len() {
                match sent(self.stream.write(&self.out[self.sent..]))? {
                    0 => break,
                    more => self.sent += more,
                }
            }
        }
        if self.sent == self.out.len() {
            self.out.clear();
            self.sent = 0;
        }
        Ok(())
    }

    /// Whether nothing waits to be sent.
    pub fn is_idle(&self) -> bool {
        self.out.is_empty()
    }
}

fn sent(result: io::Result<usize>) -> io::Result<usize> {
    match result {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected
            ) =>
        {
            Ok(0)
        }
        result => result,
    }
}

/// A whole frame: a client's is masked (by a mask of zeros, which costs the same to everybody on the way).
pub fn frame(opcode: u8, payload: &[u8], masked: bool) -> Vec<u8> {
    let mask_bit = if masked { 0x80 } else { 0 };
    let mut out = vec![0x80 | opcode];
    match payload.len() {
        length @ 0..126 => out.push(mask_bit | u8::try_from(length).unwrap()),
        length => match u16::try_from(length) {
            Ok(length) => {
                out.push(mask_bit | 126);
                out.extend(length.to_be_bytes());
            }
            Err(_) => {
                out.push(mask_bit | 127);
                out.extend((length as u64).to_be_bytes());
            }
        },
    }
    if masked {
        out.extend([0; 4]);
    }
    out.extend_from_slice(payload);
    out
}

/// The header of a frame: its opcode, its length with the header, and the header's length; `None` while it is not all
/// there.
pub fn header(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let [first, second, rest @ ..] = bytes else {
        return None;
    };
    let mask = if second & 0x80 == 0 { 0 } else { 4 };
    let (extra, payload) = match second & 0x7f {
        126 => (2, u64::from(u16::from_be_bytes(*rest.first_chunk()?))),
        127 => (8, u64::from_be_bytes(*rest.first_chunk()?)),
        short => (0, u64::from(short)),
    };
    let head = 2 + extra + mask;
    let whole = head + usize::try_from(payload).unwrap();
    Some((first & 0x0f, whole, head))
}

/// The payload of the first frame in `bytes`, unmasked, and how long that frame is.
pub fn first_frame(bytes: &[u8]) -> Option<(u8, Vec<u8>, usize)> {
    let (opcode, whole, head) = header(bytes)?;
    let frame = bytes.get(..whole)?;
    let mut payload = frame[head..].to_vec();
    if bytes[1] & 0x80 != 0 {
        let mask = &frame[head - 4..head];
        for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
            *byte ^= mask;
        }
    }
    Some((opcode, payload, whole))
}

/// Counts frames that go by, without keeping them.
#[derive(Default)]
pub struct Counter {
    head: Vec<u8>,
    missing: usize,
    length: usize,
}

impl Counter {
    /// Takes bytes and returns how many frames ended in them, and how long the last one's payload was.
    pub fn feed(&mut self, mut bytes: &[u8]) -> (usize, usize) {
        let mut frames = 0;
        while !bytes.is_empty() {
            if self.missing > 0 {
                let here = self.missing.min(bytes.len());
                self.missing -= here;
                bytes = &bytes[here..];
            } else if self.head.is_empty()
                && let Some((_, whole, head)) = header(bytes)
            {
                (self.missing, self.length) = (whole, whole - head);
                continue;
            } else {
                self.head.push(bytes[0]);
                bytes = &bytes[1..];
                let Some((_, whole, head)) = header(&self.head) else {
                    continue;
                };
                self.missing = whole - self.head.len();
                self.length = whole - head;
                self.head.clear();
            }
            if self.missing == 0 {
                frames += 1;
            }
        }
        (frames, self.length)
    }
}
