//! A real gateway that runs: in a home of its own, on a port of its own, until it is stopped or dropped.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::install::first_on_path;
use super::process::{Group, Output, poll, run_to_end};
use super::{Error, Installed, Version};

/// How a gateway is to be run.
#[derive(Clone, Debug)]
pub struct GatewayOptions {
    /// Its `HOME`; its state goes to `.openclaw` in it. Two gateways must not share one.
    pub home: PathBuf,
    /// The loopback port it listens on.
    pub port: u16,
    /// The secret it shares with its clients.
    pub credential: Credential,
    /// Laid over the configuration it starts with, e.g. `{"gateway": {"trustedProxies": ["127.0.0.2"]}}`.
    pub settings: Value,
    /// Added to its environment.
    pub environment: Vec<(String, String)>,
}

/// The secret a gateway shares with its clients.
#[derive(Clone)]
pub enum Credential {
    /// `gateway.auth.mode` is `token`.
    Token(String),
    /// `gateway.auth.mode` is `password`.
    Password(String),
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Token(_) => "Token(…)",
            Self::Password(_) => "Password(…)",
        })
    }
}

/// A gateway of a real version, running.
pub struct RealGateway {
    installed: Installed,
    options: GatewayOptions,
    group: Group,
}

impl RealGateway {
    /// Starts the gateway and waits until it answers.
    ///
    /// An `openclaw.json` that is already in its state directory is kept: the gateway writes to it too.
    ///
    /// # Errors
    /// When the gateway ends or does not answer in time; the message quotes its last words.
    pub fn start(installed: &Installed, options: GatewayOptions) -> Result<Self, Error> {
        options.prepare(&installed.version)?;
        let mut command = options.node(installed)?;
        let log = File::create(options.log()).map_err(Error::io("create", &options.log()))?;
        let same_log = log
            .try_clone()
            .map_err(Error::io("share", &options.log()))?;
        command
            .args(["gateway", "run", "--port", &options.port.to_string()])
            .stdout(log)
            .stderr(same_log);
        let group =
            Group::spawn(&mut command).map_err(Error::io("run", &installed.node.join("node")))?;

        let mut gateway = Self {
            installed: installed.clone(),
            options,
            group,
        };
        gateway.wait_until_ready()?;
        Ok(gateway)
    }

    fn wait_until_ready(&mut self) -> Result<(), Error> {
        let port = self.options.port;
        let begun = poll(TIME_TO_START, || match self.group.ended() {
            Some(status) => Some(Err(format!("it ended with {status}"))),
            None => is_ready(port).then_some(Ok(())),
        });
        let why = match begun {
            Some(Ok(())) => return Ok(()),
            Some(Err(ended)) => ended,
            None => format!("it did not answer within {} s", TIME_TO_START.as_secs()),
        };
        let log = self.options.log();
        let last = fs::read_to_string(&log).unwrap_or_default();
        let last = last
            .lines()
            .rfind(|line| !line.trim().is_empty())
            .unwrap_or("nothing in its log")
            .trim()
            .to_owned();
        Err(Error::GatewayDidNotStart {
            version: self.installed.version.clone(),
            why: format!("{why} ({last})"),
            log,
        })
    }

    /// Runs this version's own `openclaw` with `arguments` in the gateway's home, talking to `port`: the gateway's own,
    /// or that of a proxy in front of it. A command that takes longer than `limit` is stopped.
    ///
    /// # Errors
    /// When the command cannot be run at all.
    pub fn cli(&self, arguments: &[&str], port: u16, limit: Duration) -> Result<Output, Error> {
        let mut command = self.options.node(&self.installed)?;
        command
            .args(arguments)
            .env("OPENCLAW_GATEWAY_PORT", port.to_string());
        let node = self.installed.node.join("node");
        run_to_end(&mut command, &self.options.home, limit).map_err(Error::io("run", &node))
    }

    /// Stops this gateway's processes and nobody else's, and waits until they are gone.
    pub fn stop(mut self) {
        self.group.stop();
    }

    /// The loopback port it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.options.port
    }

    /// Where its configuration, identities and pairing records are.
    #[must_use]
    pub fn state_directory(&self) -> PathBuf {
        self.options.state_directory()
    }

    /// What it has printed.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.options.log()
    }

    /// The package it runs from.
    #[must_use]
    pub fn installed(&self) -> &Installed {
        &self.installed
    }
}

