//! The text of the pairing files. No I/O.
//!
//! Problems are told by line, column and device, never by content: the files hold tokens.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::known::{Known, LeftOut, Mark, Piece, Record, Unchanged};
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

/// Reads a `paired.json`; of what stands in it as it did `before`, the record is the same.
///
/// # Errors
///
/// What is wrong with the file as a whole.
pub(in crate::identity::store) fn paired(text: &[u8], before: &Known) -> Result<Paired, String> {
    let unchanged = before.unchanged(text);
    let object = unchanged.all_else(text);
    // Where what changed is no object by itself, the file is none, or is written otherwise than a gateway writes it.
    let partly = object.as_deref().and_then(|object| {
        let entries = entries(object).ok()?;
        let complete = unchanged.is_everything(text) || !entries.list.is_empty();
        complete.then_some(entries)
    });
    match partly {
        Some(entries) => Ok(unchanged.completed(before, entries)),
        None => Ok(Unchanged::nothing(before).completed(before, entries(text)?)),
    }
}

impl Unchanged<'_> {
    /// All that the file says, as soon as the rest of it is read.
    fn completed(&self, before: &Known, rest: Entries<'_>) -> Paired {
        let read = records(&rest.list, &Reader::new(before, self.moved()));
        let behind = self.back.map_or(&[][..], |(pieces, _)| pieces);
        let pieces = self.front.0.iter().cloned();
        let pieces = pieces.chain(read).chain(behind.iter().cloned());
        let end = match self.back {
            Some(_) => before.end(),
            None => Some(before.mark(rest.end)),
        };
        Paired::new(Known::new(before, pieces.collect(), end))
    }
}

impl Paired {
    fn new(known: Known) -> Self {
        let mut devices = Devices::with_capacity(known.pieces().len());
        let mut problems = Vec::new();
        for piece in known.pieces() {
            match &piece.record {
                Ok(record) => {
                    devices.insert(record.device_id.clone(), Arc::clone(record));
                }
                Err(left_out) => {
                    // Of two records of one name the gateway reads the last, whatever it is worth.
                    devices.remove(&left_out.device);
                    problems.push(left_out.problem.clone());
                }
            }
        }
        Self {
            devices,
            problems,
            known,
        }
    }
}

/// The record of each entry, in order. A large file is shared out among the processors.
fn records(entries: &[Entry<'_>], reader: &Reader<'_>) -> Vec<Piece> {
    let all = |entries: &[Entry<'_>]| {
        let each = entries.iter().map(|entry| reader.piece(entry));
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

/// Reads entries, and none that was read before.
struct Reader<'a> {
    before: &'a Known,
    moved: HashMap<Mark, &'a Record>,
}

impl<'a> Reader<'a> {
    const fn new(before: &'a Known, moved: HashMap<Mark, &'a Record>) -> Self {
        Self { before, moved }
    }

    fn piece(&self, entry: &Entry<'_>) -> Piece {
        let mark = self.before.mark(entry.piece);
        let known = self.moved.get(&mark).map(|record| Record::clone(record));
        Piece {
            mark,
            record: known.unwrap_or_else(|| read(entry)),
        }
    }
}

fn read(entry: &Entry<'_>) -> Record {
    let read = |json: &str| match serde_json::from_str::<PairedEntry<'_, TokenTable<'_>>>(json) {
        Ok(paired) => paired.into_record(Some(&entry.key)),
        Err(_) => Err(Flaw::WrongType),
    };
    mended(entry.value, read).map(Arc::new).map_err(|flaw| {
        let device = DeviceId::new(entry.key.as_str());
        let short = device.short();
        let problem = format!(
            "paired device {}… is left out: {flaw}",
            short.escape_debug()
        );
        Box::new(LeftOut { device, problem })
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
    for Entry { key, value, .. } in entries(text)?.list {
        let read = |json: &str| match serde_json::from_str::<PendingEntry>(json) {
            Ok(entry) => entry.into_request(Some(&key)),
            Err(_) => Err(Flaw::WrongType),
        };
        match mended(value, read) {
            Ok(request) => requests.push(request),
            Err(flaw) => problems.push(format!("a pending pairing request is left out: {flaw}")),
        }
    }
    Ok((requests, problems))
}

/// One entry of a file, not yet looked into.
struct Entry<'a> {
    key: String,
    value: &'a RawValue,
    /// From behind the brace or comma before it to its end.
    piece: &'a [u8],
}

/// The entries of the one object that each file consists of, and what comes after the last of them.
struct Entries<'a> {
    list: Vec<Entry<'a>>,
    end: &'a [u8],
}

fn entries(text: &[u8]) -> Result<Entries<'_>, String> {
    serde_json::from_slice::<InOrder<'_>>(text)
        .map(|entries| entries.found_in(text))
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

/// Keys and values in the order of the file.
struct InOrder<'a>(Vec<(String, &'a RawValue)>);

impl<'a> InOrder<'a> {
    /// Finds the pieces of the text that they come from.
    fn found_in(self, text: &'a [u8]) -> Entries<'a> {
        let behind_next = |separator, from: usize| {
            let found = text[from..].iter().position(|byte| *byte == separator);
            found.map_or(text.len(), |found| from + found + 1)
        };
        let mut begins = behind_next(b'{', 0);
        let mut end = begins;
        let mut list = Vec::with_capacity(self.0.len());
        for (key, value) in self.0 {
            let bytes = value.get().as_bytes();
            end = bytes.as_ptr_range().end.addr() - text.as_ptr().addr();
            let piece = &text[begins..end];
            list.push(Entry { key, value, piece });
            begins = behind_next(b',', end);
        }
        Entries {
            list,
            end: &text[end..],
        }
    }
}

impl<'de> Deserialize<'de> for InOrder<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;

        impl<'de> Visitor<'de> for Pairs {
            type Value = InOrder<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(InOrder(entries))
            }
        }

        deserializer.deserialize_map(Pairs)
    }
}

/// The number of records that take longer to read than a thread takes to start.
const WORTH_A_THREAD: usize = 1_000;
