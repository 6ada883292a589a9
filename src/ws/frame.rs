//! One frame: its header parsed, its bytes written (RFC 6455 §5.2).

use thiserror::Error;

/// The header of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Whether this frame ends its message.
    pub fin: bool,
    /// What the frame carries.
    pub opcode: Opcode,
    /// The masking key; clients always mask, gateways never do.
    pub mask: Option<[u8; 4]>,
    /// Bytes of payload behind the header.
    pub payload_len: u64,
    /// Bytes of the header itself, 2 to 14.
    pub header_len: usize,
}

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// More of the message that an earlier frame began.
    Continuation,
    /// UTF-8 text.
    Text,
    /// Any bytes.
    Binary,
    /// The end of the session.
    Close,
    /// A question whether the peer is alive.
    Ping,
    /// The answer to it.
    Pong,
}

/// A peer that does not keep to RFC 6455, or uses an extension that nobody negotiated.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameError {
    /// A control frame in pieces, or with more than 125 bytes.
    #[error("a control frame is fragmented or longer than 125 bytes")]
    BadControl,
    /// A frame that continues no message, or starts one inside another.
    #[error("a data frame is out of sequence")]
    OutOfSequence,
    /// A length with the highest bit set, or written in more bytes than it needs.
    #[error("a frame length is not written as RFC 6455 wants it")]
    BadLength,
    /// A reserved opcode.
    #[error("a frame has the reserved opcode {0}")]
    ReservedOpcode(u8),
    /// A reserved bit, as compressed frames have.
    #[error("a frame has a reserved bit set")]
    ReservedBit,
    /// A message over the limit.
    #[error("a message is longer than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes of payload.
        limit: usize,
    },
    /// A client frame without a mask, or a gateway frame with one.
    #[error("a frame is masked although its sender must not, or the other way round")]
    WrongMasking,
}

impl Opcode {
    fn parse(bits: u8) -> Result<Self, FrameError> {
        match bits {
            0x0 => Ok(Self::Continuation),
            0x1 => Ok(Self::Text),
            0x2 => Ok(Self::Binary),
            0x8 => Ok(Self::Close),
            0x9 => Ok(Self::Ping),
            0xa => Ok(Self::Pong),
            other => Err(FrameError::ReservedOpcode(other)),
        }
    }

    const fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xa,
        }
    }

    /// Whether frames of this kind may stand between the pieces of a message.
    #[must_use]
    pub const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

impl Header {
    /// Parses the header at the start of `bytes`; `Ok(None)` asks for more bytes.
    ///
    /// # Errors
    ///
    /// When the bytes cannot be the start of a frame that a well-behaved peer sends.
    pub fn parse(bytes: &[u8]) -> Result<Option<Self>, FrameError> {
        let &[first, second, ref rest @ ..] = bytes else {
            return Ok(None);
        };
        if first & 0x70 != 0 {
            return Err(FrameError::ReservedBit);
        }
        let opcode = Opcode::parse(first & 0x0f)?;
        let fin = first & 0x80 != 0;
        let Some((payload_len, rest)) = parse_length(second & 0x7f, rest)? else {
            return Ok(None);
        };
        if opcode.is_control() && (!fin || payload_len > MAX_CONTROL_PAYLOAD) {
            return Err(FrameError::BadControl);
        }
        let (mask, rest) = if second & 0x80 == 0 {
            (None, rest)
        } else {
            let Some((key, rest)) = rest.split_first_chunk::<4>() else {
                return Ok(None);
            };
            (Some(*key), rest)
        };
        Ok(Some(Self {
            fin,
            opcode,
            mask,
            payload_len,
            header_len: bytes.len() - rest.len(),
        }))
    }
}

