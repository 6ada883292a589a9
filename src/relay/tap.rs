//! The light tap of a degraded session: its `missing scope` answers say why, everything else passes byte for byte.
//!
//! Only text frames that are whole messages and shorter than [`LONGEST`] are looked at, so that is all that is ever kept
//! back. A frame that is longer, in pieces, binary, a control frame or no frame at all streams through.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::diagnosis::Diagnosis;
use crate::ws::{Header, Opcode, frame};

/// Explains the `missing scope` answers that a gateway sends to one degraded session.
///
/// It can only be made from a diagnosis: a healthy session has nothing to look at its frames with.
#[derive(Debug)]
pub struct Tap {
    explanation: Explanation,
    /// A frame that may have to be looked at, as far as it has come.
    held: Vec<u8>,
    /// How much of the present frame just passes.
    passing: u64,
    /// The bytes are no frames; nothing is looked at any more.
    lost: bool,
}

#[derive(Debug)]
struct Explanation {
    sentence: String,
    data: Map<String, Value>,
}

impl Tap {
    /// A tap that explains what this session lacks.
    #[must_use]
    pub fn new(diagnosis: &Diagnosis) -> Self {
        Self {
            explanation: Explanation {
                sentence: diagnosis.sentence.clone(),
                data: diagnosis.data.clone(),
            },
            held: Vec::new(),
            passing: 0,
            lost: false,
        }
    }

    /// What is to go on of the bytes that came, which may be what was held back before.
    pub(super) fn pass<'b>(&mut self, bytes: &'b [u8]) -> Cow<'b, [u8]> {
        if self.lost || self.passing >= bytes.len() as u64 {
            if !self.lost {
                self.passing -= bytes.len() as u64;
            }
            return Cow::Borrowed(bytes);
        }
        let mut out = Vec::with_capacity(bytes.len() + self.held.len());
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = self.step(rest, &mut out);
        }
        Cow::Owned(out)
    }

    /// What is held back when nothing more comes.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        self.lost = true;
        std::mem::take(&mut self.held)
    }

    /// Deals with the next bytes, and returns those behind them.
    fn step<'b>(&mut self, bytes: &'b [u8], out: &mut Vec<u8>) -> &'b [u8] {
        let through = match self.lost {
            true => bytes.len(),
            false => usize::try_from(self.passing)
                .unwrap_or(usize::MAX)
                .min(bytes.len()),
        };
        if through > 0 {
            let (now, rest) = bytes.split_at(through);
            out.extend_from_slice(now);
            self.passing = self.passing.saturating_sub(through as u64);
            return rest;
        }
        let (next, rest) = bytes.split_at(self.wanted().min(bytes.len()));
        self.held.extend_from_slice(next);
        self.look(out);
        rest
    }

    /// How many more bytes the held frame wants: one while its header is not whole.
    fn wanted(&self) -> usize {
        match Header::parse(&self.held) {
            Ok(Some(header)) => whole(&header).saturating_sub(self.held.len()),
            _ => 1,
        }
    }

    /// Lets go of the held bytes as soon as it is clear what they are.
    fn look(&mut self, out: &mut Vec<u8>) {
        match Header::parse(&self.held) {
            Ok(None) => return,
            Err(_) => self.lost = true,
            Ok(Some(header)) if may_be_an_answer(&header) => {
                if self.held.len() < whole(&header) {
                    return;
                }
                let payload = self.held.get(header.header_len..).unwrap_or_default();
                if let Some(explained) = self.explanation.answer(payload) {
                    out.extend_from_slice(&explained);
                    self.held.clear();
                    return;
                }
            }
            Ok(Some(header)) => self.passing = header.payload_len,
        }
        out.append(&mut self.held);
    }
}

/// A text message in one frame that is short enough. A gateway masks nothing.
const fn may_be_an_answer(header: &Header) -> bool {
    header.fin
        && matches!(header.opcode, Opcode::Text)
        && header.mask.is_none()
        && header.payload_len <= LONGEST
}

/// The length of a frame that is short enough to be held.
const fn whole(header: &Header) -> usize {
    header.header_len + header.payload_len as usize
}

impl Explanation {
    /// The frame that goes on in the place of a `missing scope` answer; `None` for any other message.
    ///
    /// The message still begins as the gateway wrote it: clients match on that.
    fn answer(&self, payload: &[u8]) -> Option<Vec<u8>> {
        // Nearly every message ends here, without being parsed.
        payload
            .windows(MISSING_SCOPE.len())
            .position(|window| window == MISSING_SCOPE.as_bytes())?;
        let mut message: Value = serde_json::from_slice(payload).ok()?;
        let is_refusal = message.get("type")? == "res" && message.get("ok")? == false;
        let error = message.get_mut("error")?.as_object_mut()?;
        let said = error.get("message")?.as_str()?;
        if !is_refusal || !said.starts_with(MISSING_SCOPE) {
            return None;
        }
        let explained = format!("{said} (scope-shim: {})", self.sentence);
        error.insert("message".to_owned(), Value::String(explained));
        let details = error
            .entry("details")
            .or_insert_with(|| Value::Object(Map::new()));
        if let Some(details) = details.as_object_mut() {
            details.insert("scopeShim".to_owned(), Value::Object(self.data.clone()));
        }
        let text = message.to_string();
        Some(frame::encode(Opcode::Text, text.as_bytes(), None))
    }
}

