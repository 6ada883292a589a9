//! The parts of the relay that look at bytes, for [`crate::fuzz`].

use serde_json::Map;

use super::boundary::Boundary;
use super::tap::Tap;
use crate::diagnosis::Diagnosis;
use crate::findings::Code;

/// Where the frame under way ends after bytes that come in pieces of this size; and whether a close frame may follow.
pub(crate) fn boundary(bytes: &[u8], step: usize) -> (Option<usize>, bool) {
    let mut boundary = Boundary::default();
    for piece in bytes.chunks(step) {
        boundary.feed(piece);
    }
    (boundary.missing(), boundary.may_close())
}

/// What the client of a degraded session gets of bytes that come in pieces of this size.
pub(crate) fn tapped(bytes: &[u8], step: usize) -> Vec<u8> {
    let mut tap = Tap::new(&Diagnosis {
        code: Code::DeviceLess,
        sentence: "it has no device".to_owned(),
        short: String::new(),
        command: None,
        data: Map::new(),
    });
    let mut out = Vec::new();
    for piece in bytes.chunks(step) {
        out.extend_from_slice(&tap.pass(piece));
    }
    out.extend_from_slice(&tap.finish());
    out
}
