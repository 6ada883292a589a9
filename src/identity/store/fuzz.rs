//! The readers of the stores without their files, for [`crate::fuzz`].

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::Connection;

use super::{PendingRequest, Snapshot, json, sqlite};
use crate::device::{DeviceId, DeviceRecord};

type Devices = HashMap<DeviceId, Arc<DeviceRecord>>;

/// The text of a `paired.json`.
pub(crate) fn paired(text: &[u8]) -> Result<(Devices, Vec<String>), String> {
    let read = json::parse::paired(text, &json::known::Known::default())?;
    Ok((read.devices, read.problems))
}

/// The text of a `pending.json`.
pub(crate) fn pending(text: &[u8]) -> Result<(Vec<PendingRequest>, Vec<String>), String> {
    json::parse::pending(text)
}

/// The pairing tables of a database.
pub(crate) fn rows(database: &Connection) -> rusqlite::Result<Option<(Snapshot, Vec<String>)>> {
    sqlite::rows::snapshot(database)
}
