//! The shim that runs with this data directory, by what it says itself.

use serde_json::Value;

use crate::admin::{Client, ClientError};
use crate::config::Config;
use crate::profile::Version;
use crate::scope::ScopeSet;

/// What the running shim says about one gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Running {
    /// Its own version.
    pub version: String,
    /// The number of its process.
    pub pid: u64,
    /// `on`, `observe` or `off`.
    pub mode: String,
    /// Where its clients come in.
    pub listen: Option<String>,
    /// `policy.max_scopes`.
    pub max_scopes: ScopeSet,
    /// Whether its own device is paired.
    pub delegate_paired: bool,
    /// Whether it is in touch with the gateway.
    pub state: String,
    /// Why it is not.
    pub why: Option<String>,
    /// The gateway's version, where the gateway has told it.
    pub gateway_version: Option<Version>,
}

/// Asks it; `None` where none runs, an error where one does and cannot be asked.
pub(super) async fn look(config: &Config) -> Result<Option<Running>, String> {
    match Client::new(config).get("/status").await {
        Ok(status) => Ok(read(&status, &config.name)),
        Err(ClientError::NotRunning { .. } | ClientError::Off | ClientError::Token(_)) => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

fn read(status: &Value, name: &str) -> Option<Running> {
    let gateways = status.get("gateways")?.as_array()?;
    let gateway = gateways.iter().find(|gateway| gateway["name"] == name)?;
    let text = |of: &Value, key: &str| of[key].as_str().unwrap_or_default().to_owned();
    let scopes = gateway["max_scopes"].as_array().into_iter().flatten();
    Some(Running {
        version: text(status, "version"),
        pid: status["pid"].as_u64().unwrap_or_default(),
        mode: text(gateway, "mode"),
        listen: gateway["listen"].as_str().map(str::to_owned),
        max_scopes: scopes.filter_map(Value::as_str).collect(),
        delegate_paired: gateway["delegate"]["paired"] == true,
        state: text(&gateway["gateway"], "state"),
        why: gateway["gateway"]["why"].as_str().map(str::to_owned),
        gateway_version: gateway["gateway"]["version"]
            .as_str()
            .and_then(Version::parse),
    })
}
