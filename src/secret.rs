//! A value that never shows itself.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A token, password or other secret text.
///
/// It prints as `***`, is compared in constant time and is wiped when dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Wraps a secret.
    #[must_use]
    pub fn new(value: impl Into<String>) -> Self {
        Self(Zeroizing::new(value.into()))
    }

    /// The secret itself, for the one place that has to send or sign it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether `candidate` is the secret, in time that depends on the length alone.
    #[must_use]
    pub fn matches(&self, candidate: &str) -> bool {
        self.0.as_bytes().ct_eq(candidate.as_bytes()).into()
    }
}

/// In time that depends on the length alone.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.matches(other.reveal())
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_nothing_and_matches_only_itself() {
        let secret = Secret::new("tok-1");
        assert_eq!(format!("{secret} {secret:?}"), "*** ***");
        assert!(secret.matches("tok-1"));
        assert!(!secret.matches("tok-2"));
        assert!(!secret.matches("tok-10"));
        assert!(!secret.matches(""));
    }
}
