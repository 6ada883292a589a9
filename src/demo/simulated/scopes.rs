//! Does a list of approved scopes cover a list of requested ones? The question all the trouble is about.

use std::collections::BTreeSet;

use super::profile::Profile;

pub(super) const OPERATOR: &str = "operator";
pub(super) const ADMIN: &str = "operator.admin";
pub(super) const READ: &str = "operator.read";
pub(super) const WRITE: &str = "operator.write";
const PREFIX: &str = "operator.";

/// Whether `allowed` covers every one of `requested`, as this gateway compares them.
pub(super) fn allow(
    profile: Profile,
    role: &str,
    requested: &[String],
    allowed: &[String],
) -> bool {
    if requested.is_empty() {
        return true;
    }
    let allowed: BTreeSet<&str> = allowed.iter().map(|scope| scope.trim()).collect();
    requested
        .iter()
        .all(|scope| covers(profile, role, scope.trim(), &allowed))
}

fn covers(profile: Profile, role: &str, scope: &str, allowed: &BTreeSet<&str>) -> bool {
    match profile {
        Profile::Literal => allowed.contains(scope),
        Profile::Clearing if role != OPERATOR => allowed.contains(scope),
        Profile::Clearing => operator_covers(scope, allowed),
        _ if role != OPERATOR => {
            let own = scope
                .strip_prefix(role)
                .is_some_and(|rest| rest.starts_with('.'));
            own && allowed.contains(scope)
        }
        // From 2026.4.21 a scope without the prefix is covered by nothing, not even by itself.
        _ => scope.starts_with(PREFIX) && operator_covers(scope, allowed),
    }
}

fn operator_covers(scope: &str, allowed: &BTreeSet<&str>) -> bool {
    (allowed.contains(ADMIN) && scope.starts_with(PREFIX))
        || (scope == READ && allowed.contains(WRITE))
        || allowed.contains(scope)
}

/// The form in which a token's scopes are stored: trimmed, unique, sorted, and later with what they imply.
pub(super) fn normalize(profile: Profile, scopes: &[String]) -> Vec<String> {
    let mut out: BTreeSet<&str> = scopes.iter().map(|scope| scope.trim()).collect();
    out.remove("");
    if profile >= Profile::Pending {
        if out.contains(ADMIN) {
            out.extend([READ, WRITE]);
        } else if out.contains(WRITE) {
            out.insert(READ);
        }
    }
    out.into_iter().map(str::to_owned).collect()
}

/// The union in order of appearance, as records keep it.
pub(super) fn merge<'a>(lists: impl IntoIterator<Item = &'a [String]>) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for scope in lists.into_iter().flatten() {
        let scope = scope.trim();
        if !scope.is_empty() && !out.iter().any(|known| known == scope) {
            out.push(scope.to_owned());
        }
    }
    out
}

/// Whether a session with these scopes may call a method that needs `needed`.
pub(super) fn session_may(granted: &[String], needed: &str) -> bool {
    let has = |scope: &str| granted.iter().any(|granted| granted == scope);
    has(ADMIN) || has(needed) || (needed == READ && has(WRITE))
}

/// The first scope that the caller cannot hand on.
pub(super) fn first_missing(
    profile: Profile,
    role: &str,
    requested: &[String],
    allowed: &[String],
) -> Option<String> {
    requested
        .iter()
        .find(|scope| !allow(profile, role, std::slice::from_ref(scope), allowed))
        .cloned()
}
