//! What the clients of a device ask for, by client and by the gateway's version.
//!
//! Read in the packages and seen on real gateways, 2026.2.19 to 2026.9.6: a command line and a gateway of one release.

use super::known::{Certainty, Known};
use crate::profile::Version;
use crate::scope::{ADMIN, PAIRING, READ, ScopeSet, WRITE};

/// What a device's clients will ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asks {
    /// Each of these sets at one time or another.
    Sets(Vec<ScopeSet>),
    /// Nothing in the name of a device: with the shared secret on the gateway's machine, it needs none there.
    NoDevice,
    /// A node asks for no operator scope.
    Node,
    /// Not known for this client.
    Unknown,
}

/// What a client of this id and mode asks for.
#[must_use]
pub fn asks(known: &Known, client_id: &str, client_mode: &str, is_node: bool) -> Asks {
    match (client_id, client_mode) {
        _ if is_node => Asks::Node,
        (_, "probe") | ("openclaw-probe", _) => Asks::Sets(vec![set(&[READ])]),
        // The terminal interface, by its names until and since.
        ("gateway-client", "ui") if known.since(FIRST_PER_COMMAND) == Certainty::Certain => {
            Asks::Sets(vec![set(&TERMINAL)])
        }
        ("openclaw-tui", _) => Asks::Sets(vec![set(&TERMINAL)]),
        ("cli", _) | ("gateway-client", _) | (_, "cli" | "backend") => {
            command_line(known).map_or(Asks::Unknown, Asks::Sets)
        }
        ("openclaw-control-ui" | "webchat-ui" | "webchat", _) | (_, "webchat") => {
            Asks::Sets(vec![page(known)])
        }
        _ => Asks::Unknown,
    }
}

/// The same for this host's own command line and agents, which need no device on some versions.
#[must_use]
pub fn of_host(
    known: &Known,
    client_id: &str,
    client_mode: &str,
    is_node: bool,
    has_secret: bool,
) -> Asks {
    if !is_node && needs_no_device(known, has_secret) {
        return Asks::NoDevice;
    }
    asks(known, client_id, client_mode, is_node)
}

/// Whether this host's own command line shows no device: where there is a shared secret. One that the gateway made up for
/// a run of its own is in no file, and the command line has nothing but its device then (2026.9.6).
#[must_use]
pub fn needs_no_device(known: &Known, has_secret: bool) -> bool {
    has_secret && known.since(FIRST_WITHOUT_DEVICE) == Certainty::Certain
}

/// What a command line asks for on one version or another: for a gateway that does not tell its own.
#[must_use]
pub fn any_command_line() -> Asks {
    Asks::Sets(vec![
        set(&THREE),
        set(&[READ]),
        set(&[WRITE]),
        set(&[ADMIN]),
    ])
}

/// Up to 2026.2.21 most commands ask for three scopes, and others, and the gateway's agents, for that of the one
/// method; 2026.2.26 to 2026.3.24 for five; from 2026.4.21 each command for what it needs.
fn command_line(known: &Known) -> Option<Vec<ScopeSet>> {
    let single = [set(&[READ]), set(&[WRITE]), set(&[ADMIN])];
    if known.until(LAST_THREE) == Certainty::Certain {
        return Some([vec![set(&THREE)], single.to_vec()].concat());
    }
    if known.within(FIRST_FIVE, LAST_FIVE) == Certainty::Certain {
        return Some(vec![set(&FIVE)]);
    }
    if known.since(FIRST_PER_COMMAND) == Certainty::Certain {
        let pairing = set(&[PAIRING]);
        return Some([single.to_vec(), vec![pairing]].concat());
    }
    None
}

/// What the shipped Control UI asks for: three scopes up to 2026.3.13, then five, from 2026.8 six.
fn page(known: &Known) -> ScopeSet {
    if known.until(LAST_NARROW_PAGE) == Certainty::Certain {
        set(&THREE)
    } else if known.since(FIRST_WIDE_PAGE) == Certainty::Certain {
        set(&FIVE).union(&set(&["operator.questions"]))
    } else {
        set(&FIVE)
    }
}

impl Asks {
    /// The scopes that the device has to be approved for, so that none of its clients is refused.
    #[must_use]
    pub fn needed(&self) -> ScopeSet {
        match self {
            Self::Sets(sets) => sets.iter().fold(ScopeSet::new(), |all, set| all.union(set)),
            Self::NoDevice | Self::Node | Self::Unknown => ScopeSet::new(),
        }
    }

    /// The same in words.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::Sets(sets) => {
                let (single, several): (Vec<_>, Vec<_>) =
                    sets.iter().partition(|set| set.iter().count() == 1);
                let mut parts: Vec<String> = several
                    .iter()
                    .map(|set| format!("{set} together"))
                    .collect();
                let names: Vec<String> = single.iter().map(ToString::to_string).collect();
                match names.split_last() {
                    Some((only, [])) => parts.push(format!("{only} alone")),
                    Some((last, rest)) => {
                        parts.push(format!("{} or {last} alone", rest.join(", ")))
                    }
                    None => {}
                }
                parts.join("; ")
            }
            Self::NoDevice => {
                "nothing in its name: with the shared secret this host needs no device".to_owned()
            }
            Self::Node => "no operator scope: it is a node".to_owned(),
            Self::Unknown => "not known for this client and version".to_owned(),
        }
    }
}

