//! A finding as data: what programs read in `details.scopeShim`, in whatever kind of answer.

use serde_json::{Map, Value, json};

use crate::findings::Code;

/// The code and its family, and what else is known; what is `null` is left out.
pub(super) fn data(
    code: Code,
    fields: impl IntoIterator<Item = (&'static str, Value)>,
) -> Map<String, Value> {
    let entry = code.entry();
    let known = [
        ("finding", json!(entry.code)),
        ("family", json!(entry.family)),
    ];
    known
        .into_iter()
        .chain(fields)
        .filter(|(_, value)| !value.is_null())
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}
