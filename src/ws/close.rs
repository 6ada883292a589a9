//! Close frames (RFC 6455 §5.5.1).

use super::frame::{Opcode, encode};
use crate::text::fitting;

/// Why a session ends, as a close frame says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// The close code.
    pub code: u16,
    /// The reason for people; at most [`MAX_REASON`] bytes arrive.
    pub reason: String,
}

/// "Normal": what gateways close a handshake with that does not come.
pub const NORMAL: u16 = 1000;
/// "No status": a close frame that says nothing (RFC 6455 §7.1.5).
pub const NO_STATUS: u16 = 1005;
/// "Message too big".
pub const TOO_BIG: u16 = 1009;
/// "Service restart": clients connect again, and show their users nothing.
pub const SERVICE_RESTART: u16 = 1012;
/// "Policy violation": what gateways close every refused handshake with.
pub const POLICY_VIOLATION: u16 = 1008;
/// "Internal error".
pub const INTERNAL_ERROR: u16 = 1011;
/// "Try again later": what gateways close with while they start.
pub const TRY_AGAIN_LATER: u16 = 1013;

/// The longest reason a close frame can carry, in bytes.
pub const MAX_REASON: usize = 123;

impl Close {
    /// A close with this code and reason.
    #[must_use]
    pub fn new(code: u16, reason: impl Into<String>) -> Self {
        Self {
            code,
            reason: reason.into(),
        }
    }

    /// What a gateway's close frame says, which the bytes begin with.
    #[must_use]
    pub fn of_gateway(frame: &[u8]) -> Self {
        // Two bytes of header: a gateway's control frame is short and not masked.
        let length = frame.get(1).map_or(0, |length| usize::from(length & 0x7f));
        let payload = frame.get(2..).unwrap_or_default();
        let payload = payload.get(..length).unwrap_or_default();
        match payload.split_first_chunk() {
            Some((code, reason)) => {
                Self::new(u16::from_be_bytes(*code), String::from_utf8_lossy(reason))
            }
            None => Self::new(NO_STATUS, ""),
        }
    }

    /// The frame as a server sends it; a reason that is too long ends with an ellipsis, at a character boundary.
    #[must_use]
    pub fn server_frame(&self) -> Vec<u8> {
        let mut payload = self.code.to_be_bytes().to_vec();
        payload.extend_from_slice(fitting(&self.reason, MAX_REASON).as_bytes());
        encode(Opcode::Close, &payload, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_reason_arrives_whole() {
        let frame = Close::new(POLICY_VIOLATION, "pairing required").server_frame();
        assert_eq!(&frame[..4], &[0x88, 18, 0x03, 0xf0]);
        assert_eq!(&frame[4..], b"pairing required");
    }

    #[test]
    fn a_gateways_close_is_read_whatever_it_holds() {
        let close = Close::new(4001, "gateway auth changed");
        let mut frame = close.server_frame();
        frame.extend_from_slice(b"more");
        assert_eq!(Close::of_gateway(&frame), close);
        for empty in [&[][..], &[0x88], &[0x88, 0], &[0x88, 1, 3], &[0x88, 2, 3]] {
            assert_eq!(Close::of_gateway(empty), Close::new(NO_STATUS, ""));
        }
        assert_eq!(
            Close::of_gateway(&[0x88, 3, 3, 0xe8, 0xff]).reason,
            "\u{fffd}"
        );
    }

    #[test]
    fn a_long_reason_is_cut_to_what_a_close_frame_can_carry() {
        let frame = Close::new(POLICY_VIOLATION, "ä".repeat(100)).server_frame();
        assert!(frame.len() <= 2 + 2 + MAX_REASON);
        assert!(frame.ends_with("…".as_bytes()));
    }
}
