//! WebSocket frames, byte by byte (RFC 6455). No sockets here: "need more" is `Ok(None)`.
//!
//! Written out instead of taken from a library because the tests must see the very bytes that
//! arrived, and because a mistake in the shim's frame code must not be able to hide in shared code.

/// One message, with the bytes it arrived in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) kind: Kind,
    pub(super) payload: Vec<u8>,
    /// Every frame of the message as it was on the wire, masked.
    pub(super) raw: Vec<u8>,
}

/// What kind of message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Kind {
    #[default]
    Text,
    Binary,
    Ping,
    Pong,
    Close,
}

/// Why the peer is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Close 1002.
    Protocol,
    /// Close 1009.
    TooLarge,
}

/// Puts messages together from frames.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    partial: Option<Message>,
}

impl Assembler {
    /// Takes the next message off the front of `buffer`, if it is all there.
    pub(super) fn next(
        &mut self,
        buffer: &mut Vec<u8>,
        limit: usize,
    ) -> Result<Option<Message>, Fault> {
        loop {
            let Some(frame) = Frame::parse(buffer, limit)? else {
                return Ok(None);
            };
            let raw: Vec<u8> = buffer.drain(..frame.length).collect();
            let payload = frame.payload(&raw);
            if let Some(message) = self.add(frame, payload, raw, limit)? {
                return Ok(Some(message));
            }
        }
    }

    fn add(
        &mut self,
        frame: Frame,
        payload: Vec<u8>,
        raw: Vec<u8>,
        limit: usize,
    ) -> Result<Option<Message>, Fault> {
        let kind = match frame.opcode {
            0 => {
                let mut message = self.partial.take().ok_or(Fault::Protocol)?;
                message.payload.extend(payload);
                message.raw.extend(raw);
                if message.payload.len() > limit {
                    return Err(Fault::TooLarge);
                }
                return Ok(self.complete(message, frame.last));
            }
            1 => Kind::Text,
            2 => Kind::Binary,
            8 => {
                return Ok(Some(Message {
                    kind: Kind::Close,
                    payload,
                    raw,
                }));
            }
            9 => {
                return Ok(Some(Message {
                    kind: Kind::Ping,
                    payload,
                    raw,
                }));
            }
            10 => {
                return Ok(Some(Message {
                    kind: Kind::Pong,
                    payload,
                    raw,
                }));
            }
            _ => return Err(Fault::Protocol),
        };
        if self.partial.is_some() {
            return Err(Fault::Protocol);
        }
        Ok(self.complete(Message { kind, payload, raw }, frame.last))
    }

    fn complete(&mut self, message: Message, last: bool) -> Option<Message> {
        if last {
            return Some(message);
        }
        self.partial = Some(message);
        None
    }
}

struct Frame {
    last: bool,
    opcode: u8,
    mask: [u8; 4],
    header: usize,
    length: usize,
}

impl Frame {
    fn parse(buffer: &[u8], limit: usize) -> Result<Option<Self>, Fault> {
        let [first, second, rest @ ..] = buffer else {
            return Ok(None);
        };
        let opcode = first & 0x0f;
        let short = usize::from(second & 0x7f);
        // Reserved bits (no extension is ever agreed), unmasked clients, long or split control frames.
        if first & 0x70 != 0
            || second & 0x80 == 0
            || (opcode >= 8 && (first & 0x80 == 0 || short > 125))
        {
            return Err(Fault::Protocol);
        }
        let (extra, payload) = match short {
            126 => match rest {
                [a, b, ..] => (2, u64::from(u16::from_be_bytes([*a, *b]))),
                _ => return Ok(None),
            },
            127 => match rest.first_chunk::<8>() {
                Some(bytes) => (8, u64::from_be_bytes(*bytes)),
                None => return Ok(None),
            },
            short => (0, short as u64),
        };
        let payload = usize::try_from(payload).map_err(|_| Fault::TooLarge)?;
        if payload > limit {
            return Err(Fault::TooLarge);
        }
        let header = 2 + extra + 4;
        let length = header + payload;
        let mask = buffer.get(header - 4..header).and_then(<[u8]>::first_chunk);
        let (Some(mask), true) = (mask, buffer.len() >= length) else {
            return Ok(None);
        };
        Ok(Some(Self {
            last: first & 0x80 != 0,
            opcode,
            mask: *mask,
            header,
            length,
        }))
    }

    fn payload(&self, raw: &[u8]) -> Vec<u8> {
        let masked = raw.iter().skip(self.header);
        masked
            .zip(self.mask.iter().cycle())
            .map(|(byte, mask)| byte ^ mask)
            .collect()
    }
}

/// A text frame from the gateway: one frame, never masked.
pub(super) fn text(payload: &str) -> Vec<u8> {
    encode(0x1, payload.as_bytes())
}

/// A frame of any kind from the gateway.
pub(super) fn encode(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0x80 | opcode];
    match payload.len() {
        length @ 0..=125 => out.push(u8::try_from(length).unwrap_or_default()),
        length => match u16::try_from(length) {
            Ok(length) => {
                out.push(126);
                out.extend(length.to_be_bytes());
            }
            Err(_) => {
                out.push(127);
                out.extend((length as u64).to_be_bytes());
            }
        },
    }
    out.extend(payload);
    out
}

/// A close frame; the reason is cut to the 123 bytes a control frame has room for.
pub(super) fn close(code: u16, reason: &str) -> Vec<u8> {
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend(cut(reason).as_bytes());
    encode(0x8, &payload)
}

/// At most 123 bytes, not splitting a character.
pub(super) fn cut(reason: &str) -> &str {
    let mut end = reason.len().min(123);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    &reason[..end]
}

/// Code and reason of a close message.
pub(super) fn close_parts(payload: &[u8]) -> Option<(u16, String)> {
    let (code, reason) = payload.split_first_chunk::<2>()?;
    Some((
        u16::from_be_bytes(*code),
        String::from_utf8_lossy(reason).into_owned(),
    ))
}
