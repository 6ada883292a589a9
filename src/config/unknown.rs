//! Keys that nobody asked for: slips, mostly, so that each is answered with what was probably meant.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Origin, closest};
use super::raw::{Entry, RawFile, own_name};
use super::reader::Reader;
use super::value::kind;

impl Reader<'_> {
    /// Refuses every key of the file that was never read.
    pub(super) fn refuse_unknown_keys(&mut self, file: &RawFile<'_>) {
        for (name, value) in file.table.get_ref() {
            let is_list = matches!(value.get_ref(), DeValue::Array(_));
            if !(is_list && name.get_ref() == "gateway" && self.raw.entry.is_some()) {
                self.refuse_unknown_top(file, name, value);
            }
        }
        if let Some(entry) = self.raw.entry {
            self.refuse_unknown_own(file, entry);
        }
    }

    fn refuse_unknown_top(&mut self, file: &RawFile<'_>, name: &Name<'_>, value: &Said<'_>) {
        let section = name.get_ref();
        let inside = format!("{section}.");
        if self.keys.contains(&&**section) {
            return;
        }
        if !self.keys.iter().any(|key| key.starts_with(&inside)) {
            self.unknown(file.place(name.span()), "", section);
            return;
        }
        let DeValue::Table(table) = value.get_ref() else {
            self.no_section(file, section, value);
            return;
        };
        self.refuse_unknown_inside(file, &inside, table);
    }

    /// What one `[[gateway]]` says: the keys of `[gateway]`, those of an entry alone, and a policy.
    fn refuse_unknown_own(&mut self, file: &RawFile<'_>, entry: Entry<'_>) {
        for (name, value) in entry.table {
            let key = name.get_ref().as_ref();
            if key == "policy" {
                match value.get_ref() {
                    DeValue::Table(table) => self.refuse_unknown_inside(file, "policy.", table),
                    _ => self.no_section(file, "gateway.policy", value),
                }
                continue;
            }
            let known = |own: &&'static str| own_name(own) == Some(key);
            if !self.keys.iter().any(known) {
                self.unknown(file.place(name.span()), "gateway.", key);
            }
        }
    }

    fn refuse_unknown_inside(&mut self, file: &RawFile<'_>, inside: &str, table: &DeTable<'_>) {
        for name in table.keys() {
            let key = format!("{inside}{}", name.get_ref());
            if self.keys.iter().any(|known| *known == key) {
                continue;
            }
            let place = file.place(name.span());
            if ["gateway.name", "gateway.hosts", "gateway.data"].contains(&key.as_str()) {
                let message = format!("`{key}` is for one of several gateways");
                let hint = "write [[gateway]] instead of [gateway]".to_owned();
                self.problem(place, message, Some(hint));
            } else {
                self.unknown(place, inside, name.get_ref());
            }
        }
    }

    fn no_section(&mut self, file: &RawFile<'_>, section: &str, value: &Said<'_>) {
        let found = kind(value.get_ref());
        let message = format!("`{section}`: expected a section, found {found}");
        let hint = format!("write [{section}]");
        self.problem(file.place(value.span()), message, Some(hint));
    }

    fn unknown(&mut self, origin: Origin, section: &str, name: &str) {
        let key = format!("{section}{name}").escape_debug().to_string();
        let near = self.keys.iter().filter_map(|key| key.strip_prefix(section));
        let sections = self.keys.iter().filter_map(|key| key.split_once('.'));
        let sections = sections.map(|(section, _)| section);
        let near = near.chain(sections.filter(|_| section.is_empty()));
        let meant = closest(name, near)
            .map(str::to_owned)
            .or_else(|| self.elsewhere(name));
        let hint = meant.map_or_else(
            || self.offered(section),
            |meant| format!("did you mean `{meant}`?"),
        );
        self.problem(origin, format!("unknown key `{key}`"), Some(hint));
    }

    /// What there is instead, where nothing comes near.
    fn offered(&self, section: &str) -> String {
        let mut names: Vec<&str> = Vec::new();
        for key in self.keys.iter().filter_map(|key| key.strip_prefix(section)) {
            let name = key.split('.').next().unwrap_or(key);
            if !names.contains(&name) {
                names.push(name);
            }
        }
        format!("there are: {}", names.join(", "))
    }

    /// The full key whose last part is `name`: it was put into the wrong section.
    fn elsewhere(&self, name: &str) -> Option<String> {
        let last = |key: &'static str| key.rsplit('.').next().unwrap_or(key);
        let meant = closest(name, self.keys.iter().copied().map(last))?;
        let key = self.keys.iter().find(|key| last(key) == meant)?;
        Some((*key).to_owned())
    }
}

type Name<'a> = Spanned<std::borrow::Cow<'a, str>>;
type Said<'a> = Spanned<DeValue<'a>>;
