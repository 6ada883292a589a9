use std::cell::RefCell;
use std::collections::HashMap;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ToSql, params_from_iter};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use tempfile::TempDir;

use super::{Choices, assert_printable};
use crate::config::Environment;
use crate::device::{DeviceRecord, OperatorToken};
use crate::gateway::{GatewayAuth, GatewayFacts, details, discover};
use crate::identity::store::fuzz as store;

/// The text of `paired.json`, and of `pending.json`: a record says what the file says of it, a later one of a device
/// replaces an earlier one, and what is said of a broken one shows no token.
pub fn paired(text: &[u8]) {
    let requests = store::pending(text);
    let read = store::paired(text);
    for problem in problems(&requests).iter().chain(problems(&read)) {
        assert_printable(problem);
        for token in tokens(text) {
            assert!(!problem.contains(&token), "{problem:?} shows a token");
        }
    }
    let (Ok((devices, _)), Ok(document)) = (read, serde_json::from_slice::<Value>(text)) else {
        return;
    };
    let written = document.as_object().unwrap();
    for (id, record) in devices {
        assert_eq!(record.device_id, id);
        let entry = &written[id.as_str()];
        assert_eq!(entry["publicKey"], record.public_key.as_str());
        let scopes = match &entry["approvedScopes"] {
            Value::Null => &entry["scopes"],
            approved => approved,
        };
        assert_scopes(scopes, &record);
        assert_token(&entry["tokens"]["operator"], &record);
    }
}

type Read<T> = Result<(T, Vec<String>), String>;

fn problems<T>(read: &Read<T>) -> &[String] {
    match read {
        Ok((_, problems)) => problems,
        Err(problem) => std::slice::from_ref(problem),
    }
}

/// The values behind `"token":` that could be told from any other word.
fn tokens(text: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(text);
    let values = text.split("\"token\":\"").skip(1);
    values
        .filter_map(|rest| rest.split_once('"'))
        .map(|(token, _)| token.to_owned())
        .filter(|token| is_secret(token, &text))
        .collect()
}

/// Whether a word could only have come from where the secret stands.
fn is_secret(word: &str, text: &str) -> bool {
    word.starts_with("tok-") && word.len() > 8 && text.matches(word).count() == 1
}

fn assert_scopes(written: &Value, record: &DeviceRecord) {
    let written = written.as_array().map(Vec::as_slice).unwrap_or_default();
    let written: Vec<_> = written.iter().filter_map(Value::as_str).collect();
    let held: Vec<_> = record.approved_scopes.iter().collect();
    assert!(held.iter().all(|scope| written.contains(scope)));
    assert!(written.iter().all(|scope| held.contains(scope)));
}

fn assert_token(written: &Value, record: &DeviceRecord) {
    if let OperatorToken::Live { token, scopes } = &record.operator_token {
        assert_eq!(written["token"], token.reveal());
        assert!(written["revokedAtMs"].is_null() && !token.reveal().is_empty());
        let listed = written["scopes"].as_array().cloned().unwrap_or_default();
        assert!(scopes.iter().all(|scope| listed.contains(&scope.into())));
    }
}

/// The gateway's `openclaw.json`, and behind a zero byte each a file that it may include and its `.env`: whatever they
/// say, the shim starts, and what it tells of them shows no secret.
pub fn config(text: &[u8]) {
    thread_local! {
        static DIRECTORY: TempDir = tempfile::tempdir().unwrap();
    }
    let facts = DIRECTORY.with(|directory| {
        let mut texts = text.splitn(3, |byte| *byte == 0);
        for name in ["openclaw.json", "more.json", ".env"] {
            let path = directory.path().join(name);
            match texts.next() {
                Some(text) => std::fs::write(path, text).unwrap(),
                None => drop(std::fs::remove_file(path)),
            }
        }
        let environment = Environment::from_iter([("SET", "value")]);
        let facts = discover(Some(directory.path()), &environment, 18_780);
        let _ = details(&facts, &environment);
        facts
    });
    assert_facts(&facts, &String::from_utf8_lossy(text));
    if facts.config_file.is_none() {
        assert_eq!(facts.trusted_proxies, None);
        assert!(
            !facts.findings.is_empty(),
            "a file that is of no use is told of"
        );
    }
}

fn assert_facts(facts: &GatewayFacts, text: &str) {
    assert!(facts.port != Some(0));
    for finding in &facts.findings {
        assert_printable(&finding.message);
    }
    let secret = match &facts.auth {
        GatewayAuth::TrustedProxy { password, .. } => password.as_ref(),
        auth => auth.secret(),
    };
    if let Some(secret) = secret.filter(|secret| is_secret(secret.reveal(), text)) {
        for finding in &facts.findings {
            assert!(!finding.to_string().contains(secret.reveal()));
        }
    }
    assert!(
        facts
            .auth
            .secret()
            .is_none_or(|secret| !secret.reveal().trim().is_empty())
    );
}

