//! Operator scopes, and what one of them implies.

use std::fmt::{self, Display};
use std::iter;

use crate::text::escaped;

/// A set of scope names such as `operator.read`.
///
/// Unknown names are kept: every gateway version accepts and stores them. The known ones are a bit each, because every
/// record of a large store has a few of these sets, and every handshake makes and compares many.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ScopeSet {
    known: u16,
    /// In alphabetical order, each once.
    others: Vec<Box<str>>,
}

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

/// Those of [`ALL`] in alphabetical order: the place of a name is that of its bit.
const KNOWN: [&str; ALL.len()] = [
    ADMIN,
    "operator.approvals",
    PAIRING,
    "operator.questions",
    READ,
    "operator.sessions.read",
    "operator.sessions.write",
    "operator.talk",
    "operator.talk.secrets",
    WRITE,
];

impl ScopeSet {
    /// The empty set.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            known: 0,
            others: Vec::new(),
        }
    }

    /// Whether the set names `scope` itself.
    #[must_use]
    pub fn names(&self, scope: &str) -> bool {
        match bit(scope) {
            Some(bit) => self.known & bit != 0,
            None => self.place(scope).is_ok(),
        }
    }

    /// Whether the set names every scope of `other`, compared literally.
    #[must_use]
    pub fn names_all(&self, other: &Self) -> bool {
        other.known & !self.known == 0 && other.others.iter().all(|name| self.place(name).is_ok())
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
        if let Some(bit) = bit(scope.as_ref()) {
            self.known |= bit;
        } else if let Err(place) = self.place(scope.as_ref()) {
            self.others.insert(place, scope.into().into_boxed_str());
        }
    }

    /// The scopes of both sets.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let others = self.others.iter().chain(&other.others).cloned();
        Self::sorted(self.known | other.known, others.collect())
    }

    /// Whether there is no scope at all.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.known == 0 && self.others.is_empty()
    }

    /// The scopes in alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let known = KNOWN.into_iter().enumerate();
        let known = known.filter(|(place, _)| self.known & (1 << place) != 0);
        let mut known = known.map(|(_, name)| name).peekable();
        let mut others = self.others.iter().map(|name| &**name).peekable();
        iter::from_fn(move || match (known.peek(), others.peek()) {
            (Some(first), Some(other)) if other < first => others.next(),
            (None, _) => others.next(),
            _ => known.next(),
        })
    }

    fn sorted(known: u16, mut others: Vec<Box<str>>) -> Self {
        others.sort_unstable();
        others.dedup();
        Self { known, others }
    }

    /// Where the unknown `scope` is, or else where it would be.
    fn place(&self, scope: &str) -> Result<usize, usize> {
        self.others.binary_search_by(|name| (**name).cmp(scope))
    }
}

impl<S: AsRef<str> + Into<String>> FromIterator<S> for ScopeSet {
    fn from_iter<I: IntoIterator<Item = S>>(scopes: I) -> Self {
        let (mut known, mut others) = (0, Vec::new());
        for scope in scopes {
            match bit(scope.as_ref()) {
                Some(bit) => known |= bit,
                None => others.push(scope.into().into_boxed_str()),
            }
        }
        Self::sorted(known, others)
    }
}

/// What stands for a known scope in a set.
fn bit(scope: &str) -> Option<u16> {
    let place = KNOWN.iter().position(|known| *known == scope)?;
    Some(1 << place)
}

/// A scope without the prefix that nearly all of them have.
#[must_use]
pub fn short(scope: &str) -> impl Display {
    escaped(scope.strip_prefix(OPERATOR_PREFIX).unwrap_or(scope))
}

/// Writes the scopes without their common prefix: `admin, read`; `none` for the empty set.
impl Display for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("none");
        }
        for (index, scope) in self.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            f.write_str(separator)?;
            match scope.strip_prefix(OPERATOR_PREFIX) {
                // What is known needs no escaping, and is most of it.
                Some(known) if bit(scope).is_some() => f.write_str(known)?,
                _ => short(scope).fmt(f)?,
            }
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
    fn every_known_scope_has_a_place_of_its_own() {
        assert!(KNOWN.is_sorted());
        let mut all = ALL;
        all.sort_unstable();
        assert_eq!(all, KNOWN);
        assert_eq!(set(&ALL).iter().collect::<Vec<_>>(), KNOWN);
    }

    #[test]
    fn known_and_unknown_scopes_are_in_one_order() {
        let names = ["a", ADMIN, "operator.bogus", READ, "z"];
        let mixed = set(&[READ, "z", "operator.bogus", "a", ADMIN, "z"]);
        assert_eq!(mixed.iter().collect::<Vec<_>>(), names);
        let mut one_by_one = ScopeSet::new();
        for name in ["z", READ, "a", ADMIN, "operator.bogus", "a"] {
            one_by_one.insert(name);
        }
        assert_eq!(one_by_one, mixed);
        assert_eq!(
            set(&["a", READ]).union(&set(&["z", "operator.bogus", ADMIN])),
            mixed
        );
        assert!(mixed.names_all(&set(&["a", READ])) && !mixed.names_all(&set(&["b"])));
    }

    #[test]
    fn a_set_reads_as_its_short_names() {
        assert_eq!(set(&[READ, ADMIN]).to_string(), "admin, read");
        assert_eq!(ScopeSet::new().to_string(), "none");
    }
}
