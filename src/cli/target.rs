//! The running shim that a command speaks with: found also when its configuration cannot be used any more.

use std::path::Path;

use super::Settings;
use crate::admin::{Client, ClientError};
use crate::app::Failure;
use crate::config::{Config, Environment, Problems};

/// The shim that is meant.
#[derive(Debug)]
pub struct Target {
    /// What it would start with now.
    pub configs: Result<Vec<Config>, Problems>,
    client: Option<Client>,
}

/// Why a command came to nothing.
#[derive(Debug)]
pub enum Missed {
    /// There is no shim to speak with, and no configuration to go by.
    Configuration(Problems),
    /// The shim does not do it.
    Shim(ClientError),
    /// What it said could not be passed on.
    Failed(Failure),
}

impl Target {
    /// The shim with these settings.
    #[must_use]
    pub fn of(settings: &Settings) -> Self {
        let (file, flags) = (settings.config.as_deref(), settings.flags());
        let environment = Environment::of_process();
        let configs = Config::load_all(file, &flags, &environment);
        let client = match configs.as_deref() {
            Ok([first, ..]) => Some(Client::new(first)),
            _ => Config::way_in(file, &flags, &environment)
                .map(|(data, admin)| Client::of(&admin, &data)),
        };
        Self { configs, client }
    }

    /// Why the configuration cannot be used, where there is a shim all the same.
    #[must_use]
    pub fn broken(&self) -> Option<&Problems> {
        let known = self.client.is_some();
        self.configs.as_ref().err().filter(|_| known)
    }

    /// Where the shim's own data is.
    #[must_use]
    pub fn data(&self) -> Option<&Path> {
        self.client.as_ref().map(Client::data)
    }

    /// The shim; where nothing tells where it would be, the problems of the configuration say why.
    ///
    /// # Errors
    ///
    /// The configuration's.
    pub fn client(&self) -> Result<&Client, Missed> {
        match (&self.client, &self.configs) {
            (Some(client), _) => Ok(client),
            (None, Err(problems)) => Err(Missed::Configuration(problems.clone())),
            (None, Ok(_)) => Err(Missed::Configuration(Problems(Vec::new()))),
        }
    }

    /// Why an attempt to speak with it failed: where it does not run, a configuration that cannot be used says more.
    #[must_use]
    pub fn missed(&self, error: ClientError) -> Missed {
        match (&error, &self.configs) {
            (ClientError::NotRunning { .. }, Err(problems)) => {
                Missed::Configuration(problems.clone())
            }
            _ => Missed::Shim(error),
        }
    }
}
