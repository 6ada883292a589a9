//! The last hour, in steps of half a minute.

use std::collections::VecDeque;
use std::time::Duration;

use serde::Serialize;

use crate::explain::Outcome;

/// The last hour, in memory of a fixed size.
#[derive(Debug)]
pub struct Hour {
    /// The number of the latest step, counted from the epoch.
    now: i64,
    /// As many as there are in an hour, the latest last.
    steps: VecDeque<Step>,
    /// How many bytes had gone through when that was last looked at.
    bytes: u64,
}

/// What happened within half a minute.
#[derive(Clone, Debug)]
struct Step {
    handshakes: u64,
    accepted: u64,
    repaired: u64,
    refused: u64,
    repeated: u64,
    bytes: u64,
    /// How many handshakes took how long; see [`bucket`].
    times: [u32; BUCKETS],
}

impl Default for Step {
    fn default() -> Self {
        Self {
            handshakes: 0,
            accepted: 0,
            repaired: 0,
            refused: 0,
            repeated: 0,
            bytes: 0,
            times: [0; BUCKETS],
        }
    }
}

/// The last hour as a plot needs it: lists of the same length, one entry a step, the latest last.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plot {
    /// The length of a step in milliseconds.
    pub step_ms: i64,
    /// When the first step began, in milliseconds since the epoch.
    pub first: i64,
    /// Handshakes that ended, however they did.
    pub handshakes: Vec<u64>,
    /// Those that the gateway accepted as they came.
    pub accepted: Vec<u64>,
    /// Those that the shim had accepted.
    pub repaired: Vec<u64>,
    /// Those that the gateway refused.
    pub refused: Vec<u64>,
    /// Those that were answered with the gateway's refusal of before.
    pub repeated: Vec<u64>,
    /// The time that half of the handshakes took at most, of those that the gateway answered, in milliseconds.
    pub p50_ms: Vec<Option<f64>>,
    /// The time that 99 of 100 took at most.
    pub p99_ms: Vec<Option<f64>>,
    /// The bytes that went through, both ways.
    pub bytes: Vec<u64>,
}

impl Hour {
    /// An hour in which nothing happened.
    #[must_use]
    pub fn new(now_ms: i64) -> Self {
        Self {
            now: now_ms.div_euclid(STEP_MS),
            steps: vec![Step::default(); STEPS].into(),
            bytes: 0,
        }
    }

    /// A handshake is over.
    pub fn handshake(&mut self, now_ms: i64, outcome: Outcome, took: Duration) {
        let Some(step) = self.step(now_ms) else {
            return;
        };
        step.handshakes += 1;
        match outcome {
            Outcome::Accepted | Outcome::Degraded => step.accepted += 1,
            Outcome::Delegated | Outcome::Healed => step.repaired += 1,
            Outcome::Refused => step.refused += 1,
            Outcome::Repeated => step.repeated += 1,
            Outcome::Left | Outcome::Unanswered | Outcome::SentBack => {}
        }
        if by_gateway(outcome)
            && let Some(count) = step.times.get_mut(bucket(took))
        {
            *count += 1;
        }
    }

    /// So many bytes have gone through since the start.
    pub fn bytes(&mut self, now_ms: i64, bytes: u64) {
        let more = bytes.saturating_sub(self.bytes);
        self.bytes = bytes;
        if let Some(step) = self.step(now_ms) {
            step.bytes += more;
        }
    }

    /// What happened.
    #[must_use]
    pub fn plot(&mut self, now_ms: i64) -> Plot {
        self.turn(now_ms);
        let every = |value: fn(&Step) -> u64| self.steps.iter().map(value).collect();
        let quantile = |q| self.steps.iter().map(|step| step.quantile(q)).collect();
        Plot {
            step_ms: STEP_MS,
            first: (self.now - STEPS as i64 + 1) * STEP_MS,
            handshakes: every(|step| step.handshakes),
            accepted: every(|step| step.accepted),
            repaired: every(|step| step.repaired),
            refused: every(|step| step.refused),
            repeated: every(|step| step.repeated),
            p50_ms: quantile(0.5),
            p99_ms: quantile(0.99),
            bytes: every(|step| step.bytes),
        }
    }

    fn step(&mut self, now_ms: i64) -> Option<&mut Step> {
        self.turn(now_ms);
        self.steps.back_mut()
    }

    /// Lets the time pass. A clock that was set back begins a new hour.
    fn turn(&mut self, now_ms: i64) {
        let now = now_ms.div_euclid(STEP_MS);
        let passed = match now - self.now {
            -1..=0 => return,
            passed if (1..STEPS as i64).contains(&passed) => passed,
            _ => STEPS as i64,
        };
        self.now = now;
        for _ in 0..passed {
            self.steps.pop_front();
            self.steps.push_back(Step::default());
        }
    }
}

