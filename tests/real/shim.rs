//! The built `scope-shim`, running.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use scope_shim::demo::npm::process::{Group, poll};
use tempfile::TempDir;

use crate::Result;

pub(crate) struct Shim {
    group: Group,
    log: PathBuf,
}

impl Shim {
    /// Starts the shim and waits until it accepts connections.
    pub(crate) fn start(
        port: u16,
        gateway_port: u16,
        gateway_state: &Path,
        data: &Path,
    ) -> Result<Self> {
        let log = data.join("shim.log");
        let output = File::create(&log)?;
        let mut command = Command::new(program()?);
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("SCOPE_SHIM_") || name.starts_with("OPENCLAW_") {
                command.env_remove(&*name);
            }
        }
        command
            .args([
                "run",
                "--listen",
                &format!("127.0.0.1:{port}"),
                "--gateway",
                &format!("ws://127.0.0.1:{gateway_port}"),
            ])
            .arg("--gateway-state")
            .arg(gateway_state)
            .arg("--data")
            .arg(data)
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
        let shim = Self { group, log };
        match ready {
            Some(Ok(())) => Ok(shim),
            Some(Err(why)) => {
                Err(format!("the shim did not start: {why}: {}", shim.last_words()).into())
            }
            None => Err(format!("the shim did not listen: {}", shim.last_words()).into()),
        }
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

    pub(crate) fn stop(mut self) {
        self.group.stop();
    }
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

const TIME_TO_LISTEN: Duration = Duration::from_secs(20);
