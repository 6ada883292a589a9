//! The text of the pairing files. No I/O.
//!
//! Problems are told by line, column and device, never by content: the files hold tokens.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;

use crate::device::{DeviceId, DeviceRecord};
use crate::identity::store::PendingRequest;
use crate::identity::store::wire::{Flaw, PairedEntry, PendingEntry, TokenTable};

type Devices = HashMap<DeviceId, Arc<DeviceRecord>>;

/// What a `paired.json` says.
#[derive(Debug)]
pub(in crate::identity::store) struct Paired {
    pub(in crate::identity::store) devices: Devices,
    /// A line for each record that had to be left out.
    pub(in crate::identity::store) problems: Vec<String>,
    /// For the next read.
    pub(in crate::identity::store) known: Known,
}

/// The records of one read, found again by what they were read from: a gateway writes the whole file whenever one device
/// changes.
#[derive(Debug, Default)]
pub(in crate::identity::store) struct Known {
    digest: RandomState,
    records: HashMap<u64, Arc<DeviceRecord>>,
}

impl Known {
    fn digest(&self, (key, entry): &Entry<'_>) -> u64 {
        self.digest.hash_one((key, entry.get()))
    }

    /// The record that was read from this very text. Another device's is never taken for it, whatever the digests.
    fn find(&self, digest: u64, key: &str) -> Option<Arc<DeviceRecord>> {
        let record = self.records.get(&digest)?;
        (record.device_id.as_str() == key).then(|| Arc::clone(record))
    }
}

/// Reads a `paired.json`; of what stands in it as it did `before`, the record is the same.
///
/// # Errors
///
/// What is wrong with the file as a whole.
pub(in crate::identity::store) fn paired(text: &[u8], before: &Known) -> Result<Paired, String> {
    let entries = entries(text)?;
    let mut devices = Devices::with_capacity(entries.len());
    let mut problems = Vec::new();
    let mut known = Known {
        digest: before.digest.clone(),
        records: HashMap::with_capacity(entries.len()),
    };
    for ((key, _), (digest, record)) in entries.iter().zip(records(&entries, before)) {
        match record {
            Ok(record) => {
                known.records.insert(digest, Arc::clone(&record));
                devices.insert(record.device_id.clone(), record);
            }
            Err(problem) => {
                // Of two records of one name the gateway reads the last, whatever it is worth.
                devices.remove(&DeviceId::new(key.as_str()));
                problems.push(problem);
            }
        }
    }
    Ok(Paired {
        devices,
        problems,
        known,
    })
}

type Entry<'a> = (String, &'a RawValue);
type Record = Result<Arc<DeviceRecord>, String>;

/// The record of each entry, in order. A large file is shared out among the processors.
fn records(entries: &[Entry<'_>], before: &Known) -> Vec<(u64, Record)> {
    let all = |entries: &[Entry<'_>]| {
        let each = entries.iter().map(|entry| record(entry, before));
        each.collect::<Vec<_>>()
    };
    if entries.len() <= WORTH_A_THREAD {
        return all(entries);
    }
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let share = entries.len().div_ceil(processors).max(WORTH_A_THREAD);
    std::thread::scope(|scope| {
        let shares = entries.chunks(share).map(|share| {
            let spawned = std::thread::Builder::new().spawn_scoped(scope, move || all(share));
            (share, spawned)
        });
        // Collected before the first is waited for: all of them run at once.
        let shares = shares.collect::<Vec<_>>().into_iter();
        shares
            .flat_map(
                |(share, spawned)| match spawned.map(std::thread::ScopedJoinHandle::join) {
                    Ok(Ok(records)) => records,
                    Ok(Err(panic)) => std::panic::resume_unwind(panic),
                    // The system has no thread to spare.
                    Err(_) => all(share),
                },
            )
            .collect()
    })
}

fn record(entry: &Entry<'_>, before: &Known) -> (u64, Record) {
    let digest = before.digest(entry);
    let known = before.find(digest, &entry.0);
    (digest, known.map_or_else(|| read(entry), Ok))
}

fn read((key, entry): &Entry<'_>) -> Record {
    let read = |json: &str| match serde_json::from_str::<PairedEntry<'_, TokenTable<'_>>>(json) {
        Ok(entry) => entry.into_record(Some(key)),
        Err(_) => Err(Flaw::WrongType),
    };
    mended(entry, read).map(Arc::new).map_err(|flaw| {
        let short = DeviceId::new(key.as_str()).short();
        format!(
            "paired device {}… is left out: {flaw}",
            short.escape_debug()
        )
    })
}

/// The requests of a `pending.json`, and a line for each that had to be left out.
///
/// # Errors
///
/// What is wrong with the file as a whole.
pub(in crate::identity::store) fn pending(
    text: &[u8],
) -> Result<(Vec<PendingRequest>, Vec<String>), String> {
    let mut requests = Vec::new();
    let mut problems = Vec::new();
    for (key, entry) in entries(text)? {
        let read = |json: &str| match serde_json::from_str::<PendingEntry>(json) {
            Ok(entry) => entry.into_request(Some(&key)),
            Err(_) => Err(Flaw::WrongType),
        };
        match mended(entry, read) {
            Ok(request) => requests.push(request),
            Err(flaw) => problems.push(format!("a pending pairing request is left out: {flaw}")),
        }
    }
    Ok((requests, problems))
}

/// The entries of the one object that each file consists of, not yet looked into.
fn entries(text: &[u8]) -> Result<Vec<Entry<'_>>, String> {
    serde_json::from_slice::<Entries<'_>>(text)
        .map(|entries| entries.0)
        .map_err(|error| {
            let what = match error.classify() {
                Category::Eof => "it ends too early",
                Category::Data => "it is not an object of records",
                Category::Io | Category::Syntax => "it is not JSON",
            };
            format!("{what}, line {} column {}", error.line(), error.column())
        })
}

/// Reads an entry as it is or, where a text in it is none, mended.
fn mended<T>(entry: &RawValue, read: impl Fn(&str) -> Result<T, Flaw>) -> Result<T, Flaw> {
    match read(entry.get()) {
        Err(Flaw::WrongType) => read(&without_half_characters(entry.get())),
        outcome => outcome,
    }
}

/// Puts U+FFFD for every escaped half of a surrogate pair.
///
/// A gateway cuts long names by UTF-16 units and writes the half character that is left as `\ud83d`, which is no
/// text to `serde_json`.
fn without_half_characters(json: &str) -> String {
    let mut mended = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        mended.push_str(before);
        let length = match (unit(escape), escape.get(6..).and_then(unit)) {
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => 12,
            (Some(0xD800..=0xDFFF), _) => 0,
            (Some(_), _) => 6,
            (None, _) => 1 + escape.chars().nth(1).map_or(0, char::len_utf8),
        };
        if length == 0 {
            mended.push_str("\\ufffd");
            rest = &escape[6..];
        } else {
            mended.push_str(&escape[..length]);
            rest = &escape[length..];
        }
    }
    mended + rest
}

/// The UTF-16 unit that `text` begins with, written `\uXXXX`.
fn unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    u16::from_str_radix(digits, 16).ok()
}

struct Entries<'a>(Vec<Entry<'a>>);

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Entries<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

/// The number of records that take longer to read than a thread takes to start.
const WORTH_A_THREAD: usize = 1_000;
