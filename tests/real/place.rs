//! A fresh gateway in a home of its own and, in one of the two columns, the shim in front of it.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use scope_shim::demo::npm::process::{Output, run_to_end};
use scope_shim::demo::npm::{Credential, GatewayOptions, Installed, RealGateway};
use serde_json::Value;
use tempfile::TempDir;

use crate::Result;
use crate::agents;
use crate::shim::{self, Shim};

/// How the clients of a place reach its gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    Direct,
    Shimmed,
}

impl Column {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Shimmed => "through the shim",
        }
    }
}

/// A home and two ports in which gateways and shims can be started. What runs here ends with it.
pub(crate) struct Place {
    pub(crate) installed: Installed,
    pub(crate) gateway_port: u16,
    pub(crate) shim_port: u16,
    home: TempDir,
}

impl Place {
    pub(crate) fn new(installed: &Installed) -> Result<Self> {
        let keep = std::env::var_os("SCOPE_SHIM_REAL_KEEP").is_some();
        let home = tempfile::Builder::new()
            .prefix(&format!("scope-shim-real-{}-", installed.version))
            .disable_cleanup(keep)
            .tempdir()?;
        if keep {
            println!("{}: {}", installed.version, home.path().display());
        }
        Ok(Self {
            installed: installed.clone(),
            gateway_port: free_port()?,
            shim_port: free_port()?,
            home,
        })
    }

    pub(crate) fn start_gateway(&self, environment: Vec<(String, String)>) -> Result<RealGateway> {
        let options = GatewayOptions {
            environment,
            ..self.options()
        };
        Ok(RealGateway::start(&self.installed, options)?)
    }

    /// Starts the gateway with these settings laid over its own.
    pub(crate) fn start_gateway_with(
        &self,
        environment: Vec<(String, String)>,
        settings: Value,
    ) -> Result<RealGateway> {
        self.start_gateway_as(self.options().credential, environment, settings)
    }

    /// The same, with another secret than usual.
    pub(crate) fn start_gateway_as(
        &self,
        credential: Credential,
        environment: Vec<(String, String)>,
        settings: Value,
    ) -> Result<RealGateway> {
        let options = GatewayOptions {
            credential,
            environment,
            settings,
            ..self.options()
        };
        Ok(RealGateway::start(&self.installed, options)?)
    }

    /// Where everything of this place is.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// Configures the gateway without starting it.
    pub(crate) fn prepare_gateway(&self) -> Result<()> {
        Ok(self.options().prepare(&self.installed.version)?)
    }

    fn options(&self) -> GatewayOptions {
        GatewayOptions {
            home: self.home.path().to_owned(),
            port: self.gateway_port,
            credential: Credential::Token(TOKEN.to_owned()),
            settings: agents::settings(&self.installed),
            environment: Vec::new(),
        }
    }

    pub(crate) fn start_shim(&self) -> Result<Shim> {
        self.start_shim_with(&[])
    }

    /// Starts the shim with these variables in its environment.
    pub(crate) fn start_shim_with(&self, environment: &[(&str, &str)]) -> Result<Shim> {
        Shim::start(self.shim_settings()?, environment)
    }

    /// The settings of the shim of this place, which may run or not.
    pub(crate) fn shim_settings(&self) -> Result<shim::Settings> {
        let data = self.home.path().join("shim");
        fs::create_dir_all(&data)?;
        Ok(shim::Settings {
            port: self.shim_port,
            gateway_port: self.gateway_port,
            gateway_state: self.home.path().join(".openclaw"),
            data,
            file: None,
        })
    }

    /// Writes `script` here and runs it with this version's Node.
    pub(crate) fn run_script(
        &self,
        name: &str,
        script: &str,
        arguments: &[&str],
        limit: Duration,
    ) -> Result<Output> {
        let file = self.home.path().join(name);
        fs::write(&file, script)?;
        let mut command = Command::new(self.installed.node.join("node"));
        command
            .arg(file)
            .arg(self.installed.package())
            .args(arguments)
            .env("HOME", self.home.path());
        Ok(run_to_end(&mut command, self.home.path(), limit)?)
    }
}

/// The secret that every gateway of the suite shares with its clients.
pub(crate) const TOKEN: &str = "a-token-for-the-real-gateways";

/// A port that nobody listens on, far enough from the next one: a gateway opens ports above its own as well.
pub(crate) fn free_port() -> Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(22_000);
    loop {
        let port = NEXT.fetch_add(20, Ordering::Relaxed);
        if port >= FIRST_OF_THE_SYSTEM {
            return Err(format!("no free port below {FIRST_OF_THE_SYSTEM}").into());
        }
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
}

/// From here on systems hand out ports to whoever connects.
const FIRST_OF_THE_SYSTEM: u16 = 32_000;
