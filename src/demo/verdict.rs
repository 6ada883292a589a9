//! What came of an attempt, in one word.

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It did what it is there for.
    Works,
    /// The gateway said no.
    Refused,
    /// It failed otherwise.
    Failed,
}

impl Verdict {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Works => "works",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}
