//! The pairing tables: `device_pairing_paired` and `device_pairing_pending`.
//!
//! Columns as in 2026.6.11 to 2026.9.6. Of these the device's id and key have to be there; later versions may add
//! and drop any other.

use std::sync::Arc;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};
use serde::Deserialize;

use crate::device::{DeviceId, DeviceRecord};
use crate::identity::store::wire::{Flaw, Loose, PairedEntry, PendingEntry, TokenTable};
use crate::identity::store::{PendingRequest, Snapshot};

/// Both tables, and a line for each row that had to be left out; `None` where there is no table of devices.
pub(in crate::identity::store) fn snapshot(
    connection: &Connection,
) -> rusqlite::Result<Option<(Snapshot, Vec<String>)>> {
    let Some(columns) = Columns::of(connection, &PAIRED)? else {
        return Ok(None);
    };
    let mut snapshot = Snapshot::default();
    let mut problems = Vec::new();
    columns.each(connection, &PAIRED, |row| match paired(row) {
        Ok(record) => {
            snapshot
                .devices
                .insert(record.device_id.clone(), Arc::new(record));
        }
        Err(flaw) => {
            let short = row
                .loose_text("device_id")
                .map(|id| DeviceId::new(id).short())
                .unwrap_or_default();
            problems.push(format!(
                "paired device {}… is left out: {flaw}",
                short.escape_debug()
            ));
        }
    })?;
    if let Some(columns) = Columns::of(connection, &PENDING)? {
        columns.each(connection, &PENDING, |row| match pending(row) {
            Ok(request) => snapshot.pending.push(request),
            Err(flaw) => problems.push(format!("a pending pairing request is left out: {flaw}")),
        })?;
    }
    Ok(Some((snapshot, problems)))
}

fn paired(row: &Cells<'_>) -> Result<DeviceRecord, Flaw> {
    let entry = PairedEntry::<'_, TokenTable<'_>> {
        device_id: row.text("device_id")?.map(Into::into),
        public_key: row.text("public_key")?,
        display_name: Loose::new(row.loose_text("display_name")),
        platform: row.text("platform")?,
        device_family: row.text("device_family")?,
        client_id: row.text("client_id")?,
        client_mode: row.text("client_mode")?,
        role: row.text("role")?.map(Into::into),
        roles: row.json("roles_json")?,
        scopes: row.json("scopes_json")?,
        approved_scopes: row.json("approved_scopes_json")?,
        tokens: row.json("tokens_json")?,
        approved_at_ms: Loose::new(row.number("approved_at_ms")),
        last_seen_at_ms: Loose::new(row.number("last_seen_at_ms")),
    };
    entry.into_record(None)
}

fn pending(row: &Cells<'_>) -> Result<PendingRequest, Flaw> {
    let entry = PendingEntry {
        request_id: row.text("request_id")?,
        device_id: row.text("device_id")?.ok_or(Flaw::NoId)?,
        public_key: Loose::new(row.loose_text("public_key")),
        display_name: Loose::new(row.loose_text("display_name")),
        client_id: row.text("client_id")?,
        client_mode: row.text("client_mode")?,
        platform: row.text("platform")?,
        role: row.text("role")?,
        roles: row.json("roles_json")?,
        scopes: row.json("scopes_json")?,
        remote_ip: row.text("remote_ip")?,
        silent: row.number("silent").map(|silent| silent != 0),
        is_repair: row.number("is_repair").map(|repair| repair != 0),
        ts: Loose::new(row.number("ts")),
    };
    entry.into_request(None)
}

struct Table {
    name: &'static str,
    columns: &'static [&'static str],
}

const PAIRED: Table = Table {
    name: "device_pairing_paired",
    columns: &[
        "device_id",
        "public_key",
        "display_name",
        "platform",
        "device_family",
        "client_id",
        "client_mode",
        "role",
        "roles_json",
        "scopes_json",
        "approved_scopes_json",
        "tokens_json",
        "approved_at_ms",
        "last_seen_at_ms",
    ],
};

const PENDING: Table = Table {
    name: "device_pairing_pending",
    columns: &[
        "request_id",
        "device_id",
        "public_key",
        "display_name",
        "client_id",
        "client_mode",
        "platform",
        "role",
        "roles_json",
        "scopes_json",
        "remote_ip",
        "silent",
        "is_repair",
        "ts",
    ],
};

/// Those of a table's columns that this database has.
struct Columns(Vec<&'static str>);

impl Columns {
    /// `None` where the table is not there, or lacks the column that every row is about.
    fn of(connection: &Connection, table: &Table) -> rusqlite::Result<Option<Self>> {
        let mut statement = connection.prepare("SELECT name FROM pragma_table_info(?1)")?;
        let mut rows = statement.query([table.name])?;
        let mut there = Vec::new();
        while let Some(row) = rows.next()? {
            let name: String = row.get(0)?;
            there.extend(table.columns.iter().copied().find(|column| *column == name));
        }
        Ok(there.contains(&"device_id").then_some(Self(there)))
    }

    fn each(
        &self,
        connection: &Connection,
        table: &Table,
        mut visit: impl FnMut(&Cells<'_>),
    ) -> rusqlite::Result<()> {
        let sql = format!("SELECT {} FROM {}", self.0.join(", "), table.name);
        let mut statement = connection.prepare(&sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            visit(&Cells {
                columns: &self.0,
                row,
            });
        }
        Ok(())
    }
}

/// One row, read as loosely as a JSON record.
struct Cells<'a> {
    columns: &'a [&'static str],
    row: &'a Row<'a>,
}

impl Cells<'_> {
    fn cell(&self, column: &str) -> ValueRef<'_> {
        let index = self.columns.iter().position(|name| *name == column);
        index
            .and_then(|index| self.row.get_ref(index).ok())
            .unwrap_or(ValueRef::Null)
    }

    fn text(&self, column: &str) -> Result<Option<String>, Flaw> {
        match self.cell(column) {
            ValueRef::Null => Ok(None),
            ValueRef::Text(text) => {
                let text = std::str::from_utf8(text).map_err(|_| Flaw::WrongType)?;
                Ok(Some(text.to_owned()))
            }
            _ => Err(Flaw::WrongType),
        }
    }

    fn json<'a, T: Deserialize<'a>>(&'a self, column: &str) -> Result<Option<T>, Flaw> {
        match self.cell(column) {
            ValueRef::Null => Ok(None),
            // `null` is what a field that JavaScript left out may become.
            ValueRef::Text(text) => serde_json::from_slice(text).map_err(|_| Flaw::WrongType),
            _ => Err(Flaw::WrongType),
        }
    }

    fn loose_text(&self, column: &str) -> Option<String> {
        match self.cell(column) {
            ValueRef::Text(text) => Some(String::from_utf8_lossy(text).into_owned()),
            _ => None,
        }
    }

    fn number(&self, column: &str) -> Option<u64> {
        match self.cell(column) {
            ValueRef::Integer(number) => u64::try_from(number).ok(),
            _ => None,
        }
    }
}
