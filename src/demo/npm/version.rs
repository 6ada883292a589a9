//! Which gateway: a calendar version such as `2026.2.19`.

use std::fmt;
use std::str::FromStr;

use super::Error;

/// A released version of the `openclaw` package.
///
/// It becomes part of paths and of npm's arguments, so nothing but digits, dots and a plain suffix gets in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    numbers: [u16; 3],
    suffix: String,
}

impl Version {
    /// Whether this is `year.month.day` or a later version.
    #[must_use]
    pub fn is_at_least(&self, year: u16, month: u16, day: u16) -> bool {
        self.numbers >= [year, month, day]
    }

    /// The major version of Node this gateway is known to run on.
    pub(super) fn node_major(&self) -> u16 {
        if self.is_at_least(2026, 6, 0) { 24 } else { 22 }
    }
}

impl FromStr for Version {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let unreadable = || Error::VersionUnreadable(text.to_owned());
        let (numbers, suffix) = match text.split_once('-') {
            Some((numbers, suffix)) => (numbers, format!("-{suffix}")),
            None => (text, String::new()),
        };
        let plain = suffix
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'));
        if !plain || suffix.len() > 32 {
            return Err(unreadable());
        }
        let mut parts = numbers.split('.').map(str::parse::<u16>);
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(Ok(year)), Some(Ok(month)), Some(Ok(day)), None) => Ok(Self {
                numbers: [year, month, day],
                suffix,
            }),
            _ => Err(unreadable()),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [year, month, day] = self.numbers;
        write!(f, "{year}.{month}.{day}{}", self.suffix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_reads_back_as_it_was_written() {
        for text in ["2026.2.19", "2026.12.1", "2026.3.13-1", "2026.9.6-beta.2"] {
            assert_eq!(
                text.parse::<Version>()
                    .map(|v| v.to_string())
                    .ok()
                    .as_deref(),
                Some(text)
            );
        }
    }

    #[test]
    fn what_could_leave_the_cache_is_no_version() {
        for text in [
            "",
            "latest",
            "2026.2",
            "2026.2.19.1",
            "../2026.2.19",
            "2026.2.19-../x",
            "2026.2.19 -g",
            "v2026.2.19",
        ] {
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
    }

    #[test]
    fn versions_are_ordered_by_date() {
        let at = |text: &str| text.parse::<Version>().ok();
        assert!(at("2026.2.19") < at("2026.2.21"));
        assert!(at("2026.9.6") < at("2026.12.1"));
        assert!(
            at("2026.4.21")
                .is_some_and(|v| v.is_at_least(2026, 4, 0) && !v.is_at_least(2026, 5, 0))
        );
    }

    #[test]
    fn each_gateway_gets_the_node_it_runs_on() {
        let major = |text: &str| text.parse::<Version>().map(|v| v.node_major()).ok();
        assert_eq!(major("2026.5.7"), Some(22));
        assert_eq!(major("2026.6.11"), Some(24));
    }
}
