//! How `check` shows what a key resolved to.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::scope::{self, ScopeSet};

/// How a resolved value is shown by `check`.
pub(crate) trait Show {
    /// The value as the configuration file would say it, a secret as `***`.
    fn show(&self) -> String;
}

impl Show for SocketAddr {
    fn show(&self) -> String {
        self.to_string()
    }
}

impl Show for Option<SocketAddr> {
    fn show(&self) -> String {
        self.map_or_else(|| "off".to_owned(), |address| address.to_string())
    }
}

impl Show for usize {
    fn show(&self) -> String {
        self.to_string()
    }
}

impl Show for PathBuf {
    fn show(&self) -> String {
        self.display().to_string()
    }
}

impl Show for Duration {
    fn show(&self) -> String {
        let milliseconds = self.as_millis();
        match milliseconds {
            0 => "0s".to_owned(),
            ms if ms % 3_600_000 == 0 => format!("{}h", ms / 3_600_000),
            ms if ms % 60_000 == 0 => format!("{}m", ms / 60_000),
            ms if ms % 1_000 == 0 => format!("{}s", ms / 1_000),
            ms => format!("{ms}ms"),
        }
    }
}

impl Show for Option<Duration> {
    fn show(&self) -> String {
        self.map_or_else(|| "off".to_owned(), |duration| duration.show())
    }
}

impl Show for Vec<IpNet> {
    fn show(&self) -> String {
        let networks: Vec<String> = self
            .iter()
            .map(|network| {
                if network.prefix_len() == network.max_prefix_len() {
                    network.addr().to_string()
                } else {
                    network.to_string()
                }
            })
            .collect();
        format!("[{}]", networks.join(", "))
    }
}

impl Show for ScopeSet {
    fn show(&self) -> String {
        if self.names_all(&scope::ALL.into_iter().collect()) {
            return "every scope".to_owned();
        }
        let scopes: Vec<&str> = self.iter().collect();
        format!("[{}]", scopes.join(", "))
    }
}
