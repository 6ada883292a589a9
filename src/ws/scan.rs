//! Messages found in a growing buffer, without taking a byte out of it.

use super::frame::{FrameError, Header, Opcode, apply_mask};

/// Finds the next message in the bytes of one direction.
///
/// The scanner only looks. The caller keeps the bytes and decides whether the `raw` bytes of an [`Item`] go on as
/// they are or are replaced; that is what makes an untouched handshake byte for byte.
#[derive(Debug)]
pub struct Scanner {
    sender: Sender,
    limit: usize,
    scanned: usize,
    message: Option<Message>,
}

#[derive(Debug)]
struct Message {
    opcode: Opcode,
    payload: Vec<u8>,
    controls: Vec<u8>,
}

/// Whose frames are scanned; it decides whether they must be masked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// Frames are masked.
    Client,
    /// Frames are not masked.
    Gateway,
}

/// What stands at the start of the buffer.
#[derive(Debug, PartialEq, Eq)]
pub enum Item {
    /// A control frame outside any message.
    Control {
        /// What kind of control frame.
        opcode: Opcode,
        /// How many bytes of the buffer it takes.
        raw: usize,
    },
    /// A whole message, possibly of several frames, with any control frames that stood between them.
    Message {
        /// The payload, joined and unmasked.
        payload: Vec<u8>,
        /// Text or binary.
        opcode: Opcode,
        /// The control frames that stood between its frames, as they came.
        controls: Vec<u8>,
        /// How many bytes of the buffer it takes.
        raw: usize,
    },
}

impl Scanner {
    /// A scanner for frames that `sender` sends, which gives up on messages of more than `limit` bytes.
    #[must_use]
    pub const fn new(sender: Sender, limit: usize) -> Self {
        Self {
            sender,
            limit,
            scanned: 0,
            message: None,
        }
    }

    /// Looks for the next item; `Ok(None)` asks for more bytes.
    ///
    /// After `Ok(None)`, the next call has to bring the same bytes with more behind them; after an item, the bytes
    /// behind its `raw` bytes.
    ///
    /// # Errors
    ///
    /// When the sender breaks RFC 6455 or exceeds the limit; the scanner is of no further use then.
    pub fn next(&mut self, bytes: &[u8]) -> Result<Option<Item>, FrameError> {
        loop {
            let unseen = bytes.get(self.scanned..).unwrap_or_default();
            let Some(header) = Header::parse(unseen)? else {
                return Ok(None);
            };
            self.check(&header)?;
            let Some(frame_len) = usize::try_from(header.payload_len)
                .ok()
                .and_then(|payload| payload.checked_add(header.header_len))
            else {
                return Err(FrameError::TooLarge { limit: self.limit });
            };
            // Headers and control frames within a message are kept, too.
            if self.scanned.saturating_add(frame_len)
                > self.limit.saturating_mul(2).saturating_add(SLACK)
            {
                return Err(FrameError::TooLarge { limit: self.limit });
            }
            let Some(frame) = unseen.get(..frame_len) else {
                return Ok(None);
            };
            self.scanned += frame_len;
            if let Some(item) = self.take(&header, frame) {
                self.scanned = 0;
                return Ok(Some(item));
            }
        }
    }

    fn check(&self, header: &Header) -> Result<(), FrameError> {
        if header.mask.is_some() != (self.sender == Sender::Client) {
            return Err(FrameError::WrongMasking);
        }
        if header.opcode.is_control() {
            return Ok(());
        }
        let continues = header.opcode == Opcode::Continuation;
        if continues != self.message.is_some() {
            return Err(FrameError::OutOfSequence);
        }
        let so_far = self
            .message
            .as_ref()
            .map_or(0, |message| message.payload.len());
        if header.payload_len > (self.limit - so_far.min(self.limit)) as u64 {
            return Err(FrameError::TooLarge { limit: self.limit });
        }
        Ok(())
    }

    fn take(&mut self, header: &Header, frame: &[u8]) -> Option<Item> {
        if header.opcode.is_control() {
            let Some(message) = &mut self.message else {
                return Some(Item::Control {
                    opcode: header.opcode,
                    raw: self.scanned,
                });
            };
            message.controls.extend_from_slice(frame);
            return None;
        }
        let body = frame.get(header.header_len..).unwrap_or_default();
        let message = self.message.get_or_insert_with(|| Message {
            opcode: header.opcode,
            payload: Vec::with_capacity(body.len()),
            controls: Vec::new(),
        });
        let start = message.payload.len();
        message.payload.extend_from_slice(body);
        if let (Some(key), Some(piece)) = (header.mask, message.payload.get_mut(start..)) {
            apply_mask(piece, key);
        }
        if !header.fin {
            return None;
        }
        let message = self.message.take()?;
        Some(Item::Message {
            payload: message.payload,
            opcode: message.opcode,
            controls: message.controls,
            raw: self.scanned,
        })
    }
}

