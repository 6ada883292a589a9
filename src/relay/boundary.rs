//! Where one frame ends and the next begins, counted without looking at a payload.

use crate::ws::{Header, Opcode};

/// Follows the frames of one direction, whatever pieces they come in.
#[derive(Debug, Default)]
pub(super) struct Boundary {
    header: [u8; 14],
    header_seen: usize,
    payload_left: u64,
    closed: bool,
    lost: bool,
}

/// What comes next.
#[cfg(target_os = "linux")]
pub(super) enum Ahead {
    /// Whatever it is, frames cannot be told apart.
    Anything,
    /// A frame.
    Header,
    /// The rest of a header.
    RestOfHeader,
    /// So much of a payload.
    Payload(u64),
}

impl Boundary {
    #[cfg(target_os = "linux")]
    pub(super) const fn ahead(&self) -> Ahead {
        match (self.lost, self.payload_left, self.header_seen) {
            (true, _, _) => Ahead::Anything,
            (false, 0, 0) => Ahead::Header,
            (false, 0, _) => Ahead::RestOfHeader,
            (false, left, _) => Ahead::Payload(left),
        }
    }

    /// So much of the payload went by unseen.
    #[cfg(target_os = "linux")]
    pub(super) const fn skip(&mut self, bytes: u64) {
        self.payload_left = self.payload_left.saturating_sub(bytes);
    }

    /// Takes the bytes that come next.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.lost {
            let skip = usize::try_from(self.payload_left)
                .unwrap_or(usize::MAX)
                .min(bytes.len());
            if skip > 0 {
                self.payload_left -= skip as u64;
                bytes = bytes.get(skip..).unwrap_or_default();
                continue;
            }
            bytes = self.feed_whole_header(bytes);
        }
    }

    /// Takes a header at once where all of it is there, as it mostly is.
    fn feed_whole_header<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        if self.header_seen == 0
            && let Ok(Some(header)) = Header::parse(bytes)
        {
            self.begin(&header);
            return bytes.get(header.header_len..).unwrap_or_default();
        }
        self.feed_header(bytes)
    }

    /// Takes one byte of a header, and the length from a header that is whole.
    fn feed_header<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let (Some((first, rest)), Some(slot)) =
            (bytes.split_first(), self.header.get_mut(self.header_seen))
        else {
            self.lost = true;
            return &[];
        };
        *slot = *first;
        self.header_seen += 1;
        match Header::parse(self.header.get(..self.header_seen).unwrap_or_default()) {
            Ok(None) => {}
            Ok(Some(header)) => {
                self.begin(&header);
                self.header_seen = 0;
            }
            Err(_) => self.lost = true,
        }
        rest
    }

    fn begin(&mut self, header: &Header) {
        self.payload_left = header.payload_len;
        self.closed |= header.opcode == Opcode::Close;
    }

    /// How many more bytes may be read without passing the end of the frame under way; `None` between two frames, or
    /// where that is not known.
    pub(super) fn missing(&self) -> Option<usize> {
        if self.lost {
            None
        } else if self.payload_left > 0 {
            Some(usize::try_from(self.payload_left).unwrap_or(usize::MAX))
        } else {
            (self.header_seen > 0).then_some(1)
        }
    }

    /// Whether a close frame may come next: between two frames, where none has come yet.
    pub(super) fn may_close(&self) -> bool {
        !self.lost && !self.closed && self.missing().is_none()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ws::frame::encode;

    proptest! {
        #[test]
        fn the_end_of_every_frame_is_found_in_any_pieces(
            lengths in prop::collection::vec(0usize..70_000, 1..4),
            piece in 1usize..5_000,
        ) {
            let bytes: Vec<u8> = lengths.iter().flat_map(|&length| encode(Opcode::Binary, &vec![0x81; length], None)).collect();
            let mut boundary = Boundary::default();
            for piece in bytes.chunks(piece) {
                boundary.feed(piece);
            }
            prop_assert_eq!(boundary.missing(), None);
            prop_assert!(boundary.may_close());
        }
    }

    #[test]
    fn inside_a_frame_the_missing_bytes_are_known() {
        let frame = encode(Opcode::Text, &[b'x'; 300], None);
        let mut boundary = Boundary::default();
        boundary.feed(&frame[..1]);
        assert_eq!(boundary.missing(), Some(1));
        boundary.feed(&frame[1..10]);
        assert_eq!(boundary.missing(), Some(frame.len() - 10));
        assert!(!boundary.may_close());
    }

    #[test]
    fn after_a_close_there_is_no_other() {
        let mut boundary = Boundary::default();
        boundary.feed(&encode(Opcode::Close, &[3, 232], None));
        assert_eq!(boundary.missing(), None);
        assert!(!boundary.may_close());
    }

    #[test]
    fn bytes_that_are_no_frames_are_noticed() {
        let mut boundary = Boundary::default();
        boundary.feed(b"HTTP/1.1");
        assert!(!boundary.may_close());
        assert_eq!(boundary.missing(), None);
    }
}
