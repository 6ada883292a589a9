//! From what was said to values: every key is read once, by one rule, from all layers.

use toml::de::DeValue;

use super::problem::{Finding, Origin, Problem, closest};
use super::raw::{RawConfig, RawFile, variables};
use super::show::Show;
use super::value::{Read, Value, Wrong};
use super::warning::Warning;

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
        let usual = format!("the default is {}", default.show());
        let (value, origin) = self
            .layers(key, &usual, rule)
            .unwrap_or((default, Origin::Default));
        self.resolved(key, value.show(), origin);
        value
    }

    /// The value of `key` and who said it; `None` when nobody did, or when they said `auto` or nothing between quotes.
    pub(crate) fn read_or_auto<T>(
        &mut self,
        key: &'static str,
        rule: impl Fn(&Value<'_>) -> Read<T>,
    ) -> Option<(T, Origin)> {
        let usual = "take it away, and it is found out";
        let (value, origin) = self.layers(key, usual, |value| match value {
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
        usual: &str,
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
        let file = raw.said(key).map(|(file, value)| {
            let origin = file.place(value.span());
            (Value::Toml(value.get_ref()), origin, Some(file))
        });
        let mut chosen = None;
        for (value, origin, file) in flags.chain(variables).chain(file) {
            if file.is_none() && raw.is_ambiguous(key) {
                self.ambiguous(key, origin);
                continue;
            }
            match rule(&value) {
                Ok(value) if chosen.is_none() => chosen = Some((value, origin)),
                Ok(_) => {}
                Err(wrongs) => self.wrong(key, &origin, file, wrongs, usual),
            }
        }
        chosen
    }

    /// A flag or variable knows no names.
    fn ambiguous(&mut self, key: &str, origin: Origin) {
        let name = key.rsplit('.').next().unwrap_or(key);
        let message = format!("`{key}` belongs to one gateway, and the file has several");
        let hint = format!("say {name} in the [[gateway]] entry that is meant");
        self.problem(origin, message, Some(hint));
    }

    /// Turns what a rule said into problems; `usual` is the suggestion where the rule has none.
    pub(super) fn wrong(
        &mut self,
        key: &str,
        origin: &Origin,
        file: Option<&RawFile<'_>>,
        wrongs: Vec<Wrong>,
        usual: &str,
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
            let hint = wrong.hint.unwrap_or_else(|| usual.to_owned());
            self.problem(origin, message, Some(hint));
        }
    }

    /// Refuses every key of the file that nobody asked for, and doubts variables that look like a slip.
    pub(crate) fn refuse_unknown(&mut self) {
        if let Some(file) = self.raw.file {
            self.refuse_unknown_keys(file);
        }
        self.doubt_variables();
    }

    fn doubt_variables(&mut self) {
        let known: Vec<String> = self.keys.iter().flat_map(|key| variables(key)).collect();
        let known = || {
            known
                .iter()
                .map(String::as_str)
                .chain(["SCOPE_SHIM_CONFIG", "SCOPE_SHIM_GATEWAY_NAME"])
        };
        for name in self.raw.environment.names() {
            // Kubernetes sets SCOPE_SHIM_PORT and more for a service of that name: only a slip is worth a word.
            if name.starts_with("SCOPE_SHIM_")
                && !known().any(|known| known == name)
                && let Some(meant) = closest(name, known())
                && meant.len().abs_diff(name.len()) <= 2
            {
                self.findings.push(Finding::new(
                    Warning::UnknownVariable,
                    format!("the variable {name} is not one of the shim's and is ignored"),
                    format!("did you mean {meant}?"),
                ));
            }
        }
    }
}
