//! What was said, where: flags over variables over the file, before any of it means something.

use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::environment::Environment;
use super::problem::{Finding, Origin, Problem, closest};
use super::value::{Read, Show, Value, Wrong, kind};

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
    table: Spanned<DeTable<'a>>,
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

    fn place(&self, span: Range<usize>) -> Origin {
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

    fn find(&self, key: &str) -> Option<&Spanned<DeValue<'a>>> {
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
    keys: Vec<&'static str>,
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

    fn wrong(
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
            let found = wrong
                .found
                .map_or_else(|| "something else".to_owned(), |found| found);
            let message = format!("`{key}`: expected {}, found {found}", wrong.expected);
            self.problem(origin, message, wrong.hint);
        }
    }

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

/// Where the file that was given, or the one of this user or machine, is.
pub(crate) fn default_file() -> Option<PathBuf> {
    use etcetera::BaseStrategy as _;

    let user = etcetera::choose_base_strategy().ok();
    let user = user.map(|strategy| strategy.config_dir().join("scope-shim"));
    let machine = Some(PathBuf::from("/etc/scope-shim"));
    let directories = user.into_iter().chain(machine);
    directories
        .map(|directory| directory.join("scope-shim.toml"))
        .find(|file| file.is_file())
}

/// One slip, such as a missing quote, is often followed by errors that mean nothing.
const MOST_SYNTAX_ERRORS: usize = 5;
