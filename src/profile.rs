//! How the gateway at hand behaves, as far as it is known.
//!
//! Known from the version in `hello-ok` where it says one, and learned from what it does. Where nothing is known the
//! profile says so, and the decision takes the way that works on every version.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use crate::device::{DeviceRecord, OperatorToken};

/// A gateway version, `2026.3.13` being `Version { year: 2026, month: 3, patch: 13 }`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// The first number.
    pub year: u16,
    /// The second number.
    pub month: u16,
    /// The third number.
    pub patch: u16,
}

impl Version {
    /// A version of 2026.
    #[must_use]
    pub const fn v2026(month: u16, patch: u16) -> Self {
        Self {
            year: 2026,
            month,
            patch,
        }
    }

    /// Reads `2026.3.13`, with anything that is no digit behind the third number ignored (`2026.3.13-beta.1`).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().trim_start_matches('v').splitn(3, '.');
        let mut number = || {
            let part = parts.next()?;
            let digits = part
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(part.len());
            part.get(..digits)?.parse().ok()
        };
        Some(Self {
            year: number()?,
            month: number()?,
            patch: number()?,
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.year, self.month, self.patch)
    }
}

/// How a gateway compares requested with approved scopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScopeCheck {
    /// Name by name: `operator.admin` does not cover `operator.read` (up to 2026.2.21).
    Literal,
    /// `operator.admin` covers every `operator.*`, `operator.write` covers `operator.read` (from 2026.2.26).
    Implied,
    /// Not known.
    Unknown,
}

/// How the gateway at hand behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The version, where the gateway said one; up to 2026.2.26 it says `dev`.
    pub version: Option<Version>,
    /// How it compares scopes.
    pub scope_check: ScopeCheck,
    /// Whether it may refuse a device whose platform changed since pairing.
    pub pins_metadata: bool,
    /// Whether it is known to be of the generation up to 2026.2.21, which takes proofs without a nonce, ten minutes
    /// of clock skew, and knows no payload version 3.
    pub early: bool,
    /// What it did against expectation.
    pub lessons: BTreeSet<Lesson>,
}

/// Something that a gateway did although its version spoke against it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lesson {
    /// It refused scopes that the approved ones cover.
    ComparesLiterally,
    /// It cleared the scopes of a local client of this id and mode, which had no device.
    ClearsDeviceLess(String, String),
}

impl Default for Profile {
    /// Nothing is known.
    fn default() -> Self {
        Self {
            version: None,
            scope_check: ScopeCheck::Unknown,
            pins_metadata: true,
            early: false,
            lessons: BTreeSet::new(),
        }
    }
}

/// What the control connection saw in `hello-ok`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// `server.version`.
    pub version: Option<String>,
    /// Whether there is a `server.host`: only up to 2026.2.21.
    pub has_server_host: bool,
}

impl Profile {
    /// What follows from `hello-ok`.
    #[must_use]
    pub fn from_evidence(evidence: &Evidence) -> Self {
        let version = evidence.version.as_deref().and_then(Version::parse);
        let early =
            evidence.has_server_host && version.is_none_or(|version| version <= LAST_LITERAL);
        let scope_check = match version {
            _ if early => ScopeCheck::Literal,
            Some(version) if version >= FIRST_IMPLIED => ScopeCheck::Implied,
            _ => ScopeCheck::Unknown,
        };
        Self {
            version,
            scope_check,
            pins_metadata: !early,
            early,
            lessons: BTreeSet::new(),
        }
    }

    /// What follows from a version alone, whoever told it.
    #[must_use]
    pub fn of_version(version: Version) -> Self {
        Self::from_evidence(&Evidence {
            version: Some(version.to_string()),
            has_server_host: version <= LAST_LITERAL,
        })
    }

    /// Keeps in mind what the gateway did.
    pub fn learn(&mut self, lesson: Lesson) {
        if lesson == Lesson::ComparesLiterally {
            self.scope_check = ScopeCheck::Literal;
        }
        // Names come from clients: a few are enough, and nobody may fill the memory with them.
        if self.lessons.len() < MOST_LESSONS {
            self.lessons.insert(lesson);
        }
    }

    /// Whether a local client without a device keeps the scopes it asks for, for certain.
    ///
    /// `gateway-client`/`backend` from 2026.4.21, `cli`/`cli` from 2026.7.1; 2026.2.26 keeps everybody's, but does not
    /// say that it is 2026.2.26.
    #[must_use]
    pub fn keeps_device_less(&self, client_id: &str, client_mode: &str) -> bool {
        let Some(version) = self.version else {
            return false;
        };
        let lesson = Lesson::ClearsDeviceLess(client_id.to_owned(), client_mode.to_owned());
        if self.lessons.contains(&lesson) {
            return false;
        }
        match (client_id, client_mode) {
            ("gateway-client", "backend") => version >= Version::v2026(4, 21),
            ("cli", "cli") => version >= Version::v2026(7, 1),
            _ => false,
        }
    }

    /// Whether a session without a device keeps its scopes where a trusted proxy authenticated its user: a Control UI,
    /// from 2026.2.26 to 2026.3.13 (gateways before that refuse it, later ones clear its scopes).
    #[must_use]
    pub fn keeps_users(&self, client_id: &str) -> bool {
        client_id == "openclaw-control-ui"
            && self
                .version
                .is_some_and(|version| version <= Version::v2026(3, 13))
    }

    /// Whether the gateway limits the sockets of one address that have not connected yet: 32 from 2026.4.21.
    #[must_use]
    pub fn limits_handshakes(&self) -> bool {
        !self.is_before(Version::v2026(4, 21))
    }