/// Rows of the pairing tables with any value in any column: what a row says is what the same record says as JSON.
pub fn rows(data: &[u8]) {
    thread_local! {
        static DATABASE: RefCell<Connection> = RefCell::new(database());
    }
    DATABASE.with_borrow_mut(|database| {
        let mut choices = Choices(data);
        let inserted = insert(database, &mut choices);
        let (snapshot, problems) = store::rows(database).unwrap().unwrap();
        for problem in &problems {
            assert_printable(problem);
        }
        assert!(
            snapshot.devices.len() + snapshot.pending.len() + problems.len()
                >= inserted.len().min(1)
        );
        let as_json = as_json(&inserted);
        let (devices, _) = store::paired(as_json.as_bytes()).unwrap();
        for (id, record) in &snapshot.devices {
            let twin = &devices[id];
            assert_eq!(record.public_key, twin.public_key);
            assert_eq!(record.approved_scopes, twin.approved_scopes);
            assert_eq!(record.roles, twin.roles);
            assert_eq!(
                format!("{:?}", record.operator_token),
                format!("{:?}", twin.operator_token)
            );
        }
    });
}

fn database() -> Connection {
    let database = Connection::open_in_memory().unwrap();
    let columns = |names: &[&str]| names.join(", ");
    // Without types: a hostile file keeps to none.
    database
        .execute_batch(&format!(
            "CREATE TABLE device_pairing_paired ({}, PRIMARY KEY (device_id)); CREATE TABLE device_pairing_pending ({});",
            columns(&PAIRED),
            columns(&PENDING)
        ))
        .unwrap();
    database
}

/// Fills both tables anew; returns the rows of the first.
fn insert<'a>(database: &mut Connection, choices: &mut Choices<'a>) -> Vec<Vec<Cell<'a>>> {
    let transaction = database.transaction().unwrap();
    transaction
        .execute_batch("DELETE FROM device_pairing_paired; DELETE FROM device_pairing_pending;")
        .unwrap();
    let mut inserted = Vec::new();
    while !choices.is_over() && inserted.len() < 8 {
        let paired = choices.byte() % 4 != 3;
        let (table, columns) = match paired {
            true => ("device_pairing_paired", PAIRED.len()),
            false => ("device_pairing_pending", PENDING.len()),
        };
        let cells: Vec<Cell<'_>> = (0..columns).map(|_| cell(choices)).collect();
        let marks = vec!["?"; columns].join(",");
        transaction
            .prepare_cached(&format!("INSERT OR REPLACE INTO {table} VALUES ({marks})"))
            .unwrap()
            .execute(params_from_iter(&cells))
            .unwrap();
        if paired {
            inserted.push(cells);
        }
    }
    transaction.commit().unwrap();
    inserted
}

/// A value of any type; a text may be none.
struct Cell<'a>(ValueRef<'a>);

impl ToSql for Cell<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(self.0))
    }
}

fn cell<'a>(choices: &mut Choices<'a>) -> Cell<'a> {
    Cell(match choices.byte() % 6 {
        0 => ValueRef::Null,
        1 => ValueRef::Integer(i64::from(choices.byte()) - 16),
        2 => ValueRef::Real(f64::from(choices.byte()) / 3.0),
        3 => ValueRef::Blob(choices.piece()),
        4 => ValueRef::Integer(i64::MAX - i64::from(choices.byte())),
        _ => ValueRef::Text(choices.piece()),
    })
}

/// The rows as a gateway up to 2026.7.1 would have written them; the last row of a device counts.
fn as_json(rows: &[Vec<Cell<'_>>]) -> String {
    let mut devices = HashMap::new();
    for cells in rows {
        let mut fields = HashMap::new();
        for (column, cell) in PAIRED.iter().zip(cells) {
            let (Some((name, is_json)), ValueRef::Text(text)) = (field(column), cell.0) else {
                continue;
            };
            let text = String::from_utf8_lossy(text);
            let value = match is_json {
                // As it is written: what nobody reads of it may be what another parser does not take.
                true => RawValue::from_string(text.into_owned()).ok(),
                false => to_raw_value(&text).ok(),
            };
            fields.extend(value.map(|value| (name, value)));
        }
        if let Some(ValueRef::Text(id)) = cells.first().map(|cell| cell.0) {
            devices.insert(String::from_utf8_lossy(id), fields);
        }
    }
    serde_json::to_string(&devices).unwrap()
}

fn field(column: &str) -> Option<(&'static str, bool)> {
    Some(match column {
        "device_id" => ("deviceId", false),
        "public_key" => ("publicKey", false),
        "role" => ("role", false),
        "roles_json" => ("roles", true),
        "scopes_json" => ("scopes", true),
        "approved_scopes_json" => ("approvedScopes", true),
        "tokens_json" => ("tokens", true),
        _ => return None,
    })
}

const PAIRED: [&str; 14] = [
    "device_id",
    "public_key",
    "approved_scopes_json",
    "tokens_json",
    "role",
    "roles_json",
    "scopes_json",
    "display_name",
    "platform",
    "device_family",
    "client_id",
    "client_mode",
    "approved_at_ms",
    "last_seen_at_ms",
];

const PENDING: [&str; 14] = [
    "request_id",
    "device_id",
    "scopes_json",
    "roles_json",
    "role",
    "public_key",
    "display_name",
    "client_id",
    "client_mode",
    "platform",
    "remote_ip",
    "silent",
    "is_repair",
    "ts",
];
