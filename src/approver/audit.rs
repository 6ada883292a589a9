//! What the shim approved, for whom, by which rule: one JSON object a line, only ever appended.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::clock;
use crate::device::DeviceRecord;
use crate::identity::store::PendingRequest;

/// `audit.jsonl` in the data directory, readable by its owner alone.
#[derive(Debug)]
pub(super) struct Audit {
    path: PathBuf,
}

impl Audit {
    pub(super) fn new(data: &Path) -> Self {
        Self {
            path: data.join("audit.jsonl"),
        }
    }

    /// Notes that a request is being approved because it widens nothing.
    pub(super) fn entitled_repair(
        &self,
        request: &PendingRequest,
        record: &DeviceRecord,
    ) -> io::Result<()> {
        let entry = json!({
            "atMs": clock::now_ms(),
            "action": "device.pair.approve",
            "rule": "entitled-repair",
            "requestId": request.request_id,
            "deviceId": record.device_id.as_str(),
            "clientId": request.client_id,
            "requestedScopes": request.scopes.iter().collect::<Vec<_>>(),
            "approvedScopes": record.approved_scopes.iter().collect::<Vec<_>>(),
        });
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
