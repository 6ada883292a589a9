//! Processes that began as `scope-shim run`, as the kernel tells of them.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use clap::Parser as _;

use super::DATA;
use crate::cli::{Cli, Command, Settings};
use crate::config::{Config, Environment};
use crate::invocation::Invocation;
use crate::listen::taken;

/// What runs as `scope-shim run` besides this process.
#[derive(Debug, Default)]
pub(super) struct Running {
    /// Those that keep their data where it was looked for, as far as what they were started with tells.
    pub(super) here: Vec<Process>,
    /// The others.
    pub(super) elsewhere: Vec<Other>,
}

/// A shim that runs, and how a command reaches it.
#[derive(Debug)]
pub(super) struct Other {
    pub(super) pid: u32,
    pub(super) whose: Whose,
    pub(super) shim: Invocation,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Whose {
    Own,
    /// As `sudo -u` takes it.
    User(String),
    /// What it names are paths of its own.
    Container,
}

/// A process that began as `scope-shim run`, in `/proc`.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) pid: u32,
    place: PathBuf,
    user: u32,
    settings: Settings,
}

enum Place {
    Here,
    Elsewhere(Other),
    /// Of another home: what is usual there is usual for nobody here.
    Nowhere,
}

impl Running {
    /// Those that run now, told apart by whether they keep their data in `data`.
    pub(super) fn look(data: &Path, environment: &Environment) -> Self {
        let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let pids = pids.filter(|pid| *pid != std::process::id());
        let mut running = Self::default();
        for process in pids.filter_map(Process::of) {
            match process.place(data, environment) {
                Place::Here => running.here.push(process),
                Place::Elsewhere(other) => running.elsewhere.push(other),
                Place::Nowhere => {}
            }
        }
        // One that waits for its last sessions is told of what changes by the one that took its place.
        let others = &mut running.elsewhere;
        others.sort_by_key(|other| std::cmp::Reverse(other.pid));
        others.dedup_by(|other, one| other.shim == one.shim && other.whose == one.whose);
        running
    }
}

impl Settings {
    /// The options that lead to the shim which was started with these settings and variables.
    fn way(
        &self,
        environment: &Environment,
        directory: Option<&Path>,
    ) -> Vec<(&'static str, String)> {
        let path = |value: String| match directory {
            Some(directory) => environment.expand(&value, directory).display().to_string(),
            None => value,
        };
        let variable = |name: &str| environment.get(name).map(str::to_owned);
        let config = self.config.as_ref().map(|file| file.display().to_string());
        let gateway =
            || variable("SCOPE_SHIM_GATEWAY").or_else(|| variable("SCOPE_SHIM_GATEWAY_URL"));
        let state = || variable("SCOPE_SHIM_GATEWAY_STATE");
        let options = [
            (
                "--config",
                config.or_else(|| variable("SCOPE_SHIM_CONFIG")).map(path),
            ),
            (
                DATA,
                self.data
                    .clone()
                    .or_else(|| variable("SCOPE_SHIM_DATA"))
                    .map(path),
            ),
            ("--gateway", self.gateway.clone().or_else(gateway)),
            (
                "--gateway-state",
                self.gateway_state.clone().or_else(state).map(path),
            ),
            ("--gateway-name", self.gateway_name.clone()),
        ];
        let options = options.into_iter();
        options
            .filter_map(|(flag, value)| Some((flag, value?)))
            .collect()
    }
}

impl Process {
    fn of(pid: u32) -> Option<Self> {
        use std::os::unix::fs::MetadataExt as _;
        let place = PathBuf::from(format!("/proc/{pid}"));
        let name = std::fs::read_to_string(place.join("comm")).ok()?;
        let words = (name.trim() == "scope-shim").then(|| strings(&place.join("cmdline")))??;
        let Command::Run(settings) = Cli::try_parse_from(words).ok()?.command else {
            return None;
        };
        Some(Self {
            user: std::fs::metadata(&place).ok()?.uid(),
            pid,
            place,
            settings,
        })
    }

