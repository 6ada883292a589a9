//! Operator scopes, and what one of them implies.

use std::collections::BTreeSet;
use std::fmt;

/// A set of scope names such as `operator.read`.
///
/// Unknown names are kept: every gateway version accepts and stores them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ScopeSet(BTreeSet<String>);

/// The scope that stands for every `operator.*` scope.
pub const ADMIN: &str = "operator.admin";
/// Guards the methods that only look.
pub const READ: &str = "operator.read";
/// Guards the methods that act; implies [`READ`].
pub const WRITE: &str = "operator.write";
/// Guards the pairing methods and events.
pub const PAIRING: &str = "operator.pairing";

/// Every scope that a gateway from 2026.2.17 to 2026.9.6 guards a method with.
///
/// The delegate asks for each by name, because the gateways up to 2026.2.21 compare names literally.
pub const ALL: [&str; 10] = [
    ADMIN,
    READ,
    WRITE,
    "operator.approvals",
    PAIRING,
    "operator.questions",
    "operator.talk",
    "operator.talk.secrets",
    "operator.sessions.read",
    "operator.sessions.write",
];

const OPERATOR_PREFIX: &str = "operator.";

impl ScopeSet {
    /// The empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the set names `scope` itself.
    #[must_use]
    pub fn names(&self, scope: &str) -> bool {
        self.0.contains(scope)
    }

    /// Whether the set names every scope of `other`, compared literally.
    #[must_use]
    pub fn names_all(&self, other: &Self) -> bool {
        other.0.is_subset(&self.0)
    }

    /// Whether `scope` lies in the closure of the set: `operator.admin` implies every `operator.*` scope, and
    /// `operator.write` implies `operator.read`.
    ///
    /// This is the meaning that the gateways themselves have had since 2026.2.26.
    #[must_use]
    pub fn implies(&self, scope: &str) -> bool {
        self.names(scope)
            || (self.names(ADMIN) && scope.starts_with(OPERATOR_PREFIX))
            || (scope == READ && self.names(WRITE))
    }

    /// Whether every scope of `other` lies in the closure of the set.
    #[must_use]
    pub fn implies_all(&self, other: &Self) -> bool {
        other.iter().all(|scope| self.implies(scope))
    }

    /// The scopes of `wanted` that do not lie in the closure of the set.
    #[must_use]
    pub fn missing(&self, wanted: &Self) -> Self {
        wanted.iter().filter(|scope| !self.implies(scope)).collect()
    }

    /// Adds one scope.
    pub fn insert(&mut self, scope: impl Into<String>) {
        self.0.insert(scope.into());
    }

    /// The scopes of both sets.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self(self.0.union(&other.0).cloned().collect())
    }

    /// Whether there is no scope at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The scopes in alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl<S: Into<String>> FromIterator<S> for ScopeSet {
    fn from_iter<I: IntoIterator<Item = S>>(scopes: I) -> Self {
        Self(scopes.into_iter().map(Into::into).collect())
    }
}

/// Writes the scopes without their common prefix: `admin, read`; `none` for the empty set.
impl fmt::Display for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("none");
        }
        for (index, scope) in self.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            let short = scope.strip_prefix(OPERATOR_PREFIX).unwrap_or(scope);
            write!(f, "{separator}{}", short.escape_debug())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> ScopeSet {
        names.iter().copied().collect()
    }

    #[test]
    fn admin_implies_every_operator_scope_and_nothing_else() {
        let admin = set(&[ADMIN]);
        assert!(ALL.iter().all(|scope| admin.implies(scope)));
        assert!(admin.implies("operator.of-a-later-version"));
        assert!(!admin.implies("node.invoke"));
        assert!(!admin.implies("operator"));
    }

    #[test]
    fn write_implies_read_but_read_does_not_imply_write() {
        assert!(set(&[WRITE]).implies(READ));
        assert!(!set(&[READ]).implies(WRITE));
        assert!(!set(&[WRITE]).implies(PAIRING));
    }

    #[test]
    fn missing_names_what_the_closure_lacks() {
        let held = set(&[WRITE, PAIRING]);
        let wanted = set(&[READ, ADMIN, PAIRING]);
        assert_eq!(held.missing(&wanted), set(&[ADMIN]));
        assert!(!held.implies_all(&wanted));
    }

    #[test]
    fn a_set_reads_as_its_short_names() {
        assert_eq!(set(&[READ, ADMIN]).to_string(), "admin, read");
        assert_eq!(ScopeSet::new().to_string(), "none");
    }
}
