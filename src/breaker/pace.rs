//! The pace of a client that tries again and again: when its next attempt is due, and how long it may wait.

use std::time::Duration;

use tokio::time::Instant;

use crate::handshake::message::Claims;

/// When the attempts of one kind came.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    /// When the last attempt was answered.
    last: Instant,
    /// The time between the last answers and the attempts that followed.
    gaps: [Duration; 2],
    repeats: u32,
    /// How many repeats make a loop.
    evidence: u32,
    /// Attempts that are being answered.
    here: u32,
}

impl Pace {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            last: now,
            gaps: [SHORTEST_GAP; 2],
            repeats: 0,
            evidence: EVIDENCE,
            here: 0,
        }
    }

    /// The gateway has refused an attempt.
    pub(super) fn refused(&mut self, now: Instant, persistent: bool) {
        self.last = now;
        if persistent {
            self.evidence = 0;
        }
    }

    /// A repeat has come.
    pub(super) fn arrived(&mut self, now: Instant) {
        self.gaps.rotate_left(1);
        if let Some(newest) = self.gaps.last_mut() {
            *newest = now.duration_since(self.last);
        }
        self.repeats = self.repeats.saturating_add(1);
        self.here += 1;
    }

    /// A repeat was answered, or has left.
    pub(super) fn left(&mut self, now: Instant) {
        self.last = now;
        self.here = self.here.saturating_sub(1);
    }

    /// Whether an attempt that comes now is most likely the next of the loop.
    ///
    /// Clients wait longer each time, or always as long; one that comes sooner is somebody else, who had better speak
    /// with the gateway. So had everyone while the looping client is here, or has not come for long. Two gaps count,
    /// because two clients of one kind may come in turns.
    pub(super) fn expects(&self, now: Instant) -> bool {
        let since = now.duration_since(self.last);
        let due = self
            .gaps
            .iter()
            .min()
            .copied()
            .unwrap_or_default()
            .mul_f64(EARLY);
        self.repeats >= self.evidence && self.here == 0 && since >= due && since <= LOOP_OVER
    }
}

/// How long the answer to this repeat is held back.
///
/// The first ones come at once: somebody may have run a command twice. `patience` is what the handshake may take.
pub(super) fn delay(repeat: u32, patience: Duration) -> Duration {
    let longest = LONGEST_DELAY.min(patience / 2);
    match repeat.checked_sub(PROMPT + 1) {
        None => Duration::ZERO,
        Some(doublings) => FIRST_DELAY
            .saturating_mul(2_u32.saturating_pow(doublings))
            .min(longest),
    }
}

/// Whether a client of this kind goes on by itself: browsers, terminal interfaces and nodes do, on every version, as
/// long as nobody tells them in a way that they understand; commands end at the first refusal.
pub(super) fn tries_by_itself(claims: &Claims) -> bool {
    matches!(claims.client_mode.as_str(), "webchat" | "ui" | "node")
}

/// Shorter than the shortest first wait of any client: 800 ms in browsers, 1 s elsewhere.
const SHORTEST_GAP: Duration = Duration::from_millis(500);
/// How much earlier than the shortest of the last gaps an attempt may come.
const EARLY: f64 = 0.9;
/// Three times what the most patient client waits.
const LOOP_OVER: Duration = Duration::from_secs(90);
/// A command that was run again by hand is no loop yet.
const EVIDENCE: u32 = 3;
const PROMPT: u32 = 2;
const FIRST_DELAY: Duration = Duration::from_secs(1);
/// Commands wait ten seconds for their answer, all told.
const LONGEST_DELAY: Duration = Duration::from_secs(8);

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(15);

    #[test]
    fn answers_come_later_and_later_but_within_the_patience_of_every_client() {
        let seconds: Vec<u64> = (1..=9).map(|n| delay(n, PATIENCE).as_secs()).collect();
        assert_eq!(seconds, [0, 0, 1, 2, 4, 7, 7, 7, 7]);
        assert_eq!(delay(u32::MAX, Duration::from_secs(60)), LONGEST_DELAY);
        assert_eq!(
            delay(40, Duration::from_secs(3)),
            Duration::from_millis(1500)
        );
    }

    /// A client of the node generation: 1 s, 2 s, … 30 s.
    #[test]
    fn a_loop_is_expected_when_it_is_due_and_nobody_else_is() {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        pace.refused(now, true);
        for seconds in [1, 2, 4, 8, 16, 30, 30, 30] {
            now += Duration::from_secs(seconds);
            assert!(pace.expects(now), "after {seconds} s");
            pace.arrived(now);
            assert!(!pace.expects(now), "it is here already");
            now += Duration::from_secs(7);
            pace.left(now);
        }
        assert!(
            !pace.expects(now + Duration::from_secs(20)),
            "too early for it"
        );
        assert!(pace.expects(now + Duration::from_secs(30)));
        assert!(!pace.expects(now + Duration::from_secs(91)), "it has gone");
    }

    #[test]
    fn a_command_that_is_run_again_is_no_loop_until_it_is_run_again_and_again() {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        pace.refused(now, false);
        for _ in 0..EVIDENCE {
            now += Duration::from_secs(10);
            assert!(!pace.expects(now));
            pace.arrived(now);
            pace.left(now);
        }
        assert!(pace.expects(now + Duration::from_secs(10)));
    }
}
