//! A shim that runs on this machine, but not where a command that names no place looks for it.
//!
//! What a refused client is told has room for `scope-shim approve <id>` and no more. Where the shim was started with
//! `--data` or `--config`, the bare command would find no shim, make a key of its own, and pair it: a second device of
//! the shim at the gateway, which nobody asked for. So it does nothing, and tells the command that means the one that runs.
//!
//! Which ones run is told by the kernel, on Linux. What processes of other users say of themselves
//! is only ever part of a command that runs as that user: whoever pastes it lends them no power.

use std::path::{Path, PathBuf};

use clap::Parser as _;

use super::{Cli, Command, Settings, Target};
use crate::admin::ClientError;
use crate::config::{Config, Environment};
use crate::invocation::Invocation;

/// Why the command of this process is not carried out: it names no shim, none answers where it looks, and others run.
pub async fn objection(settings: &Settings) -> Option<String> {
    let environment = Environment::of_process();
    if settings.names_a_place(&environment) {
        return None;
    }
    let target = Target::of(settings);
    let data = target.data()?;
    let asked = target.client().ok()?.get("/live").await;
    if !matches!(asked, Err(ClientError::NotRunning { .. })) {
        return None;
    }
    let others = others(data, &environment);
    let words: Vec<String> = std::env::args().skip(1).collect();
    (!others.is_empty()).then(|| text(&others, data, &words))
}

fn text(others: &[Other], data: &Path, words: &[String]) -> String {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let usual = Invocation::of_flags([(DATA, data.display().to_string())]);
    let mut text = format!(
        "nothing was done: no scope-shim answers with the usual data directory {}, but one runs otherwise; run:",
        data.display()
    );
    for other in others {
        let command = other.shim.command(&words);
        let line = match &other.whose {
            Whose::Own => command,
            Whose::User(user) => {
                format!("sudo -H -u {} {command}", crate::invocation::quoted(user))
            }
            Whose::Container => format!("{command}    in the container"),
        };
        text.push_str(&format!("\n  {line}    (process {})", other.pid));
    }
    text.push_str(&format!(
        "\nor, if the usual one is meant: {}",
        usual.command(&words)
    ));
    text
}

/// A shim that runs, and how a command reaches it.
#[derive(Debug)]
struct Other {
    pid: u32,
    whose: Whose,
    shim: Invocation,
}

#[derive(Debug, PartialEq, Eq)]
enum Whose {
    Own,
    /// As `sudo -u` takes it.
    User(String),
    /// What it names are paths of its own.
    Container,
}

impl Settings {
    /// Whether they say which shim is meant.
    fn names_a_place(&self, environment: &Environment) -> bool {
        let variables = ["SCOPE_SHIM_CONFIG", "SCOPE_SHIM_DATA"];
        let by_variable = || variables.iter().any(|name| environment.get(name).is_some());
        self.config.is_some() || self.data.is_some() || by_variable()
    }

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

/// Those that do not keep their data in `data`.
fn others(data: &Path, environment: &Environment) -> Vec<Other> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let pids = pids.filter(|pid| *pid != std::process::id());
    let mut others: Vec<Other> = pids
        .filter_map(|pid| Process::of(pid)?.elsewhere(data, environment))
        .collect();
    // One that waits for its last sessions is told of what changes by the one that took its place.
    others.sort_by_key(|other| std::cmp::Reverse(other.pid));
    others.dedup_by(|other, one| other.shim == one.shim && other.whose == one.whose);
    others
}

/// A process that began as `scope-shim run`, in `/proc`.
struct Process {
    pid: u32,
    place: PathBuf,
    user: u32,
    settings: Settings,
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

    fn elsewhere(&self, data: &Path, environment: &Environment) -> Option<Other> {
        let bare = || self.settings.way(&Environment::default(), None);
        let (whose, way) = if self.is_contained() {
            (Whose::Container, bare())
        } else if self.user != rustix::process::geteuid().as_raw() {
            (Whose::User(user_name(self.user)), bare())
        } else {
            (Whose::Own, self.way_of_own(data, environment)?)
        };
        Some(Other {
            pid: self.pid,
            whose,
            shim: Invocation::of_flags(way),
        })
    }

    /// `None` where it is the shim of this very place, or of another home: what is usual there is usual for nobody here.
    fn way_of_own(&self, data: &Path, here: &Environment) -> Option<Vec<(&'static str, String)>> {
        let variables = strings(&self.place.join("environ")).unwrap_or_default();
        let variables = variables
            .iter()
            .filter_map(|variable| variable.split_once('='));
        let environment = Environment::from_iter(variables);
        if environment
            .home()
            .is_some_and(|home| Some(home) != here.home())
        {
            return None;
        }
        let directory = std::fs::read_link(self.place.join("cwd")).ok();
        let way = self.settings.way(&environment, directory.as_deref());
        let said = |flag| way.iter().find(|(given, _)| *given == flag);
        let theirs = match said(DATA) {
            Some((_, data)) => Some(PathBuf::from(data)),
            None => {
                let file = said("--config").map(|(_, file)| PathBuf::from(file));
                Config::data_of(file.as_deref(), &[], here)
            }
        };
        (theirs.as_deref() != Some(data)).then_some(way)
    }

    /// Whether what it calls a path may be another file here.
    fn is_contained(&self) -> bool {
        let namespace = |process: &Path| std::fs::read_link(process.join("ns/pid")).ok();
        let theirs = namespace(&self.place);
        theirs.is_some() && theirs != namespace(Path::new("/proc/self"))
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

const DATA: &str = "--data";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shim_is_named_by_the_command_that_reaches_it() {
        let other = |pid, whose, flags: &[(&'static str, &str)]| Other {
            pid,
            whose,
            shim: Invocation::of_flags(
                flags
                    .iter()
                    .map(|(flag, value)| (*flag, (*value).to_owned())),
            ),
        };
        let others = [
            other(
                9,
                Whose::Own,
                &[("--data", "/my data"), ("--gateway", "ws://h:1")],
            ),
            other(
                8,
                Whose::User("op".to_owned()),
                &[("--config", "/f\u{1b}.toml")],
            ),
            other(7, Whose::Container, &[]),
        ];
        let words = ["approve", "a-b", "--gateway=ws://h:2"].map(str::to_owned);
        assert_eq!(
            text(&others, Path::new("/home/op/data"), &words),
            "nothing was done: no scope-shim answers with the usual data directory /home/op/data, but one runs otherwise; run:\n\
             \u{20} scope-shim approve a-b --gateway=ws://h:2 --data '/my data'    (process 9)\n\
             \u{20} sudo -H -u op scope-shim approve a-b --gateway=ws://h:2 --config '/f\\u{1b}.toml'    (process 8)\n\
             \u{20} scope-shim approve a-b --gateway=ws://h:2    in the container    (process 7)\n\
             or, if the usual one is meant: scope-shim approve a-b --gateway=ws://h:2 --data /home/op/data"
        );
    }
}
