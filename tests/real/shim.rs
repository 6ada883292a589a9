//! The built `scope-shim`, running.

use std::ffi::OsString;
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use scope_shim::demo::npm::process::{Group, Output, poll, run_to_end};
use tempfile::TempDir;

use crate::Result;

/// Where a shim listens, and the gateway that it stands in front of.
pub(crate) struct Settings {
    pub(crate) port: u16,
    pub(crate) gateway_port: u16,
    pub(crate) gateway_state: PathBuf,
    /// An existing directory.
    pub(crate) data: PathBuf,
    /// A configuration that says all of it, in the place of flags.
    pub(crate) file: Option<PathBuf>,
}

impl Settings {
    fn arguments(&self) -> Vec<OsString> {
        if let Some(file) = &self.file {
            return vec!["--config".into(), file.clone().into()];
        }
        vec![
            "--listen".into(),
            format!("127.0.0.1:{}", self.port).into(),
            "--gateway".into(),
            format!("ws://127.0.0.1:{}", self.gateway_port).into(),
            "--gateway-state".into(),
            self.gateway_state.clone().into(),
            "--data".into(),
            self.data.clone().into(),
        ]
    }

    /// Runs one of the shim's commands that come to an end, whether a shim with these settings runs or not.
    pub(crate) fn command(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = fresh_command()?;
        command.args(arguments).args(self.arguments());
        Ok(run_to_end(&mut command, &self.data, TIME_LIMIT)?)
    }
}

pub(crate) struct Shim {
    group: Group,
    log: PathBuf,
    settings: Settings,
}

impl Shim {
    /// Starts the shim and waits until it accepts connections.
    pub(crate) fn start(settings: Settings, environment: &[(&str, &str)]) -> Result<Self> {
        let port = settings.port;
        let log = settings.data.join("shim.log");
        let output = File::create(&log)?;
        let mut command = fresh_command()?;
        command
            .arg("run")
            .args(settings.arguments())
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        let mut group = Group::spawn(&mut command)?;
        let ready = poll(TIME_TO_LISTEN, || match group.ended() {
            Some(status) => Some(Err(format!("it ended with {status}"))),
            None => TcpStream::connect((Ipv4Addr::LOCALHOST, port))
                .is_ok()
                .then_some(Ok(())),
        });
        let shim = Self {
            group,
            log,
            settings,
        };
        match ready {
            Some(Ok(())) => Ok(shim),
            Some(Err(why)) => {
                Err(format!("the shim did not start: {why}: {}", shim.last_words()).into())
            }
            None => Err(format!("the shim did not listen: {}", shim.last_words()).into()),
        }
    }

    /// Runs one of the shim's other commands with the settings of this one.
    pub(crate) fn command(&self, arguments: &[&str]) -> Result<Output> {
        self.settings.command(arguments)
    }

    /// Everything it has logged so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn last_words(&self) -> String {
        self.log()
            .lines()
            .last()
            .unwrap_or("nothing in its log")
            .to_owned()
    }

    /// Ends it as a crash does.
    pub(crate) fn kill(&mut self) {
        self.group.kill();
    }

    pub(crate) fn stop(mut self) {
        self.group.stop();
    }
}

/// The program, with nothing of the caller's own gateway in its environment.
fn fresh_command() -> Result<Command> {
    let mut command = Command::new(program()?);
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("SCOPE_SHIM_") || name.starts_with("OPENCLAW_") {
            command.env_remove(&*name);
        }
    }
    Ok(command)
}

/// The program that was built with this suite: a copy of it, so that a build in the meantime does not change it.
pub(crate) fn program() -> Result<&'static Path> {
    static COPY: OnceLock<std::result::Result<(TempDir, PathBuf), String>> = OnceLock::new();
    let copy = || -> Result<(TempDir, PathBuf)> {
        let directory = tempfile::tempdir()?;
        let program = directory.path().join("scope-shim");
        fs::copy(env!("CARGO_BIN_EXE_scope-shim"), &program)?;
        Ok((directory, program))
    };
    match COPY.get_or_init(|| copy().map_err(|error| error.to_string())) {
        Ok((_, program)) => Ok(program),
        Err(why) => Err(format!("cannot copy the shim: {why}").into()),
    }
}

const TIME_LIMIT: Duration = Duration::from_secs(60);
const TIME_TO_LISTEN: Duration = Duration::from_secs(20);
