//! What somebody should look at: the last handshakes that did not simply pass, and what is wrong of late.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::{Found, Handshake};
use crate::explain::Outcome;
use crate::findings::Code;

/// A handshake that is worth a look.
#[derive(Clone, Debug)]
pub struct Recent {
    /// The gateway that it went to.
    pub gateway: Arc<str>,
    /// The latest of its kind.
    pub handshake: Arc<Handshake>,
    /// How often the same happened in a row of the same client.
    pub times: u64,
}

/// Something that is wrong with one gateway's sessions.
#[derive(Clone, Debug)]
pub struct Standing {
    /// What, as it was seen last.
    pub found: Found,
    /// How often, since it was first seen.
    pub count: u64,
    /// When last, in milliseconds since the epoch.
    pub last_ms: i64,
}

/// Both, in bounded memory.
#[derive(Debug, Default)]
pub struct Notable {
    /// The latest last.
    recent: VecDeque<Recent>,
    findings: BTreeMap<(Arc<str>, Code), Standing>,
}

impl Notable {
    /// A handshake is over.
    pub fn handshake(&mut self, gateway: &Arc<str>, handshake: &Arc<Handshake>) {
        if is_notable(handshake.outcome) {
            self.remember(gateway, handshake);
        }
        if let Some(found) = &handshake.finding {
            self.found(gateway, found, handshake.at_ms);
        }
    }

    /// The latest first.
    #[must_use]
    pub fn recent(&self) -> Vec<Recent> {
        self.recent.iter().rev().cloned().collect()
    }

    /// What was found within the last hour, the latest first.
    #[must_use]
    pub fn findings(&mut self, gateway: &str, now_ms: i64) -> Vec<Standing> {
        self.findings
            .retain(|_, standing| is_current(standing, now_ms));
        let mut found: Vec<Standing> = self
            .findings
            .iter()
            .filter(|((name, _), _)| &**name == gateway)
            .map(|(_, standing)| standing.clone())
            .collect();
        found.sort_by_key(|standing| std::cmp::Reverse(standing.last_ms));
        found
    }

    /// A client that goes on asking takes one place, not all of them.
    fn remember(&mut self, gateway: &Arc<str>, handshake: &Arc<Handshake>) {
        let same = self.recent.iter().position(|known| {
            known.gateway == *gateway && is_the_same(&known.handshake, handshake)
        });
        let times = same.and_then(|index| self.recent.remove(index));
        if self.recent.len() >= MOST_RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(Recent {
            gateway: Arc::clone(gateway),
            handshake: Arc::clone(handshake),
            times: times.map_or(0, |known| known.times) + 1,
        });
    }

    fn found(&mut self, gateway: &Arc<str>, found: &Found, at_ms: i64) {
        let key = (Arc::clone(gateway), found.code);
        let before = self.findings.get(&key);
        let before = before.filter(|standing| is_current(standing, at_ms));
        let standing = Standing {
            found: found.clone(),
            count: before.map_or(0, |standing| standing.count) + 1,
            last_ms: at_ms,
        };
        self.findings.insert(key, standing);
    }
}

const fn is_notable(outcome: Outcome) -> bool {
    match outcome {
        Outcome::Delegated
        | Outcome::Healed
        | Outcome::Degraded
        | Outcome::Refused
        | Outcome::Repeated
        | Outcome::Unanswered => true,
        Outcome::Accepted | Outcome::Left | Outcome::SentBack => false,
    }
}

fn is_the_same(one: &Handshake, other: &Handshake) -> bool {
    let code = |handshake: &Handshake| handshake.finding.as_ref().map(|found| found.code);
    one.outcome == other.outcome
        && one.from == other.from
        && one.who == other.who
        && one.client == other.client
        && one.requested == other.requested
        && code(one) == code(other)
}

fn is_current(standing: &Standing, now_ms: i64) -> bool {
    // After the clock was set back, too.
    now_ms.abs_diff(standing.last_ms) < CURRENT_MS
}

const MOST_RECENT: usize = 50;
/// What nobody met for an hour is taken to be over.
const CURRENT_MS: u64 = 3_600_000;
