//! What the shim approved, for whom, by which rule: one JSON object a line, only ever appended.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::clock;
use crate::device::DeviceRecord;
use crate::identity::store::PendingRequest;

/// `audit.jsonl` in the data directory, readable by its owner alone.
#[derive(Clone, Debug)]
pub struct Audit {
    path: PathBuf,
}

/// Why something was approved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// It widens nothing (`policy.entitled_repairs`).
    EntitledRepair,
    /// A local device with the shared secret may widen itself (`policy.local_upgrades`).
    LocalUpgrade,
    /// Somebody gave the command.
    Command,
}

impl Rule {
    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EntitledRepair => "entitled-repair",
            Self::LocalUpgrade => "local-upgrade",
            Self::Command => "command",
        }
    }
}

impl Audit {
    /// The log of the shim whose data directory is `data`.
    #[must_use]
    pub fn new(data: &Path) -> Self {
        Self {
            path: data.join("audit.jsonl"),
        }
    }

    /// Notes that a request is being approved. `record` is what the device held before.
    ///
    /// # Errors
    ///
    /// When it cannot be written; then nothing may be approved.
    pub fn approval(
        &self,
        rule: Rule,
        request: &PendingRequest,
        record: Option<&DeviceRecord>,
    ) -> io::Result<()> {
        let approved = record.map(|record| record.approved_scopes.iter().collect::<Vec<_>>());
        self.append(&json!({
            "atMs": clock::now_ms(),
            "action": "device.pair.approve",
            "rule": rule.as_str(),
            "requestId": request.request_id,
            "deviceId": request.device_id.as_str(),
            "clientId": request.client_id,
            "requestedScopes": request.scopes.iter().collect::<Vec<_>>(),
            "approvedScopes": approved,
        }))
    }

    fn append(&self, entry: &Value) -> io::Result<()> {
        let mut file = self.open()?;
        file.write_all(format!("{entry}\n").as_bytes())?;
        file.sync_data()
    }

    fn open(&self) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(&self.path)
    }
}
