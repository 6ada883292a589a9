//! What was said, where: flags over variables over the file, before any of it means something.

use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::environment::Environment;
use super::problem::{Origin, Problem};

/// A command line flag and the key that it sets.
#[derive(Clone, Debug)]
pub struct Flag {
    /// The key in the configuration file, for example `gateway.url`.
    pub key: &'static str,
    /// The flag, for example `--gateway`.
    pub name: &'static str,
    /// What was given.
    pub value: String,
}

/// Exactly what flags, variables and file said.
pub(crate) struct RawConfig<'a> {
    pub(crate) flags: &'a [Flag],
    pub(crate) environment: &'a Environment,
    pub(crate) file: Option<&'a RawFile<'a>>,
    /// The entry that is meant, where the file has `[[gateway]]`.
    pub(crate) entry: Option<Entry<'a>>,
}

/// One of several gateways: what one `[[gateway]]` says.
#[derive(Clone, Copy)]
pub(crate) struct Entry<'a> {
    /// Where it stands.
    pub(super) place: &'a Origin,
    pub(super) table: &'a DeTable<'a>,
}

impl<'a> RawConfig<'a> {
    /// What the file says about a key: the gateway's own entry first, then what holds for all of them.
    pub(super) fn said(
        &self,
        key: &str,
    ) -> impl Iterator<Item = (&'a RawFile<'a>, &'a Spanned<DeValue<'a>>)> + use<'a> {
        let common = match (self.entry, self.file) {
            (Some(_), _) if key.starts_with(GATEWAY) => None,
            (_, file) => file.and_then(|file| find(file.table.get_ref(), key)),
        };
        let said = self.own(key).into_iter().chain(common);
        said.filter_map({
            let file = self.file;
            move |value| Some((file?, value))
        })
    }

    /// What the gateway's own entry says about a key.
    pub(super) fn own(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        find(self.entry?.table, own_name(key)?)
    }

    /// Whether a key speaks of one gateway, of which there are several.
    pub(super) fn is_ambiguous(&self, key: &str) -> bool {
        self.entry.is_some() && key.starts_with(GATEWAY)
    }
}

/// What a key is called in an entry; `None` for one that holds for the whole process.
pub(super) fn own_name(key: &str) -> Option<&str> {
    let also = OWN.contains(&key) || key.starts_with("policy.");
    key.strip_prefix(GATEWAY).or_else(|| also.then_some(key))
}

/// A configuration file that is TOML, whatever it says.
pub(crate) struct RawFile<'a> {
    pub(super) path: &'a Path,
    /// Who chose it.
    pub(super) origin: &'a Origin,
    text: &'a str,
    pub(super) table: Spanned<DeTable<'a>>,
}

impl<'a> RawFile<'a> {
    /// Parses the text of a file.
    pub(crate) fn parse(
        (path, origin): (&'a Path, &'a Origin),
        text: &'a str,
    ) -> Result<Self, Vec<Problem>> {
        let (table, errors) = DeTable::parse_recoverable(text);
        let file = Self {
            path,
            origin,
            text,
            table,
        };
        if errors.is_empty() {
            return Ok(file);
        }
        // The library's own rendering repeats the line, which may hold a secret.
        let problems = errors.iter().take(MOST_SYNTAX_ERRORS).map(|error| Problem {
            origin: file.place(error.span().unwrap_or_default()),
            message: format!("not TOML: {}", error.message()),
            hint: Some(syntax_hint(error.message()).to_owned()),
        });
        Err(problems.collect())
    }

    /// What can be understood of the text of a file.
    pub(crate) fn salvage((path, origin): (&'a Path, &'a Origin), text: &'a str) -> Self {
        let (table, _) = DeTable::parse_recoverable(text);
        Self {
            path,
            origin,
            text,
            table,
        }
    }

    /// The place of a byte range.
    pub(super) fn place(&self, span: Range<usize>) -> Origin {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Origin::File {
            path: self.path.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before
                .chars()
                .skip(before[..line_start].chars().count())
                .count()
                + 1,
        }
    }

    /// The entries of `[[gateway]]`, each with its place; `None` where the file has no such list.
    pub(super) fn gateways(&self) -> Option<Vec<(Origin, &Spanned<DeValue<'a>>)>> {
        let DeValue::Array(entries) = self.table.get_ref().get("gateway")?.get_ref() else {
            return None;
        };
        let entries = entries.iter();
        Some(
            entries
                .map(|entry| (self.place(entry.span()), entry))
                .collect(),
        )
    }
}

/// The value of a dotted key.
fn find<'t, 'a>(table: &'t DeTable<'a>, key: &str) -> Option<&'t Spanned<DeValue<'a>>> {
    let mut parts = key.split('.');
    let mut found = table.get(parts.next()?)?;
    for part in parts {
        let DeValue::Table(table) = found.get_ref() else {
            return None;
        };
        found = table.get(part)?;
    }
    Some(found)
}

fn syntax_hint(message: &str) -> &'static str {
    if message.contains("duplicate") {
        "keep one of the two; several gateways are written as [[gateway]]"
    } else {
        "a setting is name = \"text\", name = 10 or name = [\"a\", \"b\"]; a section begins with [name]"
    }
}

/// The variables that set a key, the one that rules first.
pub(crate) fn variables(key: &str) -> Vec<String> {
    let long = format!("SCOPE_SHIM_{}", key.replace('.', "_").to_ascii_uppercase());
    match key {
        "gateway.url" | "log.format" => {
            let short = long.rsplit_once('_').map(|(short, _)| short.to_owned());
            short.into_iter().chain([long]).collect()
        }
        _ => vec![long],
    }
}

const GATEWAY: &str = "gateway.";
/// What an entry may say beside the keys of `[gateway]` and `[policy]`.
const OWN: [&str; 2] = ["listen", "mode"];
/// One slip, such as a missing quote, is often followed by errors that mean nothing.
const MOST_SYNTAX_ERRORS: usize = 5;