impl GatewayOptions {
    /// Makes the gateway's state directory and the configuration it will start with, unless they are there already.
    ///
    /// # Errors
    /// When one of them cannot be written.
    pub fn prepare(&self, version: &Version) -> Result<(), Error> {
        let state = self.state_directory();
        fs::create_dir_all(&state).map_err(Error::io("create", &state))?;
        let file = state.join("openclaw.json");
        if file.exists() {
            return Ok(());
        }
        let text = self.configuration(version).to_string();
        fs::write(&file, text).map_err(Error::io("write", &file))
    }

    fn state_directory(&self) -> PathBuf {
        self.home.join(".openclaw")
    }

    fn log(&self) -> PathBuf {
        self.home.join("gateway.log")
    }

    /// That version's program, in this gateway's home, with nothing of the caller's own gateway in its environment.
    fn node(&self, installed: &Installed) -> Result<Command, Error> {
        let scratch = installed.directory.join("tmp");
        fs::create_dir_all(&scratch).map_err(Error::io("create", &scratch))?;
        let mut command = Command::new(installed.node.join("node"));
        command
            .arg(installed.script())
            .stdin(Stdio::null())
            .current_dir(&self.home);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("OPENCLAW_") {
                command.env_remove(name);
            }
        }
        command
            .env("HOME", &self.home)
            .env("OPENCLAW_STATE_DIR", self.state_directory())
            .env("PATH", first_on_path(&installed.node))
            // Compiled code is kept here and shared by all runs of a version, which halves the start of a command.
            .env("TMPDIR", &scratch)
            .env("NO_COLOR", "1")
            .env("OPENCLAW_DISABLE_BONJOUR", "1")
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }

    fn configuration(&self, version: &Version) -> Value {
        let auth = match &self.credential {
            Credential::Token(token) => json!({ "mode": "token", "token": token }),
            Credential::Password(password) => json!({ "mode": "password", "password": password }),
        };
        let mut configuration = json!({
            "gateway": { "mode": "local", "port": self.port, "bind": "loopback", "auth": auth },
            "logging": { "file": self.home.join("openclaw.log") },
            "update": { "checkOnStart": false },
        });
        if !version.is_at_least(2026, 6, 0) {
            // They compile their plugins at the first start, or install what those need, for minutes. No plugin has a
            // part in who may do what.
            configuration["plugins"] = json!({ "enabled": false });
        }
        lay_over(&mut configuration, &self.settings);
        configuration
    }
}

/// Puts every value of `top` over the one at the same place in `bottom`.
fn lay_over(bottom: &mut Value, top: &Value) {
    match (bottom, top) {
        (Value::Object(bottom), Value::Object(top)) => {
            for (key, value) in top {
                lay_over(bottom.entry(key).or_insert(Value::Null), value);
            }
        }
        (_, Value::Null) => {}
        (bottom, top) => *bottom = top.clone(),
    }
}

/// Whether the gateway on `port` says that it is ready. Early versions answer every path, once they listen.
fn is_ready(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(
            format!("GET /ready HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n")
                .as_bytes(),
        )?;
        let mut status = [0; 12];
        stream.read_exact(&mut status)?;
        Ok(&status == b"HTTP/1.1 200")
    };
    ask().unwrap_or(false)
}

const PATIENCE: Duration = Duration::from_secs(3);

/// A cold start takes a few seconds of work, and minutes where others keep the machine busy.
const TIME_TO_START: Duration = Duration::from_secs(240);

#[cfg(test)]
mod tests {
    use super::*;

    fn options(settings: Value) -> GatewayOptions {
        GatewayOptions {
            home: PathBuf::from("/home"),
            port: 18789,
            credential: Credential::Token("secret".to_owned()),
            settings,
            environment: Vec::new(),
        }
    }

    #[test]
    fn settings_lie_over_the_configuration() -> Result<(), Error> {
        let settings = json!({ "gateway": { "trustedProxies": ["127.0.0.2"], "port": 1 } });
        let configuration = options(settings).configuration(&"2026.3.13".parse()?);
        assert_eq!(
            configuration["gateway"]["trustedProxies"],
            json!(["127.0.0.2"])
        );
        assert_eq!(configuration["gateway"]["port"], json!(1));
        assert_eq!(configuration["gateway"]["auth"]["token"], json!("secret"));
        Ok(())
    }

    #[test]
    fn plugins_are_off_where_they_delay_the_start() -> Result<(), Error> {
        let plugins = |text: &str| {
            text.parse()
                .map(|version| options(Value::Null).configuration(&version)["plugins"].clone())
        };
        assert_eq!(plugins("2026.5.7")?["enabled"], json!(false));
        assert!(plugins("2026.6.11")?.is_null());
        Ok(())
    }

    #[test]
    fn a_secret_does_not_show_in_debug_output() {
        assert!(!format!("{:?}", options(Value::Null)).contains("secret"));
    }
}
