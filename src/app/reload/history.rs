//! What became of the reloads so far, for whoever was not there.

use super::{Change, Reloaded};
use crate::clock;
use crate::config::Problems;

/// What became of the reloads since the start, which counts as the first that was taken.
#[derive(Clone, Debug)]
pub struct History {
    /// How many were taken whole.
    pub taken: u64,
    /// How many were taken but for keys that need a restart.
    pub incomplete: u64,
    /// How many were refused.
    pub refusals: u64,
    /// When a configuration was last taken, in milliseconds since the epoch.
    pub last_success_ms: i64,
    /// The last reload, where it was refused.
    pub refused: Option<Refused>,
    /// What needs a restart, where anything does.
    pub waiting: Option<Waiting>,
}

/// A reload that was refused; the configuration before it still holds.
#[derive(Clone, Debug)]
pub struct Refused {
    /// When, in milliseconds since the epoch.
    pub at_ms: i64,
    /// Why.
    pub problems: Problems,
}

/// What was read and does not hold before a restart.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// When it was read, in milliseconds since the epoch.
    pub at_ms: i64,
    /// The keys; never none.
    pub changes: Vec<Change>,
}

impl Default for History {
    fn default() -> Self {
        Self {
            taken: 0,
            incomplete: 0,
            refusals: 0,
            last_success_ms: clock::now_ms(),
            refused: None,
            waiting: None,
        }
    }
}

impl History {
    /// Notes one more.
    pub(super) fn note(&mut self, outcome: &Result<Reloaded, Problems>) {
        let at_ms = clock::now_ms();
        match outcome {
            Err(problems) => {
                self.refusals += 1;
                let problems = problems.clone();
                // What waits for a restart still does.
                self.refused = Some(Refused { at_ms, problems });
            }
            Ok(reloaded) => {
                let changes: Vec<Change> = reloaded.waiting().cloned().collect();
                if changes.is_empty() {
                    self.taken += 1;
                } else {
                    self.incomplete += 1;
                }
                self.last_success_ms = at_ms;
                self.refused = None;
                self.waiting = (!changes.is_empty()).then_some(Waiting { at_ms, changes });
            }
        }
    }
}
