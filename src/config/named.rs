//! Sections that the operator names: `[policy.clients.<client id>]`.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::problem::{Finding, Origin, closest};
use super::raw::{RawFile, variables};
use super::reader::Reader;
use super::show::Show;
use super::value::{Read, Value, kind};

impl<'a> Reader<'a> {
    /// Reads `[section.<name>]` tables of the file, or the inline table of the variable.
    ///
    /// `entry` is called for each name with the reader of its keys.
    pub(crate) fn named<T>(
        &mut self,
        key: &'static str,
        mut entry: impl FnMut(&mut Named<'_, 'a>) -> T,
    ) -> Vec<(String, T)> {
        self.keys.push(key);
        let raw = self.raw;
        for name in variables(key) {
            let Some(text) = raw.environment.get(&name) else {
                continue;
            };
            let origin = Origin::Variable(name);
            return match DeValue::parse(text) {
                Ok(value) => self.entries(key, value.get_ref(), &origin, None, &mut entry),
                Err(error) => {
                    let message = format!("`{key}`: not a TOML value: {}", error.message());
                    let hint = "write { cli = { grant = [\"operator.read\"] } }".to_owned();
                    self.problem(origin, message, Some(hint));
                    Vec::new()
                }
            };
        }
        let Some((file, value)) = raw.file.as_ref().and_then(|f| Some((f, f.find(key)?))) else {
            return Vec::new();
        };
        let origin = file.place(value.span());
        self.entries(key, value.get_ref(), &origin, Some(file), &mut entry)
    }

    fn entries<T>(
        &mut self,
        key: &str,
        value: &DeValue<'_>,
        origin: &Origin,
        file: Option<&'a RawFile<'a>>,
        entry: &mut impl FnMut(&mut Named<'_, 'a>) -> T,
    ) -> Vec<(String, T)> {
        let DeValue::Table(entries) = value else {
            let message = format!("`{key}`: expected sections, found {}", kind(value));
            self.problem(origin.clone(), message, Some(format!("write [{key}.NAME]")));
            return Vec::new();
        };
        let mut read = Vec::new();
        for (name, value) in entries {
            let key = format!("{key}.{}", name.get_ref());
            let origin = file.map_or_else(|| origin.clone(), |file| file.place(name.span()));
            let DeValue::Table(table) = value.get_ref() else {
                let message = format!(
                    "`{key}`: expected a section, found {}",
                    kind(value.get_ref())
                );
                self.problem(origin, message, None);
                continue;
            };
            let mut named = Named {
                reader: self,
                name: name.get_ref(),
                key,
                origin,
                file,
                table,
                keys: Vec::new(),
            };
            let value = entry(&mut named);
            named.refuse_unknown();
            read.push((name.get_ref().to_string(), value));
        }
        read
    }
}

/// The keys of one `[section.<name>]`.
pub(crate) struct Named<'r, 'a> {
    reader: &'r mut Reader<'a>,
    /// The name that the operator gave the section.
    pub(crate) name: &'r str,
    key: String,
    origin: Origin,
    file: Option<&'a RawFile<'a>>,
    table: &'r DeTable<'r>,
    keys: Vec<&'static str>,
}

impl Named<'_, '_> {
    /// The value of a key of the section.
    pub(crate) fn read<T: Show>(
        &mut self,
        name: &'static str,
        rule: impl Fn(&Value<'_>) -> Read<T>,
    ) -> Option<T> {
        self.keys.push(name);
        let value = self.table.get(name)?;
        let origin = self.place(value.span());
        let key = format!("{}.{name}", self.key);
        match rule(&Value::Toml(value.get_ref())) {
            Ok(value) => {
                self.reader.resolved(key, value.show(), origin);
                Some(value)
            }
            Err(wrongs) => {
                self.reader.wrong(&key, &origin, self.file, wrongs);
                None
            }
        }
    }

    /// Tells the operator something about the section.
    pub(crate) fn finding(&mut self, finding: Finding) {
        self.reader.findings.push(finding);
    }

    fn place(&self, span: Range<usize>) -> Origin {
        self.file
            .map_or_else(|| self.origin.clone(), |file| file.place(span))
    }

    fn refuse_unknown(self) {
        let names = self.table.keys();
        for name in names.filter(|name| !self.keys.contains(&name.get_ref().as_ref())) {
            let key = format!("{}.{}", self.key, name.get_ref());
            let hint = closest(name.get_ref(), self.keys.iter().copied());
            let hint = hint.map(|meant| format!("did you mean `{meant}`?"));
            let message = format!("unknown key `{}`", key.escape_debug());
            self.reader.problem(self.place(name.span()), message, hint);
        }
    }
}
