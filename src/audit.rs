//! What the shim approved, for whom, by which rule: one JSON object a line, only ever appended.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::clock;
use crate::device::DeviceRecord;
use crate::identity::store::PendingRequest;
use crate::private;
use crate::scope::ScopeSet;

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
    /// Somebody pressed the button on the status page, or asked the admin surface in another way.
    Page,
}

impl Rule {
    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EntitledRepair => "entitled-repair",
            Self::LocalUpgrade => "local-upgrade",
            Self::Command => "command",
            Self::Page => "page",
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
        let approved = record.map(|record| names(&record.approved_scopes));
        self.append(&json!({
            "atMs": clock::now_ms(),
            "action": "device.pair.approve",
            "rule": rule.as_str(),
            "requestId": request.request_id,
            "deviceId": request.device_id.as_str(),
            "clientId": request.client_id,
            "requestedScopes": names(&request.scopes),
            "approvedScopes": approved,
        }))
    }

    /// Notes that a device's operator token is being replaced on somebody's command, for one with these scopes.
    /// `record` and `token` are what the device held before.
    ///
    /// # Errors
    ///
    /// When it cannot be written; then nothing may be replaced.
    pub fn rotation(
        &self,
        record: &DeviceRecord,
        token: Option<&ScopeSet>,
        scopes: &ScopeSet,
    ) -> io::Result<()> {
        self.append(&json!({
            "atMs": clock::now_ms(),
            "action": "device.token.rotate",
            "rule": Rule::Command.as_str(),
            "deviceId": record.device_id.as_str(),
            "clientId": record.client_id,
            "scopes": names(scopes),
            "tokenScopes": token.map(names),
            "approvedScopes": names(&record.approved_scopes),
        }))
    }

    /// The rule by which the log has a request approved, if it has.
    #[must_use]
    pub fn rule_of(&self, request_id: &str) -> Option<String> {
        let log = std::fs::read_to_string(&self.path).ok()?;
        let mut entries = log
            .lines()
            .rev()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let entry = entries
            .find(|entry| entry.get("requestId").and_then(Value::as_str) == Some(request_id))?;
        entry.get("rule").and_then(Value::as_str).map(str::to_owned)
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn append(&self, entry: &Value) -> io::Result<()> {
        let is_new = !self.path.exists();
        let mut file = private::append(&self.path)?;
        // Half a line, of a disk that was full or a crash, must not swallow this one.
        let gap = if ends_within_a_line(&mut file)? {
            "\n"
        } else {
            ""
        };
        file.write_all(format!("{gap}{entry}\n").as_bytes())?;
        file.sync_data()?;
        match self.path.parent() {
            Some(data) if is_new => private::settle(data),
            _ => Ok(()),
        }
    }
}

fn ends_within_a_line(file: &mut File) -> io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(false);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

fn names(scopes: &ScopeSet) -> Vec<&str> {
    scopes.iter().collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn half_a_line_of_a_crash_costs_no_other_line() {
        let dir = tempfile::tempdir().unwrap();
        let audit = Audit::new(dir.path());
        let entry = |id: &str| json!({"requestId": id, "rule": id});
        audit.append(&entry("first")).unwrap();
        let whole = std::fs::read_to_string(audit.path()).unwrap();
        std::fs::write(audit.path(), format!("{whole}{{\"requestId")).unwrap();
        audit.append(&entry("second")).unwrap();
        for id in ["first", "second"] {
            assert_eq!(audit.rule_of(id).as_deref(), Some(id));
        }
    }
}
