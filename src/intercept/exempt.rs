//! By what the shim's own connections are told from everybody else's.
//!
//! Its user, where no one else has it. Where it must run as the gateway's user, who alone may read the pairing store, a
//! group of its own serves as well: the kernel notes both with every socket that a process makes.

use std::fmt::{self, Display, Formatter};

/// Who a process runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ids {
    /// Its user id.
    pub user: u32,
    /// Its group id; `None` where it cannot be found out.
    pub group: Option<u32>,
}

/// Whose connections are not redirected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exempt {
    /// Those of this user.
    User(u32),
    /// Those of this group.
    Group(u32),
}

impl Exempt {
    /// Whether a process with these ids is exempt.
    #[must_use]
    pub fn covers(self, ids: Ids) -> bool {
        match self {
            Self::User(user) => ids.user == user,
            Self::Group(group) => ids.group == Some(group),
        }
    }

    /// Its key in nftables.
    pub(super) const fn key(self) -> &'static str {
        match self {
            Self::User(_) => "skuid",
            Self::Group(_) => "skgid",
        }
    }

    /// The id itself.
    #[must_use]
    pub const fn id(self) -> u32 {
        match self {
            Self::User(id) | Self::Group(id) => id,
        }
    }
}

impl Display for Exempt {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(id) => write!(f, "user {id}"),
            Self::Group(id) => write!(f, "group {id}"),
        }
    }
}

/// The processes that must not be taken for each other.
#[derive(Clone, Copy, Debug)]
pub struct Apart<'a> {
    /// The shim that runs.
    pub shim: Ids,
    /// Those who listen on the gateway's port.
    pub gateway: &'a [Ids],
    /// Who asks for the interception, and most likely uses the gateway's command line.
    pub caller: Ids,
}

/// Nothing tells the shim from the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "scope-shim runs as {}, as {whom}: the redirect could not tell them apart, and {consequence}. Run it as a user \
     of its own, or, where it has to read the gateway's files, as the gateway's user with a group of its own: User= and \
     Group= in systemd, `setpriv --reuid … --regid … --clear-groups` elsewhere",
    .who
)]
pub struct NotApart {
    who: Who,
    whom: &'static str,
    consequence: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Who(Ids);

impl Display for Who {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "user {}", self.0.user)?;
        self.0
            .group
            .map_or(Ok(()), |group| write!(f, " and group {group}"))
    }
}

impl Apart<'_> {
    /// What exempts the shim and nobody else who matters.
    ///
    /// # Errors
    ///
    /// When the others would be exempt as well.
    pub fn exempt(self) -> Result<Exempt, NotApart> {
        let by_user = Exempt::User(self.shim.user);
        if self.sharing(by_user).is_none() {
            return Ok(by_user);
        }
        let by_group = self.shim.group.map(Exempt::Group);
        match by_group {
            // A gateway whose group is not known may have this one.
            Some(by_group) if self.sharing(by_group).is_none() && self.groups_are_known() => {
                Ok(by_group)
            }
            _ => {
                let (whom, consequence) = by_group
                    .and_then(|by_group| self.sharing(by_group))
                    .unwrap_or(UNKNOWN);
                Err(NotApart {
                    who: Who(self.shim),
                    whom,
                    consequence,
                })
            }
        }
    }

    fn groups_are_known(self) -> bool {
        self.gateway.iter().all(|ids| ids.group.is_some())
    }

    fn sharing(self, exempt: Exempt) -> Option<(&'static str, &'static str)> {
        if exempt.id() == 0 {
            return Some(("root does", "root's own connections would miss the shim"));
        }
        if self.gateway.iter().any(|ids| exempt.covers(*ids)) {
            return Some(("the gateway does", "its agents' calls would miss the shim"));
        }
        exempt
            .covers(self.caller)
            .then_some(("you do", "your own commands would miss the shim"))
    }
}

const UNKNOWN: (&str, &str) = ("the gateway may", "its agents' calls might miss the shim");

#[cfg(test)]
mod tests {
    use super::*;

    const fn ids(user: u32, group: u32) -> Ids {
        Ids {
            user,
            group: Some(group),
        }
    }

    fn exempt(shim: Ids, gateway: Ids, caller: Ids) -> Result<Exempt, String> {
        let apart = Apart {
            shim,
            gateway: &[gateway],
            caller,
        };
        apart.exempt().map_err(|not| not.to_string())
    }

    #[test]
    fn a_user_of_its_own_is_enough_and_else_a_group_of_its_own_is() {
        let (shim, gateway, human, root) = (ids(900, 900), ids(1, 1), ids(1000, 1000), ids(0, 0));
        assert_eq!(exempt(shim, gateway, human), Ok(Exempt::User(900)));
        assert_eq!(exempt(shim, human, human), Ok(Exempt::User(900)));
        assert_eq!(exempt(shim, root, root), Ok(Exempt::User(900)));
        assert_eq!(exempt(ids(1, 900), gateway, human), Ok(Exempt::Group(900)));
        assert_eq!(
            exempt(ids(1000, 900), gateway, human),
            Ok(Exempt::Group(900))
        );
        assert_eq!(exempt(ids(0, 900), root, root), Ok(Exempt::Group(900)));
    }

    #[test]
    fn who_shares_both_with_the_gateway_with_the_caller_or_with_root_is_refused() {
        let (gateway, human) = (ids(1, 1), ids(1000, 1000));
        for (shim, whom) in [
            (gateway, "as the gateway does"),
            (human, "as you do"),
            (ids(0, 0), "as root does"),
            (ids(1, 1000), "as you do"),
            (ids(1, 0), "as root does"),
        ] {
            let refused = exempt(shim, gateway, human).map_err(|text| text.contains(whom));
            assert_eq!(refused, Err(true), "{shim:?}");
        }
    }

    #[test]
    fn a_group_exempts_nobody_while_that_of_the_gateway_is_not_known() {
        let gateway = Ids {
            user: 1,
            group: None,
        };
        assert!(exempt(ids(1, 900), gateway, ids(0, 0)).is_err());
        assert_eq!(exempt(ids(2, 900), gateway, ids(0, 0)), Ok(Exempt::User(2)));
    }
}
