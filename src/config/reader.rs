//! From what was said to values: every key is read once, by one rule, from all layers.

use toml::Spanned;
use toml::de::DeValue;

use super::problem::{Finding, Origin, Problem, closest};
use super::raw::{RawConfig, RawFile, variables};
use super::show::Show;
use super::value::{Read, Value, Wrong, kind};

/// A resolved value and where it came from, for `scope-shim check`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The key in the configuration file.
    pub key: String,
    /// The value in words, a secret as `***`.
    pub value: String,
    /// Who said so.
    pub origin: Origin,
}

/// Reads one key after the other, and remembers every problem instead of stopping at the first.
pub(crate) struct Reader<'a> {
    pub(crate) raw: &'a RawConfig<'a>,
    pub(crate) problems: Vec<Problem>,
    pub(crate) findings: Vec<Finding>,
    pub(crate) settings: Vec<Setting>,
    pub(super) keys: Vec<&'static str>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(raw: &'a RawConfig<'a>) -> Self {
        Self {
            raw,
            problems: Vec::new(),
            findings: Vec::new(),
            settings: Vec::new(),
            keys: Vec::new(),
        }
    }

    /// The value of `key`, or `default` when nobody said it.
    pub(crate) fn read<T: Show>(
        &mut self,
        key: &'static str,
        default: T,
        rule: impl Fn(&Value<'_>) -> Read<T>,
    ) -> T {
        let (value, origin) = self.layers(key, rule).unwrap_or((default, Origin::Default));
        self.resolved(key, value.show(), origin);
        value
    }

    /// The value of `key` and who said it; `None` when nobody did, or when they said `auto` or nothing between quotes.
    pub(crate) fn read_or_auto<T>(
        &mut self,
        key: &'static str,
        rule: impl Fn(&Value<'_>) -> Read<T>,
    ) -> Option<(T, Origin)> {
        let (value, origin) = self.layers(key, |value| match value {
            Value::Plain("auto") => Ok(None),
            Value::Toml(DeValue::String(text)) if text == "auto" || text.is_empty() => Ok(None),
            value => rule(value).map(Some),
        })?;
        Some((value?, origin))
    }

    /// Remembers what became of a key.
    pub(crate) fn resolved(&mut self, key: impl Into<String>, value: String, origin: Origin) {
        self.settings.push(Setting {
            key: key.into(),
            value,
            origin,
        });
    }

    /// Who said what a key resolved to.
    pub(crate) fn origin(&self, key: &str) -> Origin {
        let setting = self.settings.iter().find(|setting| setting.key == key);
        setting.map_or(Origin::Default, |setting| setting.origin.clone())
    }

    /// Notes that `origin` said something that cannot be used.
    pub(crate) fn problem(&mut self, origin: Origin, message: String, hint: Option<String>) {
        self.problems.push(Problem {
            origin,
            message,
            hint,
        });
    }

    /// Every layer is checked, also one that a higher layer overrules: it will be used some day.
    fn layers<T>(
        &mut self,
        key: &'static str,
        rule: impl Fn(&Value<'_>) -> Read<T>,
    ) -> Option<(T, Origin)> {
        self.keys.push(key);
        let raw = self.raw;
        let flags = raw.flags.iter().filter(|flag| flag.key == key);
        let flags = flags.map(|flag| (Value::Plain(&flag.value), Origin::Flag(flag.name), None));
        let variables = variables(key).into_iter().filter_map(|name| {
            let value = Value::Plain(raw.environment.get(&name)?);
            Some((value, Origin::Variable(name), None))
        });
        let file = raw.file.as_ref().and_then(|file| {
            let value = file.find(key)?;
            let origin = file.place(value.span());
            Some((Value::Toml(value.get_ref()), origin, Some(file)))
        });
        let mut chosen = None;
        for (value, origin, file) in flags.chain(variables).chain(file) {
            match rule(&value) {
                Ok(value) if chosen.is_none() => chosen = Some((value, origin)),
                Ok(_) => {}
                Err(wrongs) => self.wrong(key, &origin, file, wrongs),
            }
        }
        chosen
    }

    /// Turns what a rule said into problems.
    pub(super) fn wrong(
        &mut self,
        key: &str,
        origin: &Origin,
        file: Option<&RawFile<'_>>,
        wrongs: Vec<Wrong>,
    ) {
        for wrong in wrongs {
            let origin = match (file, wrong.span) {
                (Some(file), Some(span)) => file.place(span),
                _ => origin.clone(),
            };
            let mut message = format!("`{key}`: expected {}", wrong.expected);
            if let Some(found) = wrong.found {
                message.push_str(", found ");
                message.push_str(&found);
            }
            self.problem(origin, message, wrong.hint);
        }
    }

    /// Refuses every key of the file that nobody asked for, and doubts variables that look like a slip.
    pub(crate) fn refuse_unknown(&mut self) {
        if let Some(file) = &self.raw.file {
            for (name, value) in file.table.get_ref() {
                self.refuse_unknown_top(file, name, value);
            }
        }
        let known: Vec<String> = self.keys.iter().flat_map(|key| variables(key)).collect();
        let known = || {
            known
                .iter()
                .map(String::as_str)
                .chain(["SCOPE_SHIM_CONFIG"])
        };
        for name in self.raw.environment.names() {
            // Kubernetes sets SCOPE_SHIM_PORT and more for a service of that name: only a slip is worth a word.
            if name.starts_with("SCOPE_SHIM_")
                && !known().any(|known| known == name)
                && let Some(meant) = closest(name, known())
                && meant.len().abs_diff(name.len()) <= 2
            {
                self.findings.push(Finding::new(
                    "unknown-variable",
                    format!("the variable {name} is not one of the shim's and is ignored"),
                    format!("did you mean {meant}?"),
                ));
            }
        }
    }

    fn refuse_unknown_top(
        &mut self,
        file: &RawFile<'_>,
        name: &Spanned<std::borrow::Cow<'_, str>>,
        value: &Spanned<DeValue<'_>>,
    ) {
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
            let found = kind(value.get_ref());
            let message = format!("`{section}`: expected a section, found {found}");
            let hint = Some(format!("write [{section}]"));
            self.problem(file.place(value.span()), message, hint);
            return;
        };
        for name in table.keys() {
            let key = format!("{inside}{}", name.get_ref());
            if !self.keys.iter().any(|known| *known == key) {
                self.unknown(file.place(name.span()), &inside, name.get_ref());
            }
        }
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
        let hint = meant.map(|meant| format!("did you mean `{meant}`?"));
        self.problem(origin, format!("unknown key `{key}`"), hint);
    }

    /// The full key whose last part is `name`: it was put into the wrong section.
    fn elsewhere(&self, name: &str) -> Option<String> {
        let last = |key: &'static str| key.rsplit('.').next().unwrap_or(key);
        let meant = closest(name, self.keys.iter().copied().map(last))?;
        let key = self.keys.iter().find(|key| last(key) == meant)?;
        Some((*key).to_owned())
    }
}
