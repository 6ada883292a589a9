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
    gaps: [Duration; 3],
    repeats: u32,
    /// The longest that a client of this kind waits; `None` for one that is not known to try again by itself.
    longest: Option<Duration>,
    /// Attempts that are being answered.
    here: u32,
}

impl Pace {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            last: now,
            gaps: [SHORTEST_GAP; 3],
            repeats: 0,
            longest: None,
            here: 0,
        }
    }

    /// The gateway has refused an attempt.
    pub(super) fn refused(&mut self, now: Instant, longest: Option<Duration>) {
        self.last = now;
        self.longest = longest.or(self.longest);
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
    /// with the gateway. So had everyone while the looping client is here, or has not come for long.
    pub(super) fn expects(&self, now: Instant) -> bool {
        let since = now.duration_since(self.last);
        let evident = self.longest.is_some() || self.repeats >= EVIDENCE;
        evident && self.here == 0 && since >= self.next_gap().mul_f64(EARLY) && since <= LOOP_OVER
    }

    /// How long the next wait is at the least. Of the last two the shorter, because two clients may come in turns;
    /// but as long as the waits keep growing, it is one client, whose next one will have grown, too.
    fn next_gap(&self) -> Duration {
        let [before, last, newest] = self.gaps;
        let grows = last >= before.mul_f64(GROWING) && newest >= last.mul_f64(GROWING);
        match self.longest {
            Some(longest) if grows => newest.mul_f64(GROWTH).min(longest),
            _ => newest.min(last),
        }
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

/// The longest that a client of this kind waits before it tries again: browsers, terminal interfaces and nodes do so by
/// themselves, on every version, as long as nobody stops them in a way that they understand. Commands end at the first
/// refusal.
pub(super) fn longest_wait(claims: &Claims) -> Option<Duration> {
    match claims.client_mode.as_str() {
        "webchat" => Some(Duration::from_secs(15)),
        "ui" | "node" => Some(Duration::from_secs(30)),
        _ => None,
    }
}

/// Shorter than the shortest first wait of any client: 800 ms in browsers, 1 s elsewhere.
const SHORTEST_GAP: Duration = Duration::from_millis(500);
/// How much earlier than expected an attempt may come.
const EARLY: f64 = 0.9;
/// The least growth that counts as such.
const GROWING: f64 = 1.3;
/// How much the waits grow: 1.7 times in browsers, twice elsewhere.
const GROWTH: f64 = 1.7;
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

    const NODE: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0, 30.0];
    const BROWSER: [f64; 9] = [0.8, 1.36, 2.31, 3.93, 6.68, 11.36, 15.0, 15.0, 15.0];

    /// What a client of this kind would be taken for that comes after each share of the looping client's waits.
    fn taken_for_it(waits: [f64; 9], longest: u64, share: f64) -> Vec<bool> {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        pace.refused(now, Some(Duration::from_secs(longest)));
        let mut taken = Vec::new();
        for wait in waits {
            taken.push(pace.expects(now + Duration::from_secs_f64(wait * share)));
            now += Duration::from_secs_f64(wait + LATENESS);
            pace.arrived(now);
            assert!(!pace.expects(now), "it is here already");
            now += Duration::from_secs(7);
            pace.left(now);
        }
        taken
    }

    #[test]
    fn a_loop_is_always_expected_when_it_comes() {
        assert_eq!(taken_for_it(NODE, 30, 1.0), [true; 9]);
        assert_eq!(taken_for_it(BROWSER, 15, 1.0), [true; 9]);
    }

    #[test]
    fn who_comes_before_it_is_due_is_somebody_else() {
        let somebody_else = |waits, longest| {
            let taken = taken_for_it(waits, longest, 0.7);
            taken.iter().filter(|taken| !**taken).count()
        };
        assert_eq!(somebody_else(NODE, 30), 7, "but for the first two");
        assert_eq!(somebody_else(BROWSER, 15), 7, "but for the first two");
    }

    #[test]
    fn a_loop_that_does_not_come_any_more_is_not_waited_for() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        pace.refused(now, Some(Duration::from_secs(30)));
        assert!(pace.expects(now + LOOP_OVER));
        assert!(!pace.expects(now + LOOP_OVER + Duration::from_secs(1)));
    }

    #[test]
    fn two_clients_in_turns_are_both_expected() {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        pace.refused(now, Some(Duration::from_secs(30)));
        for turn in 0..8 {
            now += Duration::from_secs(if turn % 2 == 0 { 10 } else { 20 });
            // At first they look like one that waits longer and longer.
            assert!(turn == 2 || pace.expects(now), "turn {turn}");
            pace.arrived(now);
            pace.left(now);
        }
    }

    /// Timers are late, never early.
    const LATENESS: f64 = 0.03;

    #[test]
    fn a_command_that_is_run_again_is_no_loop_until_it_is_run_again_and_again() {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        pace.refused(now, None);
        for _ in 0..EVIDENCE {
            now += Duration::from_secs(10);
            assert!(!pace.expects(now));
            pace.arrived(now);
            pace.left(now);
        }
        assert!(pace.expects(now + Duration::from_secs(10)));
    }
}
