//! Operator scopes, and what one of them implies.

use std::borrow::Cow;
use std::fmt;

use crate::text::escaped;

/// A set of scope names such as `operator.read`.
///
/// Unknown names are kept: every gateway version accepts and stores them. The known ones take no memory of their own,
/// because every record of a large store and every handshake has a few of these sets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ScopeSet(Vec<Cow<'static, str>>);

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
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Whether the set names `scope` itself.
    #[must_use]
    pub fn names(&self, scope: &str) -> bool {
        self.place(scope).is_ok()
    }

    /// Whether the set names every scope of `other`, compared literally.
    #[must_use]
    pub fn names_all(&self, other: &Self) -> bool {
        other.iter().all(|scope| self.names(scope))
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
    pub fn insert(&mut self, scope: impl AsRef<str> + Into<String>) {
        if let Err(place) = self.place(scope.as_ref()) {
            self.0.insert(place, name(scope));
        }
    }

    /// The scopes of both sets.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self::sorted(self.0.iter().chain(&other.0).cloned().collect())
    }

    /// Whether there is no scope at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The scopes in alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|name| &**name)
    }

    fn sorted(mut names: Vec<Cow<'static, str>>) -> Self {
        names.sort_unstable();
        names.dedup();
        Self(names)
    }

    /// Where `scope` is, or else where it would be.
    fn place(&self, scope: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|name| (**name).cmp(scope))
    }
}

impl<S: AsRef<str> + Into<String>> FromIterator<S> for ScopeSet {
    fn from_iter<I: IntoIterator<Item = S>>(scopes: I) -> Self {
        Self::sorted(scopes.into_iter().map(name).collect())
    }
}

/// The name as it is kept.
fn name(scope: impl AsRef<str> + Into<String>) -> Cow<'static, str> {
    let known = ALL.into_iter().find(|known| *known == scope.as_ref());
    known.map_or_else(|| Cow::Owned(scope.into()), Cow::Borrowed)
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
            f.write_str(separator)?;
            escaped(short).fmt(f)?;
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