/// Reads the length that `short` announces; returns it with the bytes behind it.
fn parse_length(short: u8, rest: &[u8]) -> Result<Option<(u64, &[u8])>, FrameError> {
    match short {
        126 => {
            let Some((length, rest)) = rest.split_first_chunk::<2>() else {
                return Ok(None);
            };
            let length = u64::from(u16::from_be_bytes(*length));
            if length < 126 {
                return Err(FrameError::BadLength);
            }
            Ok(Some((length, rest)))
        }
        127 => {
            let Some((length, rest)) = rest.split_first_chunk::<8>() else {
                return Ok(None);
            };
            let length = u64::from_be_bytes(*length);
            if length <= u64::from(u16::MAX) || length > i64::MAX as u64 {
                return Err(FrameError::BadLength);
            }
            Ok(Some((length, rest)))
        }
        length => Ok(Some((u64::from(length), rest))),
    }
}

/// Applies the masking key to a whole payload, in place; the same call masks and unmasks (RFC 6455 §5.3).
pub fn apply_mask(payload: &mut [u8], key: [u8; 4]) {
    let (fours, rest) = payload.as_chunks_mut::<4>();
    // Whole chunks, so that the compiler can take many of them at a time.
    for four in fours.iter_mut().map(<[u8; 4]>::as_mut_slice).chain([rest]) {
        for (byte, key) in four.iter_mut().zip(key) {
            *byte ^= key;
        }
    }
}

/// Writes one whole, unfragmented frame; with `mask`, as a client must.
#[must_use]
pub fn encode(opcode: Opcode, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let mut frame = Vec::with_capacity(payload.len() + MAX_HEADER);
    frame.push(0x80 | opcode.bits());
    let mask_bit = if mask.is_some() { 0x80 } else { 0 };
    match payload.len() {
        length @ 0..=125 => frame.push(mask_bit | length as u8),
        length @ 126..=0xffff => {
            frame.push(mask_bit | 126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            frame.push(mask_bit | 127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(mask.as_ref().map_or(&[], |key| key.as_slice()));
    let start = frame.len();
    frame.extend_from_slice(payload);
    if let (Some(key), Some(payload)) = (mask, frame.get_mut(start..)) {
        apply_mask(payload, key);
    }
    frame
}

const MAX_CONTROL_PAYLOAD: u64 = 125;
const MAX_HEADER: usize = 14;

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    #[test]
    fn a_written_frame_parses_to_what_was_written_at_every_length_class() {
        for length in [0, 1, 125, 126, 127, 65_535, 65_536] {
            for mask in [None, Some([1, 2, 3, 4])] {
                let payload: Vec<u8> = (0..length).map(|i| i as u8).collect();
                let frame = encode(Opcode::Text, &payload, mask);
                let header = Header::parse(&frame).unwrap().unwrap();
                assert_eq!(header.payload_len, length as u64);
                assert_eq!(
                    (header.fin, header.opcode, header.mask),
                    (true, Opcode::Text, mask)
                );
                let mut body = frame[header.header_len..].to_vec();
                apply_mask(&mut body, mask.unwrap_or_default());
                assert_eq!(body, payload);
            }
        }
    }

    #[test]
    fn every_prefix_of_a_header_asks_for_more() {
        let frame = encode(Opcode::Binary, &[7; 70_000], Some([9; 4]));
        let whole = Header::parse(&frame).unwrap().unwrap();
        for end in 0..whole.header_len {
            assert_eq!(
                Header::parse(&frame[..end]),
                Ok(None),
                "prefix of {end} bytes"
            );
        }
        assert_eq!(Header::parse(&frame[..whole.header_len]), Ok(Some(whole)));
    }

    #[test]
    fn what_rfc_6455_forbids_is_named() {
        assert_eq!(Header::parse(&[0xc1, 0x00]), Err(FrameError::ReservedBit));
        assert_eq!(
            Header::parse(&[0x83, 0x00]),
            Err(FrameError::ReservedOpcode(3))
        );
        assert_eq!(Header::parse(&[0x09, 0x00]), Err(FrameError::BadControl));
        assert_eq!(
            Header::parse(&[0x88, 126, 0, 126]),
            Err(FrameError::BadControl)
        );
        assert_eq!(
            Header::parse(&[0x81, 126, 0, 125]),
            Err(FrameError::BadLength)
        );
        assert_eq!(
            Header::parse(&[0x81, 127, 0x80, 0, 0, 0, 0, 0, 0, 0]),
            Err(FrameError::BadLength)
        );
    }
}