    fn place(&self, data: &Path, here: &Environment) -> Place {
        let bare = || self.settings.way(&Environment::default(), None);
        let (whose, way) = if self.is_contained() {
            (Whose::Container, bare())
        } else if self.user != rustix::process::geteuid().as_raw() {
            (Whose::User(user_name(self.user)), bare())
        } else {
            let environment = self.environment();
            let home = environment.home();
            if home.is_some_and(|home| Some(home) != here.home()) {
                return Place::Nowhere;
            }
            let way = self.way(&environment);
            if keeps_data_in(&way, here).as_deref() == Some(data) {
                return Place::Here;
            }
            (Whose::Own, way)
        };
        Place::Elsewhere(Other {
            pid: self.pid,
            whose,
            shim: Invocation::of_flags(way),
        })
    }

    /// The options that lead to it.
    pub(super) fn invocation(&self) -> Invocation {
        Invocation::of_flags(self.way(&self.environment()))
    }

    fn way(&self, environment: &Environment) -> Vec<(&'static str, String)> {
        let directory = std::fs::read_link(self.place.join("cwd")).ok();
        self.settings.way(environment, directory.as_deref())
    }

    fn environment(&self) -> Environment {
        let variables = strings(&self.place.join("environ")).unwrap_or_default();
        let variables = variables.iter();
        Environment::from_iter(variables.filter_map(|variable| variable.split_once('=')))
    }

    /// Whether it lets clients in: one that begins does not yet, and one that waits for its last sessions does no more.
    pub(super) fn listens(&self) -> bool {
        let tables = ["net/tcp", "net/tcp6"].map(|table| self.place.join(table));
        let listening: HashSet<String> = tables
            .iter()
            .filter_map(|table| std::fs::read_to_string(table).ok())
            .flat_map(|table| taken::listening(&table, None))
            .collect();
        self.open_files().any(|file| listening.contains(&file))
    }

    /// The directories in which it has made sockets, which may have been renamed since.
    pub(super) fn socket_directories(&self) -> Vec<PathBuf> {
        let table = std::fs::read_to_string(self.place.join("net/unix")).unwrap_or_default();
        let open: HashSet<String> = self.open_files().collect();
        // `Num RefCount Protocol Flags Type St Inode Path` (proc_net(5)).
        let bound = table.lines().skip(1).filter_map(|line| {
            let mut columns = line.split_whitespace().skip(6);
            let (inode, path) = (columns.next()?, columns.next()?);
            open.contains(&format!("socket:[{inode}]"))
                .then(|| PathBuf::from(path))
        });
        let mut directories: Vec<PathBuf> = bound
            .filter_map(|path| Some(path.parent()?.parent()?.to_owned()))
            .collect();
        directories.sort();
        directories.dedup();
        directories
    }

    fn open_files(&self) -> impl Iterator<Item = String> {
        let files = std::fs::read_dir(self.place.join("fd"))
            .into_iter()
            .flatten();
        let links = files
            .flatten()
            .filter_map(|file| std::fs::read_link(file.path()).ok());
        links.filter_map(|link| Some(link.to_str()?.to_owned()))
    }

    /// Whether what it calls a path may be another file here.
    fn is_contained(&self) -> bool {
        let namespace = |process: &Path| std::fs::read_link(process.join("ns/pid")).ok();
        let theirs = namespace(&self.place);
        theirs.is_some() && theirs != namespace(Path::new("/proc/self"))
    }
}

/// Where a shim with these options keeps its data.
fn keeps_data_in(way: &[(&'static str, String)], here: &Environment) -> Option<PathBuf> {
    let said = |flag| way.iter().find(|(given, _)| *given == flag);
    match said(DATA) {
        Some((_, data)) => Some(PathBuf::from(data)),
        None => {
            let file = said("--config").map(|(_, file)| PathBuf::from(file));
            Config::data_of(file.as_deref(), &[], here)
        }
    }
}

/// What the kernel ends with a zero byte each.
fn strings(file: &Path) -> Option<Vec<String>> {
    let bytes = std::fs::read(file).ok()?;
    let strings = bytes
        .split(|byte| *byte == 0)
        .filter(|string| !string.is_empty());
    Some(
        strings
            .map(|string| String::from_utf8_lossy(string).into_owned())
            .collect(),
    )
}

/// The name of a user, or what stands for it.
fn user_name(id: u32) -> String {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let row = users
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>());
    let mut own = row.filter(|columns| columns.get(2).is_some_and(|user| *user == id.to_string()));
    let name = own
        .next()
        .and_then(|columns| columns.first().map(ToString::to_string));
    name.unwrap_or_else(|| format!("#{id}"))
}