    /// How long the gateway waits for a handshake to be over, where that was seen: 10 s up to 2026.2.26 and from
    /// 2026.3.24, 3 s in 2026.3.13, 15 s from 2026.5.7.
    #[must_use]
    pub fn handshake_timeout(&self) -> Option<Duration> {
        let seconds = match self.version {
            None if self.early => 10,
            None => return None,
            Some(version) if version >= Version::v2026(5, 7) => 15,
            Some(version) if version >= Version::v2026(3, 22) => 10,
            Some(version) if version >= Version::v2026(3, 12) => 3,
            Some(_) => 10,
        };
        Some(Duration::from_secs(seconds))
    }

    /// Whether it alone can say that a device's token still holds: from 2026.6.11. A browser's dies with the shared secret
    /// that it was issued under, which the store does not show. One that only is too narrow is refused with a code of its
    /// own then (`AUTH_SCOPE_MISMATCH`).
    #[must_use]
    pub fn judges_device_tokens(&self) -> bool {
        !self.early
            && self
                .version
                .is_some_and(|version| version >= Version::v2026(6, 11))
    }

    /// Whether a device that was approved may count for nothing, as it has no token: one that was revoked, whatever the
    /// version, and any from 2026.4.21, which tells apart what was approved and what is in effect
    /// (`listEffectivePairedDeviceRoles`). Before, whoever has the gateway's secret gets a token.
    #[must_use]
    pub fn takes_role_from(&self, record: &DeviceRecord) -> bool {
        let has_none = matches!(record.operator_token, OperatorToken::None);
        record.is_revoked() || (has_none && !self.device_tokens_manage_others())
    }

    /// Whether it is for certain of an earlier release than this.
    #[must_use]
    pub fn is_before(&self, release: Version) -> bool {
        self.early || self.version.is_some_and(|version| version < release)
    }

    /// Whether a session that authenticated with its device's token may manage other devices: up to 2026.3.24.
    #[must_use]
    pub fn device_tokens_manage_others(&self) -> bool {
        self.early
            || self
                .version
                .is_some_and(|version| version <= Version::v2026(3, 24))
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version {
            Some(version) => write!(f, "OpenClaw {version}"),
            None if self.early => f.write_str("OpenClaw up to 2026.2.21"),
            None => f.write_str("an OpenClaw that does not say its version"),
        }
    }
}

const MOST_LESSONS: usize = 16;
const LAST_LITERAL: Version = Version::v2026(2, 21);
const FIRST_IMPLIED: Version = Version::v2026(2, 26);

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(version: &str, has_server_host: bool) -> Profile {
        Profile::from_evidence(&Evidence {
            version: Some(version.to_owned()),
            has_server_host,
        })
    }

    #[test]
    fn versions_are_read_and_ordered() {
        assert_eq!(Version::parse("2026.3.13"), Some(Version::v2026(3, 13)));
        assert_eq!(
            Version::parse("v2026.3.13-beta.2"),
            Some(Version::v2026(3, 13))
        );
        assert!(Version::v2026(3, 13) > Version::v2026(3, 2));
        for nonsense in ["dev", "", "2026", "2026.3", "a.b.c", "99999999.1.1"] {
            assert_eq!(Version::parse(nonsense), None, "{nonsense:?}");
        }
    }

    #[test]
    fn an_early_gateway_is_known_by_its_server_host() {
        let early = profile("dev", true);
        assert_eq!(
            (early.scope_check, early.early),
            (ScopeCheck::Literal, true)
        );
        let between = profile("dev", false);
        assert_eq!(
            (between.scope_check, between.early),
            (ScopeCheck::Unknown, false)
        );
    }

    #[test]
    fn later_gateways_say_who_they_are() {
        for version in ["2026.3.13", "2026.4.21", "2026.9.6", "2027.1.1"] {
            let profile = profile(version, false);
            assert_eq!(profile.scope_check, ScopeCheck::Implied, "{version}");
            assert!(profile.pins_metadata && !profile.early, "{version}");
        }
    }

    #[test]
    fn handshakes_are_paced_where_the_gateway_counts_them() {
        assert!(!profile("dev", true).limits_handshakes());
        assert!(!profile("2026.3.13", false).limits_handshakes());
        assert!(profile("2026.4.21", false).limits_handshakes());
        assert!(Profile::default().limits_handshakes(), "in doubt");
    }

    #[test]
    fn a_lesson_counts_for_more_than_the_version() {
        let mut profile = profile("2026.9.6", false);
        profile.learn(Lesson::ComparesLiterally);
        assert_eq!(profile.scope_check, ScopeCheck::Literal);
        profile.learn(Lesson::ClearsDeviceLess("cli".into(), "cli".into()));
        assert!(!profile.keeps_device_less("cli", "cli"));
        assert!(profile.keeps_device_less("gateway-client", "backend"));
    }

    #[test]
    fn device_less_scopes_are_kept_only_where_that_was_seen() {
        assert!(!profile("2026.3.13", false).keeps_device_less("gateway-client", "backend"));
        assert!(profile("2026.4.21", false).keeps_device_less("gateway-client", "backend"));
        assert!(!profile("2026.4.21", false).keeps_device_less("cli", "cli"));
        assert!(profile("2026.7.1", false).keeps_device_less("cli", "cli"));
        assert!(!profile("2026.9.6", false).keeps_device_less("cli", "probe"));
        assert!(!Profile::default().keeps_device_less("cli", "cli"));
    }
}
