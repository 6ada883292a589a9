//! What the process gives up at its start, so that a hole in it is worth less: to write anywhere but where its own data is,
//! and to leave its memory behind in a file.
//!
//! Landlock holds for the thread that asks for it and for whatever that starts, so that it is asked for before there is any
//! other, and a process that takes over in an upgrade has it, too: [`beyond`] and [`explained`] say so where that is in the way.
//!
//! Reading is not confined: the gateway's state directory, certificates and their links may be replaced as a whole while the
//! shim runs, and a rule holds for the directory that was there when it was made. Under systemd the unit does that instead,
//! which knows the place and not the directory. What is read only may still be locked: SQLite reads the gateway's database as it
//! does for a user who may not write to it (see [`crate::identity::store`]).

use crate::config::{Config, Problem, Sandbox};

/// Sees to it that the kernel writes no memory of this process, with its keys and tokens, to a file or to a program that
/// collects such files.
///
/// A limit of one byte is what the kernel takes for that in both cases (`fs/coredump.c`); with zero it would still feed a
/// program. Where the limit cannot be set, a service manager keeps it from being set.
#[cfg(unix)]
pub fn leave_no_memory_behind() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let limit = Rlimit {
        current: Some(1),
        maximum: Some(1),
    };
    if setrlimit(Resource::Core, limit).is_err() {
        // A lower one can never be raised.
        let limit = Rlimit {
            current: Some(0),
            maximum: Some(0),
        };
        let _ = setrlimit(Resource::Core, limit);
    }
}

/// Nothing is known here that would have to be done.
#[cfg(not(unix))]
pub fn leave_no_memory_behind() {}

/// Lets this process, and all that it starts, write nowhere but in the directories of these configurations. To be called before
/// it starts a thread.
///
/// Where the kernel cannot, it says so and goes on.
pub fn to_own_directories(configs: &[Config]) {
    if configs.first().map(|config| config.sandbox) == Some(Sandbox::Auto) {
        crate::listen::look_who_listens(configs.iter().map(|config| config.listen));
        system::confine(system::own_directories(configs));
    }
}

/// What a configuration needs and this process gave up at its start.
#[must_use]
pub fn beyond(config: &Config) -> Option<Problem> {
    if system::may_write_below(&config.data) {
        return None;
    }
    let key = match config.origin("gateway.data") {
        crate::config::Origin::Default => "data",
        _ => "gateway.data",
    };
    Some(Problem {
        origin: config.origin(key),
        message: format!(
            "`{key}`: {} was not in the configuration when this process confined itself to its own directories",
            config.data.display()
        ),
        hint: Some(REMEDY.to_owned()),
    })
}

/// Why a process did not come to serve that this one started, which is as confined as this one.
#[must_use]
pub fn explained(why: String) -> String {
    if system::is_confined() && why.contains(DENIED) {
        return format!(
            "{why}; this process, and whatever it starts, may write in its own directories alone: {REMEDY}"
        );
    }
    why
}

/// What the text of the system's error ends with.
const DENIED: &str = "(os error 13)";
const REMEDY: &str =
    "stop scope-shim and start it again, or set sandbox = \"off\" before its next start";

#[cfg(target_os = "linux")]
mod system {
    use std::path::{Path, PathBuf};
    use std::sync::OnceLock;

    use landlock::{
        ABI, AccessFs, BitFlags, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _,
        RulesetCreatedAttr as _, RulesetError, path_beneath_rules,
    };
    use tracing::{debug, info};

    use crate::config::Config;
    use crate::private;
    use crate::text::safe;

    /// The directories of the process itself, with those made that are not there yet.
    pub(super) fn own_directories(configs: &[Config]) -> Vec<PathBuf> {
        let mut directories = Vec::new();
        for config in configs {
            let socket = config.admin.socket.as_deref().and_then(Path::parent);
            for directory in [Some(&*config.base), Some(&*config.data), socket] {
                let Some(directory) = directory else { continue };
                // Whoever needs it says what is wrong with it.
                let _ = private::directory(directory);
                if let Ok(directory) = directory.canonicalize()
                    && !directories.contains(&directory)
                {
                    directories.push(directory);
                }
            }
        }
        directories
    }

    pub(super) fn confine(directories: Vec<PathBuf>) {
        if let Err(error) = restrict(&directories) {
            info!("not confined to its own directories, which this kernel cannot do: {error}");
            return;
        }
        let shown: Vec<_> = directories
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        debug!(
            "confined: nothing is written outside of {}",
            safe(&shown.join(", "))
        );
        let _ = CONFINED_TO.set(directories);
    }

    /// A kernel that cannot let files move between directories within a confinement is no good: that is how the admin socket
    /// comes to be.
    fn restrict(directories: &[PathBuf]) -> Result<(), RulesetError> {
        let writing: BitFlags<AccessFs> = AccessFs::from_write(ABI::V3);
        Ruleset::default()
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(AccessFs::Refer)?
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(writing)?
            .create()?
            .add_rules(path_beneath_rules(directories, writing))?
            .add_rules(path_beneath_rules(["/dev/null"], writing))?
            .restrict_self()?;
        Ok(())
    }

    pub(super) fn is_confined() -> bool {
        CONFINED_TO.get().is_some()
    }

    pub(super) fn may_write_below(path: &Path) -> bool {
        let Some(directories) = CONFINED_TO.get() else {
            return true;
        };
        let mut places = path
            .ancestors()
            .filter_map(|place| place.canonicalize().ok());
        let place = places.next();
        place.is_some_and(|place| directories.iter().any(|own| place.starts_with(own)))
    }

    /// It is the process that is confined, once and until its end.
    static CONFINED_TO: OnceLock<Vec<PathBuf>> = OnceLock::new();
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::path::{Path, PathBuf};

    use crate::config::Config;

    pub(super) fn own_directories(_configs: &[Config]) -> Vec<PathBuf> {
        Vec::new()
    }

    pub(super) fn confine(_directories: Vec<PathBuf>) {}

    pub(super) fn is_confined() -> bool {
        false
    }

    pub(super) fn may_write_below(_path: &Path) -> bool {
        true
    }
}
