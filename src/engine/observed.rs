//! What `on` would have done, counted while the shim only observes.

use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use serde_json::{Value, json};

use crate::clock;

/// What `on` would have done with a session, as far as that can be known without doing it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Would {
    /// Ask in the delegate's name, instead of passing the request on.
    Rewrite,
    /// Ask once more, in the delegate's name, after the gateway's answer.
    Heal,
    /// Answer it without the gateway, as the so-manieth repeat.
    Repeat(u32),
    /// Pass the refusal on with this explanation.
    Tell(String),
    /// Let it in, and explain each of its `missing scope` answers.
    Explain(String),
}

/// Sessions since the last switch.
#[derive(Debug)]
pub struct Observed {
    since_ms: AtomicI64,
    sessions: AtomicU64,
    repaired: AtomicU64,
    repeated: AtomicU64,
    explained: AtomicU64,
}

impl Default for Observed {
    fn default() -> Self {
        Self {
            since_ms: AtomicI64::new(clock::now_ms()),
            sessions: AtomicU64::default(),
            repaired: AtomicU64::default(),
            repeated: AtomicU64::default(),
            explained: AtomicU64::default(),
        }
    }
}

impl Observed {
    pub(super) fn begin(&self) {
        self.since_ms.store(clock::now_ms(), Ordering::Relaxed);
        for count in [
            &self.sessions,
            &self.repaired,
            &self.repeated,
            &self.explained,
        ] {
            count.store(0, Ordering::Relaxed);
        }
    }

    /// A handshake is over, and this is what `on` would have made of it.
    pub fn note(&self, would: Option<&Would>) {
        self.sessions.fetch_add(1, Ordering::Relaxed);
        let count = match would {
            None => return,
            Some(Would::Rewrite | Would::Heal) => &self.repaired,
            Some(Would::Repeat(_)) => &self.repeated,
            Some(Would::Tell(_) | Would::Explain(_)) => &self.explained,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// The counts, and since when.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        json!({
            "since": self.since_ms.load(Ordering::Relaxed),
            "sessions": count(&self.sessions),
            "would_repair": count(&self.repaired),
            "would_answer": count(&self.repeated),
            "would_explain": count(&self.explained),
        })
    }
}

/// As a clause for "on would …".
impl fmt::Display for Would {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rewrite => f.write_str("ask in the delegate's name"),
            Self::Heal => f.write_str("ask once more, in the delegate's name"),
            Self::Repeat(repeat) => {
                write!(f, "answer it without the gateway, as repeat {repeat}")
            }
            Self::Tell(sentence) => write!(f, "tell the client: {sentence}"),
            Self::Explain(sentence) => write!(f, "explain its `missing scope` answers: {sentence}"),
        }
    }
}
