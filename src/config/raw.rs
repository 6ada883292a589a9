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
    pub(crate) file: Option<RawFile<'a>>,
}

/// A configuration file that is TOML, whatever it says.
pub(crate) struct RawFile<'a> {
    path: &'a Path,
    text: &'a str,
    pub(super) table: Spanned<DeTable<'a>>,
}

impl<'a> RawFile<'a> {
    /// Parses the text of a file.
    pub(crate) fn parse(path: &'a Path, text: &'a str) -> Result<Self, Vec<Problem>> {
        let (table, errors) = DeTable::parse_recoverable(text);
        let file = Self { path, text, table };
        if errors.is_empty() {
            return Ok(file);
        }
        // The library's own rendering repeats the line, which may hold a secret.
        let problems = errors.iter().take(MOST_SYNTAX_ERRORS).map(|error| Problem {
            origin: file.place(error.span().unwrap_or_default()),
            message: format!("not TOML: {}", error.message()),
            hint: None,
        });
        Err(problems.collect())
    }

    /// What can be understood of the text of a file.
    pub(crate) fn salvage(path: &'a Path, text: &'a str) -> Self {
        let (table, _) = DeTable::parse_recoverable(text);
        Self { path, text, table }
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

    /// The value of a dotted key.
    pub(super) fn find(&self, key: &str) -> Option<&Spanned<DeValue<'a>>> {
        let mut parts = key.split('.');
        let mut found = self.table.get_ref().get(parts.next()?)?;
        for part in parts {
            let DeValue::Table(table) = found.get_ref() else {
                return None;
            };
            found = table.get(part)?;
        }
        Some(found)
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

/// One slip, such as a missing quote, is often followed by errors that mean nothing.
const MOST_SYNTAX_ERRORS: usize = 5;
