//! The pairing requests that a gateway keeps in a file, as all do up to 2026.6.11.

use std::collections::BTreeMap;
use std::fs;

use scope_shim::demo::npm::RealGateway;
use serde::Deserialize;

use crate::Result;

#[derive(Deserialize)]
pub(crate) struct Request {
    #[serde(rename = "requestId")]
    pub(crate) id: String,
    #[serde(rename = "deviceId")]
    pub(crate) device: String,
}

/// Those that wait now.
pub(crate) fn on_file(gateway: &RealGateway) -> Result<Vec<Request>> {
    let file = gateway
        .state_directory()
        .join("devices")
        .join("pending.json");
    if !file.exists() {
        return Ok(Vec::new());
    }
    let requests: BTreeMap<String, Request> = serde_json::from_str(&fs::read_to_string(file)?)?;
    Ok(requests.into_values().collect())
}
