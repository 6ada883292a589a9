//! The device of this host's own CLI.

use std::path::PathBuf;

use crate::device::DeviceId;
use crate::identity::host::own_device;
use crate::identity::store::StoreError;

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

    /// The device id, where the host has one.
    ///
    /// # Errors
    ///
    /// When there is an identity that cannot be read: it may be one that was approved for little.
    pub async fn id(&self) -> Result<Option<DeviceId>, StoreError> {
        let Some(state) = self.state.clone() else {
            return Ok(None);
        };
        tokio::task::spawn_blocking(move || own_device(&state))
            .await
            .unwrap_or(Ok(None))
    }
}
