//! Problems with a store, told once each.

use std::collections::HashSet;
use std::fmt;

/// Remembers which problems were told, so that a lookup does not repeat them.
#[derive(Debug, Default)]
pub(super) struct Findings {
    told: HashSet<String>,
}

impl Findings {
    /// Warns of each problem that was not there the last time; forgets those that are gone.
    ///
    /// Returns how many were new.
    pub(super) fn tell(&mut self, problems: impl IntoIterator<Item = impl fmt::Display>) -> usize {
        let mut now = HashSet::new();
        let mut fresh = 0;
        let mut more = 0_usize;
        for problem in problems {
            if now.len() >= TOLD_AT_ONCE {
                more += 1;
                continue;
            }
            let problem = problem.to_string();
            if !self.told.contains(&problem) && !now.contains(&problem) {
                fresh += 1;
                tracing::warn!(finding = "store", "{problem}");
            }
            now.insert(problem);
        }
        if more > 0 && fresh > 0 {
            tracing::warn!(
                finding = "store",
                more,
                "the store has more problems of this kind"
            );
        }
        self.told = now;
        fresh
    }
}

/// How many problems of one store are told by name.
const TOLD_AT_ONCE: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_told_once_until_it_has_gone_and_come_back() {
        let mut findings = Findings::default();
        assert_eq!(findings.tell(["a", "b", "a"]), 2);
        assert_eq!(findings.tell(["a", "b"]), 0);
        assert_eq!(findings.tell(["b"]), 0);
        assert_eq!(findings.tell(["a", "b"]), 1);
    }

    #[test]
    fn a_store_full_of_problems_does_not_fill_the_log() {
        let mut findings = Findings::default();
        assert_eq!(findings.tell(0..100_000), TOLD_AT_ONCE);
        assert_eq!(findings.tell(0..100_000), 0);
    }
}
