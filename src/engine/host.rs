//! The device of this host's own CLI.

use std::path::PathBuf;

use crate::device::DeviceId;

/// Finds the device of the gateway's host in its state directory.
#[derive(Clone, Debug)]
pub struct HostDevice {
    state: Option<PathBuf>,
}

impl HostDevice {
    /// Looks in this state directory.
    #[must_use]
    pub const fn new(state: Option<PathBuf>) -> Self {
        Self { state }
    }

    /// The device id, where the host has one: usually, but not on 2026.9.6.
    pub async fn id(&self) -> Option<DeviceId> {
        let path = self.state.as_ref()?.join("identity/device.json");
        let text = tokio::fs::read(path).await.ok()?;
        let value: serde_json::Value = serde_json::from_slice(&text).ok()?;
        Some(DeviceId::new(value.get("deviceId")?.as_str()?))
    }
}