/// What headers and control frames may come to, beside as much again as the message, in bytes.
const SLACK: usize = 4 * 1024;

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use proptest::prelude::*;

    use super::*;
    use crate::ws::frame::encode;

    const KEY: Option<[u8; 4]> = Some([0x11, 0x22, 0x33, 0x44]);

    fn fragment(mut frame: Vec<u8>, opcode: u8, fin: bool) -> Vec<u8> {
        frame[0] = if fin { 0x80 | opcode } else { opcode };
        frame
    }

    fn scan_all(bytes: &[u8], splits: &[usize]) -> Vec<Item> {
        let mut scanner = Scanner::new(Sender::Client, 1024);
        let (mut buffer, mut items, mut fed) = (Vec::new(), Vec::new(), 0);
        for &end in splits.iter().chain([&bytes.len()]) {
            buffer.extend_from_slice(&bytes[fed..end.max(fed)]);
            fed = end.max(fed);
            while let Some(item) = scanner.next(&buffer).unwrap() {
                let raw = match &item {
                    Item::Control { raw, .. } | Item::Message { raw, .. } => *raw,
                };
                buffer.drain(..raw);
                items.push(item);
            }
        }
        assert!(buffer.is_empty(), "bytes were left over");
        items
    }

    fn conversation() -> Vec<u8> {
        [
            encode(Opcode::Ping, b"?", KEY),
            fragment(encode(Opcode::Text, b"hel", KEY), 0x1, false),
            encode(Opcode::Ping, b"!", KEY),
            fragment(encode(Opcode::Text, b"lo", KEY), 0x0, true),
            encode(Opcode::Binary, &[5; 300], KEY),
        ]
        .concat()
    }

    #[test]
    fn a_fragmented_message_with_a_ping_inside_is_one_item() {
        let bytes = conversation();
        let items = scan_all(&bytes, &[]);
        assert_eq!(items.len(), 3);
        assert!(matches!(
            &items[0],
            Item::Control {
                opcode: Opcode::Ping,
                raw: 7
            }
        ));
        assert!(matches!(
            &items[1],
            Item::Message { payload, opcode: Opcode::Text, raw: 24, controls }
                if payload == b"hello" && *controls == encode(Opcode::Ping, b"!", KEY)
        ));
        assert!(matches!(&items[2], Item::Message { payload, .. } if payload == &[5; 300]));
    }

    proptest! {
        #[test]
        fn any_split_finds_the_same_items(mut splits in prop::collection::vec(0usize..340, 0..40)) {
            let bytes = conversation();
            splits.iter_mut().for_each(|split| *split = (*split).min(bytes.len()));
            splits.sort_unstable();
            prop_assert_eq!(scan_all(&bytes, &splits), scan_all(&bytes, &[]));
        }

        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut scanner = Scanner::new(Sender::Gateway, 64);
            let _ = scanner.next(&bytes);
        }
    }

    #[test]
    fn a_message_over_the_limit_is_refused_before_it_arrives() {
        let frame = encode(Opcode::Text, &[b'x'; 2000], KEY);
        let mut scanner = Scanner::new(Sender::Client, 1024);
        assert_eq!(
            scanner.next(&frame[..8]),
            Err(FrameError::TooLarge { limit: 1024 })
        );
    }

    #[test]
    fn fragments_may_not_add_up_to_more_than_the_limit() {
        let first = fragment(encode(Opcode::Text, &[b'x'; 600], KEY), 0x1, false);
        let second = fragment(encode(Opcode::Text, &[b'x'; 600], KEY), 0x0, true);
        let mut scanner = Scanner::new(Sender::Client, 1024);
        let bytes = [first, second].concat();
        assert_eq!(
            scanner.next(&bytes),
            Err(FrameError::TooLarge { limit: 1024 })
        );
    }

    #[test]
    fn a_message_that_never_ends_may_not_be_drawn_out_with_frames_of_other_kinds() {
        let begun = fragment(encode(Opcode::Text, b"x", KEY), 0x1, false);
        let ping = encode(Opcode::Ping, &[0; 125], KEY);
        let nothing = fragment(encode(Opcode::Text, b"", KEY), 0x0, false);
        for frame in [ping, nothing] {
            let mut scanner = Scanner::new(Sender::Client, 1024);
            let mut bytes = begun.clone();
            let refused = loop {
                match scanner.next(&bytes) {
                    Ok(None) => bytes.extend_from_slice(&frame),
                    outcome => break outcome,
                }
                assert!(bytes.len() < 10_000, "it goes on and on");
            };
            assert_eq!(refused, Err(FrameError::TooLarge { limit: 1024 }));
        }
    }

    #[test]
    fn frames_out_of_sequence_or_wrongly_masked_are_refused() {
        let text = encode(Opcode::Text, b"x", KEY);
        let mut gateway = Scanner::new(Sender::Gateway, 64);
        assert_eq!(gateway.next(&text), Err(FrameError::WrongMasking));
        let mut client = Scanner::new(Sender::Client, 64);
        let continuation = fragment(text, 0x0, true);
        assert_eq!(client.next(&continuation), Err(FrameError::OutOfSequence));
    }
}
