//! Whose word leads a port of this machine elsewhere: nobody's who could not do so without the shim.
//!
//! The shim's user may be the gateway's, and run what that gateway's agents ask for. A port that stands in a file of that
//! user is therefore no word of root's, who changes the kernel's rules.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::config::{Config, Origin, Problem, Problems};

/// Whoever gave the command, where that is a person and not a unit of root's. The ports are printed to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Person {
    /// The user's id.
    pub user: u32,
    /// That of the group that their files belong to.
    pub group: u32,
}

impl Person {
    /// Whoever became root by sudo, or a user who is not root at all; nobody where root itself gave the command.
    #[must_use]
    pub fn of_process() -> Option<Self> {
        let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
        if !user.is_root() {
            let (user, group) = (user.as_raw(), group.as_raw());
            return Some(Self { user, group });
        }
        let number = |name| std::env::var(name).ok()?.parse().ok();
        Some(Self {
            user: number("SUDO_UID")?,
            group: number("SUDO_GID")?,
        })
    }
}

/// The same configurations, where root, or the person who gave the command, wrote which port leads where.
///
/// # Errors
///
/// A port that somebody else could have written, and where to write it instead.
pub fn vouched(configs: Vec<Config>, person: Option<Person>) -> Result<Vec<Config>, Problems> {
    let mut problems = Vec::new();
    for key in ["listen", "gateway.url"] {
        let origins = configs.iter().map(|config| config.origin(key));
        for problem in origins.filter_map(|origin| doubt(key, origin, person)) {
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
    }
    match problems.is_empty() {
        true => Ok(configs),
        false => Err(Problems(problems)),
    }
}

fn doubt(key: &str, origin: Origin, person: Option<Person>) -> Option<Problem> {
    let (why, hint) = match &origin {
        Origin::Flag(_) | Origin::Variable(_) | Origin::Default => return None,
        Origin::Discovery(_) if person.is_some() => return None,
        Origin::Discovery(_) => (
            "the gateway's own user could have root redirect any port of this machine by what stands there".to_owned(),
            "write url = \"ws://127.0.0.1:18789\" under [gateway] in a configuration that only root can change, or give \
             --gateway"
                .to_owned(),
        ),
        Origin::File { path, .. } => {
            let place = changed_by_others(path, person)?;
            (
                format!(
                    "{} can be changed by others than root, who could have root redirect any port of this machine",
                    place.display()
                ),
                "let the configuration, and every directory above it, belong to root and be writable by nobody else, or \
                 give --listen and --gateway"
                    .to_owned(),
            )
        }
    };
    Some(Problem {
        origin,
        message: format!("`{key}`: {why}"),
        hint: Some(hint),
    })
}

/// The file, or a directory on the way to it, that somebody else could put something else into, or that cannot be seen.
fn changed_by_others(path: &Path, person: Option<Person>) -> Option<PathBuf> {
    let named = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    // Beside what the name leads to, the links on the way.
    let Ok(real) = fs::canonicalize(path) else {
        return Some(named);
    };
    let places: BTreeSet<&Path> = named.ancestors().chain(real.ancestors()).collect();
    let loose = |place: &&&Path| !is_sealed(place, person);
    places.iter().rfind(loose).map(|place| place.to_path_buf())
}

fn is_sealed(place: &Path, person: Option<Person>) -> bool {
    let Ok(metadata) = fs::metadata(place) else {
        return false;
    };
    let is_persons = person.is_some_and(|person| metadata.uid() == person.user);
    // Where every user has a group of their own, what they write is the group's as well.
    let of_persons = person.is_some_and(|person| metadata.gid() == person.group);
    let others = if of_persons { WORLD } else { WORLD | GROUP };
    // In a directory such as /tmp nobody replaces what is another's.
    let keeps_apart = metadata.is_dir() && metadata.mode() & STICKY != 0;
    (metadata.uid() == ROOT || is_persons) && (metadata.mode() & others == 0 || keeps_apart)
}

const ROOT: u32 = 0;
const GROUP: u32 = 0o020;
const WORLD: u32 = 0o002;
const STICKY: u32 = 0o1000;

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

    use super::*;

    const ALICE: Person = Person {
        user: 64_321,
        group: 64_321,
    };

    fn own() -> Option<Person> {
        Some(Person {
            user: rustix::process::geteuid().as_raw(),
            group: rustix::process::getegid().as_raw(),
        })
    }

    fn origin(path: &Path) -> Origin {
        Origin::File {
            path: path.to_owned(),
            line: 1,
            column: 1,
        }
    }

    #[test]
    fn what_the_gateways_files_tell_is_no_word_of_a_unit_of_roots() {
        let found = || Origin::Discovery("/home/alice/.openclaw/openclaw.json".to_owned());
        let refused = doubt("gateway.url", found(), None).unwrap().to_string();
        assert!(
            refused.contains("write url = \"ws://127.0.0.1:18789\" under [gateway]"),
            "{refused}"
        );
        assert_eq!(doubt("gateway.url", found(), Some(ALICE)), None);
        for said in [Origin::Flag("--gateway"), Origin::Default] {
            assert_eq!(doubt("gateway.url", said, None), None);
        }
    }

    #[test]
    fn a_file_that_others_can_change_is_nobodys_word() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("scope-shim.toml");
        fs::write(&file, "").unwrap();
        let open = |place: &Path, mode| {
            fs::set_permissions(place, fs::Permissions::from_mode(mode)).unwrap();
        };
        open(&file, 0o644);
        assert_eq!(doubt("listen", origin(&file), own()), None);
        open(&file, 0o646);
        let refused = doubt("listen", origin(&file), own()).unwrap();
        let part = format!("{} can be changed by others", file.display());
        assert!(refused.message.contains(&part), "{refused}");
        open(&file, 0o644);
        open(dir.path(), 0o757);
        assert_eq!(
            changed_by_others(&file, own()),
            Some(dir.path().to_owned()),
            "whoever writes there puts another file in its place"
        );
    }

    #[test]
    fn the_file_of_the_person_who_gave_the_command_is_their_word_and_nobody_elses() {
        let dir = tempfile::tempdir().unwrap();
        let hers = dir.path().join("alice");
        let file = hers.join("scope-shim.toml");
        fs::create_dir(&hers).unwrap();
        fs::write(&file, "").unwrap();
        for place in [&hers, &file] {
            if chown(place, Some(ALICE.user), Some(ALICE.group)).is_err() {
                // Only root can give something away.
                return;
            }
        }
        assert_eq!(changed_by_others(&file, Some(ALICE)), None);
        assert_eq!(changed_by_others(&file, None), Some(file.clone()));
        let roots = dir.path().join("roots.toml");
        fs::write(&roots, "").unwrap();
        assert_eq!(changed_by_others(&roots, None), None);
        let link = hers.join("link.toml");
        symlink(&roots, &link).unwrap();
        assert_eq!(
            changed_by_others(&link, None),
            Some(hers),
            "she chooses which of root's files it leads to"
        );
    }
}
