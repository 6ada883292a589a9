//! A name for every session: short enough to be read out, and unique over restarts.

use std::fmt::{self, Write as _};
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock;

/// The name of one session, as its log line has it: `0w4k9x2d`.
///
/// It is the millisecond at which the session began, counted from the start of 2026, or the next one that no earlier
/// session has. So names sort by time, and a shim that was restarted gives out none twice unless its clock was set back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(u64);

impl SessionId {
    /// A name that no session of this process has had.
    #[must_use]
    pub fn next() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self::after(&LAST, clock::now_ms())
    }

    fn after(last: &AtomicU64, now_ms: i64) -> Self {
        let now = u64::try_from(now_ms.saturating_sub(EPOCH_MS)).unwrap_or_default();
        let next = |last: u64| now.max(last + 1);
        let before = last
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
                Some(next(last))
            })
            .unwrap_or_default();
        Self(next(before) % PERIOD)
    }

    /// How far apart two sessions began, in milliseconds.
    #[must_use]
    pub const fn distance(self, other: Self) -> u64 {
        self.0.abs_diff(other.0)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for place in (0..LENGTH).rev() {
            let digit = (self.0 >> (place * BITS)) & (DIGITS.len() as u64 - 1);
            let digit = usize::try_from(digit).ok().and_then(|at| DIGITS.get(at));
            f.write_char(char::from(*digit.unwrap_or(&b'0')))?;
        }
        Ok(())
    }
}

/// Not the name of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the name of a session is {LENGTH} letters and digits")]
pub struct NotASession;

impl FromStr for SessionId {
    type Err = NotASession;

    fn from_str(text: &str) -> Result<Self, NotASession> {
        if text.len() != LENGTH {
            return Err(NotASession);
        }
        text.bytes().try_fold(Self(0), |id, byte| {
            let byte = byte.to_ascii_lowercase();
            let digit = DIGITS.iter().position(|digit| *digit == byte);
            Ok(Self((id.0 << BITS) | digit.ok_or(NotASession)? as u64))
        })
    }
}

/// Crockford's base 32: no letter that could be taken for a digit.
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const BITS: usize = 5;
const LENGTH: usize = 8;
/// 34 years of milliseconds.
const PERIOD: u64 = 1 << 40;
/// 2026-01-01T00:00:00Z.
const EPOCH_MS: i64 = 1_767_225_600_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_sessions_have_the_same_name_even_when_the_clock_is_set_back() {
        let last = AtomicU64::new(0);
        let names: Vec<_> = [5, 5, 5, 4, 9]
            .map(|ms| SessionId::after(&last, EPOCH_MS + ms).to_string())
            .into();
        assert_eq!(
            names,
            ["00000005", "00000006", "00000007", "00000008", "00000009"]
        );
        assert_ne!(SessionId::next(), SessionId::next());
    }

    #[test]
    fn a_name_is_eight_letters_and_reads_back() {
        let last = AtomicU64::new(0);
        let id = SessionId::after(&last, 1_800_000_000_000);
        assert_eq!(id.to_string().len(), 8);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.to_string().to_uppercase().parse(), Ok(id));
        assert_eq!("short".parse::<SessionId>(), Err(NotASession));
        assert_eq!("0000000u".parse::<SessionId>(), Err(NotASession));
    }

    #[test]
    fn a_machine_whose_clock_stands_before_2026_still_names_its_sessions() {
        let last = AtomicU64::new(0);
        assert_eq!(SessionId::after(&last, 0).to_string(), "00000001");
    }
}