/// How the message of every gateway from 2026.2.17 to 2026.9.6 begins (`INVALID_REQUEST` up to 2026.7.1, then
/// `FORBIDDEN`).
const MISSING_SCOPE: &str = "missing scope: ";
/// The longest message that is looked at, in bytes; a `missing scope` answer has about 200.
const LONGEST: u64 = 4096;

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::findings::Code;
    use crate::ws::frame::encode;

    fn tap() -> Tap {
        Tap::new(&Diagnosis {
            code: Code::DeviceLess,
            sentence: "it has no device".into(),
            short: String::new(),
            command: None,
            data: json!({"finding": "device-less"})
                .as_object()
                .unwrap()
                .clone(),
        })
    }

    fn denial() -> String {
        json!({"type": "res", "id": "1", "ok": false, "error": {
            "code": "FORBIDDEN", "message": "missing scope: operator.read", "details": {"code": "MISSING_SCOPE"}}})
        .to_string()
    }

    fn text(message: &str) -> Vec<u8> {
        encode(Opcode::Text, message.as_bytes(), None)
    }

    /// What comes out of a tap when bytes come in such pieces.
    fn through(bytes: &[u8], piece: usize) -> Vec<u8> {
        let mut tap = tap();
        let mut out = Vec::new();
        for piece in bytes.chunks(piece) {
            out.extend_from_slice(&tap.pass(piece));
        }
        out.extend_from_slice(&tap.finish());
        out
    }

    #[test]
    fn a_missing_scope_answer_says_why_and_keeps_everything_else() {
        let out = through(&text(&denial()), usize::MAX);
        let header = Header::parse(&out).unwrap().unwrap();
        let message: Value = serde_json::from_slice(&out[header.header_len..]).unwrap();
        assert_eq!(
            message,
            json!({"type": "res", "id": "1", "ok": false, "error": {
                "code": "FORBIDDEN",
                "message": "missing scope: operator.read (scope-shim: it has no device)",
                "details": {"code": "MISSING_SCOPE", "scopeShim": {"finding": "device-less"}}}})
        );
    }

    #[test]
    fn what_only_looks_like_one_passes() {
        for message in [
            r#"{"type":"event","event":"chat","payload":"missing scope: operator.read"}"#
                .to_owned(),
            r#"{"type":"res","ok":true,"payload":{"message":"missing scope: operator.read"}}"#
                .to_owned(),
            r#"{"type":"res","ok":false,"error":{"message":"no; missing scope: operator.read"}}"#
                .to_owned(),
            r#"{"type":"res","ok":false,"error":"missing scope: operator.read"}"#.to_owned(),
            "missing scope: operator.read".to_owned(),
            denial().replace("operator.read", &"x".repeat(4096)),
        ] {
            let bytes = text(&message);
            assert_eq!(through(&bytes, usize::MAX), bytes, "{message}");
        }
        for opcode in [Opcode::Binary, Opcode::Continuation] {
            let bytes = encode(opcode, denial().as_bytes(), None);
            assert_eq!(through(&bytes, usize::MAX), bytes);
        }
        let mut fragment = text(&denial());
        fragment[0] &= 0x7f;
        assert_eq!(through(&fragment, usize::MAX), fragment);
    }

    #[test]
    fn a_frame_that_is_too_long_to_be_one_is_never_held_back() {
        let mut tap = tap();
        let long = encode(Opcode::Text, &vec![b'x'; 26_214_400], None);
        for piece in long.chunks(65_536) {
            let out = tap.pass(piece);
            assert_eq!(out.len(), piece.len());
            assert!(tap.held.is_empty());
        }
        let next = text(&denial());
        assert!(
            tap.pass(&next[..40]).is_empty(),
            "the next frame is looked at again"
        );
    }

    #[test]
    fn bytes_that_are_no_frames_pass() {
        let garbage: Vec<u8> = (0..=255).rev().cycle().take(10_000).collect();
        assert_eq!(through(&garbage, 7), garbage);
    }

    proptest! {
        #[test]
        fn frames_pass_byte_for_byte_in_any_pieces_and_answers_are_found_between_them(
            frames in prop::collection::vec((0u8..5, 0usize..6_000), 1..8),
            piece in 1usize..5_000,
        ) {
            let (mut bytes, mut wanted) = (Vec::new(), Vec::new());
            for (kind, length) in frames {
                let frame = match kind {
                    0 => {
                        let denial = text(&denial());
                        wanted.extend_from_slice(&tap().pass(&denial));
                        bytes.extend_from_slice(&denial);
                        continue;
                    }
                    1 => encode(Opcode::Ping, &vec![7; length % 126], None),
                    2 => encode(Opcode::Binary, &vec![9; length], None),
                    _ => text(&"missing scope: ".repeat(length / 15)),
                };
                wanted.extend_from_slice(&frame);
                bytes.extend_from_slice(&frame);
            }
            prop_assert_eq!(through(&bytes, piece), wanted);
        }
    }
}
