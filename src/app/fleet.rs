//! What the shim stands before, as a whole: its gateways, and the doors that lead to them. A reload puts another in its
//! place, in one step.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::config::Config;
use crate::served::{Door, Served};

/// The gateways and the doors to them.
#[derive(Clone, Debug, Default)]
pub struct Fleet {
    /// The configurations that hold, one for each gateway.
    pub configs: Arc<Vec<Config>>,
    /// The gateways, in the order of the configuration.
    pub served: Vec<Arc<Served>>,
    /// Where clients come in.
    pub doors: Vec<Arc<Door>>,
}

impl Fleet {
    /// Each gateway with its configuration.
    pub fn each(&self) -> impl Iterator<Item = (&Arc<Served>, &Config)> {
        self.served.iter().zip(self.configs.iter())
    }

    /// The gateway with this name, or all where none is named.
    pub fn meant<'a>(
        &'a self,
        name: Option<&'a str>,
    ) -> impl Iterator<Item = (&'a Arc<Served>, &'a Config)> {
        self.each()
            .filter(move |(served, _)| name.is_none_or(|name| name == served.name))
    }

    /// The gateway with this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<(&Arc<Served>, &Config)> {
        self.each().find(|(served, _)| served.name == name)
    }

    /// Where clients of this gateway come in.
    #[must_use]
    pub fn door(&self, config: &Config) -> Option<SocketAddr> {
        let mut doors = self.doors.iter();
        let door = doors.find(|door| door.configured == config.listen)?;
        Some(door.address)
    }
}
