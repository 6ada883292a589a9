//! What is known of the gateway's version, and how surely something follows from it.
//!
//! A gateway up to 2026.2.26 does not say which it is. What it does narrows it down, and so does what it left in its
//! files; what it does counts for more.

use serde::Serialize;

use crate::profile::Version;

/// What is known of a gateway's version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// The version, and what told it.
    pub exact: Option<(Version, String)>,
    /// The earliest that it can be.
    pub at_least: Option<Version>,
    /// The latest that it can be.
    pub at_most: Option<Version>,
    /// A version that some file named and that a better source gives the lie, with the file.
    pub contradicted: Option<(Version, String)>,
}

/// How surely something holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Certainty {
    /// It does not.
    No,
    /// It may: the gateway's version is not known well enough.
    Possible,
    /// It does.
    Certain,
}

impl Known {
    /// Weighs what the running gateway showed (`seen`, and the bounds) against what files claim, the best source first.
    #[must_use]
    pub fn weigh(
        seen: Option<(Version, String)>,
        at_least: Option<Version>,
        at_most: Option<Version>,
        claims: &[(Version, String)],
    ) -> Self {
        let fits = |version: Version| {
            at_least.is_none_or(|bound| version >= bound)
                && at_most.is_none_or(|bound| version <= bound)
        };
        let believed = claims.iter().find(|(version, _)| fits(*version));
        let exact = seen.or_else(|| believed.cloned());
        let contradicted = claims.iter().find(|(claimed, _)| match &exact {
            Some((exact, _)) => claimed != exact,
            None => !fits(*claimed),
        });
        Self {
            contradicted: contradicted.cloned(),
            exact,
            at_least,
            at_most,
        }
    }

    /// Whether the version lies from `first` to `last`, both included.
    #[must_use]
    pub fn within(&self, first: Version, last: Version) -> Certainty {
        let (low, high) = match &self.exact {
            Some((version, _)) => (*version, *version),
            None => (
                self.at_least.unwrap_or(EARLIEST),
                self.at_most.unwrap_or(LATEST),
            ),
        };
        if high < first || low > last {
            Certainty::No
        } else if low >= first && high <= last {
            Certainty::Certain
        } else {
            Certainty::Possible
        }
    }

    /// Whether the version is `first` or later.
    #[must_use]
    pub fn since(&self, first: Version) -> Certainty {
        self.within(first, LATEST)
    }

    /// Whether the version is `last` or earlier.
    #[must_use]
    pub fn until(&self, last: Version) -> Certainty {
        self.within(EARLIEST, last)
    }

    /// The version in words.
    #[must_use]
    pub fn words(&self) -> String {
        match (&self.exact, self.at_least, self.at_most) {
            (Some((version, from)), ..) => format!("OpenClaw {version}, as {from} says"),
            (None, Some(low), Some(high)) => {
                format!("OpenClaw {low} to {}, by what is seen of it", last(high))
            }
            (None, Some(low), None) => format!("OpenClaw {low} or later, by what is seen of it"),
            (None, None, Some(high)) => {
                format!("OpenClaw {} or earlier, by what is seen of it", last(high))
            }
            (None, None, None) => "an OpenClaw whose version nothing tells".to_owned(),
        }
    }
}

/// The last of a month has a number that nobody has given out.
fn last(version: Version) -> String {
    match version == LAST_WITH_FILES {
        true => "2026.7".to_owned(),
        false => version.to_string(),
    }
}

const EARLIEST: Version = Version {
    year: 0,
    month: 0,
    patch: 0,
};
const LATEST: Version = Version {
    year: u16::MAX,
    month: u16::MAX,
    patch: u16::MAX,
};

/// The last version that does not say which it is.
pub const LAST_SILENT: Version = Version::v2026(2, 26);
/// The first version after it.
pub const FIRST_TALKATIVE: Version = Version::v2026(2, 27);
/// The last version that compares scope names literally, in part or in whole.
pub const LAST_LITERAL: Version = Version::v2026(2, 21);
/// No later version keeps its pairing records in files: 2026.7.35 does.
pub const LAST_WITH_FILES: Version = Version::v2026(7, 99);
/// The first version that keeps its pairing records in a database; 2026.7.1 still has files.
pub const FIRST_WITH_DATABASE: Version = Version::v2026(8, 0);

#[cfg(test)]
mod tests {
    use super::*;

    fn exactly(month: u16, patch: u16) -> Known {
        Known::weigh(
            Some((Version::v2026(month, patch), "a test".into())),
            None,
            None,
            &[],
        )
    }

    #[test]
    fn a_range_of_versions_makes_things_certain_possible_or_out_of_the_question() {
        let literal = |known: &Known| known.until(LAST_LITERAL);
        assert_eq!(literal(&exactly(2, 19)), Certainty::Certain);
        assert_eq!(literal(&exactly(2, 26)), Certainty::No);
        let early = Known::weigh(None, None, Some(LAST_SILENT), &[]);
        assert_eq!(literal(&early), Certainty::Possible);
        assert_eq!(early.since(FIRST_WITH_DATABASE), Certainty::No);
        let late = Known::weigh(None, Some(FIRST_TALKATIVE), None, &[]);
        assert_eq!(literal(&late), Certainty::No);
        assert_eq!(literal(&Known::default()), Certainty::Possible);
    }

    #[test]
    fn what_the_gateway_does_counts_for_more_than_what_a_file_says() {
        let claim = (Version::v2026(9, 6), "the database".to_owned());
        let old = Known::weigh(None, None, Some(LAST_SILENT), std::slice::from_ref(&claim));
        assert_eq!((old.exact, old.contradicted), (None, Some(claim.clone())));
        let down = Known::weigh(None, None, None, std::slice::from_ref(&claim));
        assert_eq!(down.exact, Some(claim.clone()));
        let other = Some((Version::v2026(8, 2), "its page".to_owned()));
        let updated = Known::weigh(other.clone(), None, None, std::slice::from_ref(&claim));
        assert_eq!((updated.exact, updated.contradicted), (other, Some(claim)));
    }

    #[test]
    fn the_version_reads_as_a_sentence() {
        assert_eq!(exactly(3, 13).words(), "OpenClaw 2026.3.13, as a test says");
        let early = Known::weigh(None, None, Some(LAST_SILENT), &[]);
        assert_eq!(
            early.words(),
            "OpenClaw 2026.2.26 or earlier, by what is seen of it"
        );
    }
}