impl Step {
    fn quantile(&self, q: f64) -> Option<f64> {
        let all: u64 = self.times.iter().map(|&count| u64::from(count)).sum();
        let mut rank = (q * all as f64).ceil().max(1.0) as u64;
        for (index, &count) in self.times.iter().enumerate() {
            match rank.checked_sub(u64::from(count)) {
                Some(left) if left > 0 => rank = left,
                _ => return Some(middle(index)),
            }
        }
        None
    }
}

/// Whether the time of a handshake says something about the gateway: the shim paces what it answers itself.
pub(super) const fn by_gateway(outcome: Outcome) -> bool {
    matches!(
        outcome,
        Outcome::Accepted
            | Outcome::Degraded
            | Outcome::Delegated
            | Outcome::Healed
            | Outcome::Refused
    )
}

/// From a quarter of a millisecond to a minute, each step a tenth more than the one before, so that a quantile is off
/// by a twentieth at the most.
fn bucket(took: Duration) -> usize {
    let ms = took.as_secs_f64() * 1000.0;
    let index = (ms / SHORTEST_MS).ln() / GROWTH.ln();
    (index.max(0.0) as usize).min(BUCKETS - 1)
}

fn middle(bucket: usize) -> f64 {
    let ms = SHORTEST_MS * GROWTH.powf(bucket as f64 + 0.5);
    (ms * 100.0).round() / 100.0
}

const STEP_MS: i64 = 30_000;
const STEPS: usize = 120;
const BUCKETS: usize = 132;
const SHORTEST_MS: f64 = 0.25;
const GROWTH: f64 = 1.1;

#[cfg(test)]
mod tests {
    use super::*;

    const START: i64 = 1_000_000 * STEP_MS;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn what_happened_is_told_for_an_hour_and_then_forgotten() {
        let mut hour = Hour::new(START);
        hour.handshake(START, Outcome::Accepted, ms(10));
        hour.handshake(START + STEP_MS, Outcome::Healed, ms(10));
        hour.handshake(START + STEP_MS, Outcome::Refused, ms(10));
        hour.bytes(START + STEP_MS, 100);
        hour.bytes(START + STEP_MS, 150);
        let plot = hour.plot(START + 2 * STEP_MS);
        assert_eq!(plot.handshakes.len(), STEPS);
        assert_eq!(plot.handshakes[STEPS - 3..], [1, 2, 0]);
        assert_eq!(plot.accepted[STEPS - 3..], [1, 0, 0]);
        assert_eq!(plot.repaired[STEPS - 3..], [0, 1, 0]);
        assert_eq!(plot.refused[STEPS - 3..], [0, 1, 0]);
        assert_eq!(plot.bytes[STEPS - 3..], [0, 150, 0]);
        assert_eq!(plot.first, START - 117 * STEP_MS);
        let later = hour.plot(START + 3 * 3_600_000);
        assert_eq!(later.handshakes.iter().sum::<u64>(), 0);
    }

    #[test]
    fn a_clock_that_is_set_back_begins_a_new_hour() {
        let mut hour = Hour::new(START);
        hour.handshake(START, Outcome::Accepted, ms(10));
        let back = START - 3_600_000;
        hour.handshake(back, Outcome::Accepted, ms(10));
        let plot = hour.plot(back);
        assert_eq!(plot.handshakes.iter().sum::<u64>(), 1);
        assert_eq!(plot.first, back - 119 * STEP_MS);
    }

    #[test]
    fn quantiles_are_off_by_a_twentieth_at_the_most() {
        let mut hour = Hour::new(START);
        for n in 1..=1000 {
            hour.handshake(START, Outcome::Accepted, ms(n));
        }
        // What the shim answers itself says nothing about the gateway.
        hour.handshake(START, Outcome::Repeated, ms(60_000));
        let plot = hour.plot(START);
        let near = |found: Option<f64>, wanted: f64| {
            found.is_some_and(|found| (found / wanted - 1.0).abs() < 0.05)
        };
        assert!(near(plot.p50_ms[STEPS - 1], 500.0), "{:?}", plot.p50_ms);
        assert!(near(plot.p99_ms[STEPS - 1], 990.0), "{:?}", plot.p99_ms);
        assert_eq!(plot.p50_ms[0], None);
        for (took, most) in [(0, 1.0), (86_400_000, 80_000.0)] {
            let mut hour = Hour::new(START);
            hour.handshake(START, Outcome::Accepted, ms(took));
            assert!(hour.plot(START).p50_ms[STEPS - 1].is_some_and(|ms| ms > 0.0 && ms < most));
        }
    }
}