/// Whether the gateway refuses a device with these approved scopes that asks for this set, though their closure covers
/// it: literally up to 2026.2.19; on 2026.2.21 `operator.read` is covered by admin and write, the rest is literal.
#[must_use]
pub fn refused_literally(known: &Known, approved: &ScopeSet, asked: &ScopeSet) -> Certainty {
    if !approved.implies_all(asked) || approved.names_all(asked) {
        return Certainty::No;
    }
    let only_read = asked
        .iter()
        .all(|scope| approved.names(scope) || scope == READ);
    known.until(if only_read {
        LAST_FULLY_LITERAL
    } else {
        LAST_THREE
    })
}

fn set(names: &[&str]) -> ScopeSet {
    names.iter().copied().collect()
}

const THREE: [&str; 3] = [ADMIN, "operator.approvals", PAIRING];
/// 2026.9.6.
const TERMINAL: [&str; 4] = [ADMIN, READ, WRITE, "operator.approvals"];
const FIVE: [&str; 5] = [ADMIN, READ, WRITE, "operator.approvals", PAIRING];
const LAST_FULLY_LITERAL: Version = Version::v2026(2, 20);
const LAST_THREE: Version = Version::v2026(2, 21);
const FIRST_FIVE: Version = Version::v2026(2, 22);
const LAST_FIVE: Version = Version::v2026(4, 20);
const FIRST_PER_COMMAND: Version = Version::v2026(4, 21);
const FIRST_WITHOUT_DEVICE: Version = Version::v2026(7, 1);
const LAST_NARROW_PAGE: Version = Version::v2026(3, 23);
const FIRST_WIDE_PAGE: Version = Version::v2026(8, 0);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(version: Version) -> Known {
        Known {
            exact: Some((version, "a test".into())),
            ..Known::default()
        }
    }

    #[test]
    fn each_client_asks_for_what_its_release_asks_for() {
        let table = [
            (
                (2, 19),
                "cli",
                "cli",
                "admin, approvals, pairing together; read, write or admin alone",
            ),
            (
                (2, 21),
                "gateway-client",
                "backend",
                "admin, approvals, pairing together; read, write or admin alone",
            ),
            (
                (2, 26),
                "cli",
                "cli",
                "admin, approvals, pairing, read, write together",
            ),
            (
                (3, 24),
                "cli",
                "cli",
                "admin, approvals, pairing, read, write together",
            ),
            ((4, 21), "cli", "cli", "read, write, admin or pairing alone"),
            ((9, 6), "cli", "cli", "read, write, admin or pairing alone"),
            (
                (3, 13),
                "openclaw-control-ui",
                "webchat",
                "admin, approvals, pairing together",
            ),
            (
                (6, 11),
                "openclaw-control-ui",
                "webchat",
                "admin, approvals, pairing, read, write together",
            ),
            (
                (9, 6),
                "openclaw-control-ui",
                "webchat",
                "admin, approvals, pairing, questions, read, write together",
            ),
            ((9, 6), "cli", "probe", "read alone"),
            (
                (9, 6),
                "openclaw-tui",
                "ui",
                "admin, approvals, read, write together",
            ),
            (
                (9, 6),
                "openclaw-ios",
                "ui",
                "not known for this client and version",
            ),
        ];
        for ((month, patch), id, mode, expected) in table {
            let known = at(Version::v2026(month, patch));
            assert_eq!(
                asks(&known, id, mode, false).words(),
                expected,
                "{month}.{patch} {id}"
            );
        }
        let unknown = asks(&Known::default(), "cli", "cli", false);
        assert_eq!(unknown, Asks::Unknown);
    }

    #[test]
    fn the_hosts_own_command_line_needs_no_device_from_2026_7_1() {
        assert_eq!(
            of_host(&at(Version::v2026(7, 1)), "cli", "cli", false, true),
            Asks::NoDevice
        );
        assert_ne!(
            of_host(&at(Version::v2026(9, 6)), "cli", "cli", false, false),
            Asks::NoDevice,
            "without a secret its device is all that it has"
        );
        assert_ne!(
            of_host(&at(Version::v2026(6, 11)), "cli", "cli", false, true),
            Asks::NoDevice
        );
        assert_eq!(
            of_host(&at(Version::v2026(2, 19)), "node-host", "node", true, true),
            Asks::Node
        );
    }

    #[test]
    fn literal_gateways_refuse_what_the_closure_covers() {
        let legacy = set(&THREE);
        let table = [
            (Version::v2026(2, 19), READ, Certainty::Certain),
            (Version::v2026(2, 19), WRITE, Certainty::Certain),
            (Version::v2026(2, 19), ADMIN, Certainty::No),
            (Version::v2026(2, 21), READ, Certainty::No),
            (Version::v2026(2, 21), WRITE, Certainty::Certain),
            (Version::v2026(2, 26), WRITE, Certainty::No),
        ];
        for (version, scope, expected) in table {
            let refused = refused_literally(&at(version), &legacy, &set(&[scope]));
            assert_eq!(refused, expected, "{version} {scope}");
        }
        let narrow = refused_literally(&at(Version::v2026(2, 19)), &set(&[READ]), &set(&[WRITE]));
        assert_eq!(narrow, Certainty::No, "an upgrade is another matter");
    }
}
