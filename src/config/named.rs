//! Sections that the operator names: `[policy.clients.<client id>]`.

use std::collections::BTreeMap;
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
    /// `entry` is called for each name with the reader of its keys. A gateway's own entry goes before what holds for all
    /// of them, key by key.
    pub(crate) fn named<T>(
        &mut self,
        key: &'static str,
        mut entry: impl FnMut(&mut Named<'_, 'a>) -> T,
    ) -> Vec<(String, T)> {
        self.keys.push(key);
        let raw = self.raw;
        let mut sections = Sections::new();
        for name in variables(key) {
            let Some(text) = raw.environment.get(&name) else {
                continue;
            };
            let origin = Origin::Variable(name);
            match DeValue::parse(text) {
                Ok(value) => {
                    self.sections(key, value.get_ref(), &origin, None, &mut sections);
                    return self.entries(key, sections, &mut entry);
                }
                Err(error) => {
                    let message = format!("`{key}`: not a TOML value: {}", error.message());
                    let hint = "write { cli = { grant = [\"operator.read\"] } }".to_owned();
                    self.problem(origin, message, Some(hint));
                    return Vec::new();
                }
            }
        }
        for (file, value) in raw.said(key) {
            let origin = file.place(value.span());
            self.sections(key, value.get_ref(), &origin, Some(file), &mut sections);
        }
        self.entries(key, sections, &mut entry)
    }

    /// Adds the sections of `value` behind those that are there.
    fn sections<'v>(
        &mut self,
        key: &str,
        value: &'v DeValue<'v>,
        origin: &Origin,
        file: Option<&'a RawFile<'a>>,
        sections: &mut Sections<'v>,
    ) {
        let DeValue::Table(entries) = value else {
            let message = format!("`{key}`: expected sections, found {}", kind(value));
            self.problem(origin.clone(), message, Some(format!("write [{key}.NAME]")));
            return;
        };
        for (name, value) in entries {
            let key = format!("{key}.{}", name.get_ref());
            let origin = file.map_or_else(|| origin.clone(), |file| file.place(name.span()));
            let DeValue::Table(table) = value.get_ref() else {
                let found = kind(value.get_ref());
                let message = format!("`{key}`: expected a section, found {found}");
                self.problem(origin, message, Some(format!("write [{key}]")));
                continue;
            };
            let layers = sections.entry(name.get_ref()).or_default();
            layers.push((origin, table));
        }
    }

    fn entries<T>(
        &mut self,
        key: &str,
        sections: Sections<'_>,
        entry: &mut impl FnMut(&mut Named<'_, 'a>) -> T,
    ) -> Vec<(String, T)> {
        let mut read = Vec::new();
        for (name, layers) in sections {
            let mut named = Named {
                file: self.raw.file.filter(|_| {
                    let first = layers.first().map(|(origin, _)| origin);
                    matches!(first, Some(Origin::File { .. }))
                }),
                reader: self,
                name,
                key: format!("{key}.{name}"),
                layers,
                keys: Vec::new(),
            };
            let value = entry(&mut named);
            named.refuse_unknown();
            read.push((name.to_owned(), value));
        }
        read
    }
}

/// By name: each section that has it, the one that rules first.
type Sections<'v> = BTreeMap<&'v str, Vec<(Origin, &'v DeTable<'v>)>>;

/// The keys of one `[section.<name>]`.
pub(crate) struct Named<'r, 'a> {
    reader: &'r mut Reader<'a>,
    /// The name that the operator gave the section.
    pub(crate) name: &'r str,
    key: String,
    file: Option<&'a RawFile<'a>>,
    layers: Vec<(Origin, &'r DeTable<'r>)>,
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
        let key = format!("{}.{name}", self.key);
        let mut chosen = None;
        for (section, table) in &self.layers {
            let Some(value) = table.get(name) else {
                continue;
            };
            let origin = place(self.file, section, value.span());
            match rule(&Value::Toml(value.get_ref())) {
                Ok(value) if chosen.is_none() => {
                    self.reader.resolved(key.clone(), value.show(), origin);
                    chosen = Some(value);
                }
                Ok(_) => {}
                Err(wrongs) => {
                    let usual = "take it away for what holds otherwise";
                    self.reader.wrong(&key, &origin, self.file, wrongs, usual);
                }
            }
        }
        chosen
    }

    /// Tells the operator something about the section.
    pub(crate) fn finding(&mut self, finding: Finding) {
        self.reader.findings.push(finding);
    }

    fn refuse_unknown(self) {
        for (section, table) in &self.layers {
            let names = table.keys();
            for name in names.filter(|name| !self.keys.contains(&name.get_ref().as_ref())) {
                let key = format!("{}.{}", self.key, name.get_ref());
                let hint = closest(name.get_ref(), self.keys.iter().copied()).map_or_else(
                    || format!("there are: {}", self.keys.join(", ")),
                    |meant| format!("did you mean `{meant}`?"),
                );
                let message = format!("unknown key `{}`", key.escape_debug());
                let origin = place(self.file, section, name.span());
                self.reader.problem(origin, message, Some(hint));
            }
        }
    }
}

fn place(file: Option<&RawFile<'_>>, section: &Origin, span: Range<usize>) -> Origin {
    file.map_or_else(|| section.clone(), |file| file.place(span))
}
