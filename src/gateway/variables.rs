//! The variables that the gateway substitutes in its configuration.

use std::collections::BTreeMap;
use std::path::Path;

use super::document::{self, Document};
use crate::config::Environment;

/// What a gateway that starts now would see: its environment, over `.env` in its state directory, over `env` in its
/// configuration.
pub(super) struct Variables<'a> {
    environment: &'a Environment,
    state_file: BTreeMap<String, String>,
    configured: BTreeMap<String, String>,
}

impl<'a> Variables<'a> {
    pub(super) fn new(
        environment: &'a Environment,
        state: &Path,
        document: Option<&Document>,
    ) -> Self {
        // The file is optional, and one that cannot be read only shows as a variable that is not set.
        let text = document::read(&state.join(".env")).unwrap_or_default();
        let mut configured = BTreeMap::new();
        for key in ["env", "env.vars"] {
            let entries = document.and_then(|document| document.get(key)?.as_object());
            for (name, value) in entries.into_iter().flatten() {
                if let Some(value) = value.as_str().filter(|value| !value.trim().is_empty()) {
                    configured.insert(name.clone(), value.to_owned());
                }
            }
        }
        Self {
            environment,
            state_file: dotenv(&text),
            configured,
        }
    }

    /// The value of a variable and what set it.
    pub(super) fn get(&self, name: &str) -> Option<(&str, String)> {
        if let Some(value) = self.environment.get(name) {
            return Some((value, name.to_owned()));
        }
        let from_file = self.state_file.get(name).map(|value| (value, ".env"));
        let configured = || self.configured.get(name).map(|value| (value, "env"));
        let (value, place) = from_file.or_else(configured)?;
        let value = value.trim();
        (!value.is_empty()).then(|| (value, format!("{name} in the gateway's {place}")))
    }

    /// Every value that a variable has been given by one of the gateway's own files, with the file's part in it.
    pub(super) fn in_files(&self, name: &str) -> Vec<(&str, &'static str)> {
        let places = [(&self.state_file, ".env"), (&self.configured, "env")];
        let values = places.into_iter().filter_map(|(variables, place)| {
            let value = variables.get(name)?.trim();
            (!value.is_empty()).then_some((value, place))
        });
        values.collect()
    }

    /// `text` with every `${NAME}` replaced; `$${NAME}` stands for itself.
    ///
    /// The error is the name of a variable that is not set.
    pub(super) fn substitute(&self, text: &str) -> Result<String, String> {
        let mut result = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(dollar) = rest.find('$') {
            let (before, after) = rest.split_at(dollar);
            result.push_str(before);
            if let Some((name, tail)) = after.strip_prefix("$${").and_then(name_and_tail) {
                result.push_str(&format!("${{{name}}}"));
                rest = tail;
            } else if let Some((name, tail)) = after.strip_prefix("${").and_then(name_and_tail) {
                let (value, _) = self.get(name).ok_or_else(|| name.to_owned())?;
                result.push_str(value);
                rest = tail;
            } else {
                result.push('$');
                rest = after.get(1..).unwrap_or_default();
            }
        }
        result.push_str(rest);
        Ok(result)
    }
}

/// Splits `NAME}tail`.
fn name_and_tail(text: &str) -> Option<(&str, &str)> {
    text.split_once('}').filter(|(name, _)| is_name(name))
}

/// Whether the gateway takes `name` for a variable.
pub(super) fn is_name(name: &str) -> bool {
    !name.starts_with(|letter: char| letter.is_ascii_digit())
        && !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}

/// `NAME=value` lines with optional `export` and quotes; the first of a name counts not, the last does.
pub(super) fn dotenv(text: &str) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    for line in text.lines() {
        let line = line.trim();
        let line = line.strip_prefix("export ").unwrap_or(line);
        let Some((name, value)) = line.split_once('=') else {
            continue;
        };
        let (name, value) = (name.trim(), value.trim());
        if name.is_empty() || name.starts_with('#') {
            continue;
        }
        variables.insert(name.to_owned(), unquoted(value));
    }
    variables
}

fn unquoted(value: &str) -> String {
    for quote in ['"', '\'', '`'] {
        if let Some((inside, _)) = value.strip_prefix(quote).and_then(|v| v.split_once(quote)) {
            return match quote {
                '"' => inside.replace("\\n", "\n"),
                _ => inside.to_owned(),
            };
        }
    }
    let end = value.find('#').unwrap_or(value.len());
    value[..end].trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn substitution_follows_the_gateway() {
        let environment = Environment::from_iter([("A", "x"), ("B_2", "y")]);
        let variables = Variables::new(&environment, Path::new("/nowhere"), None);
        for (text, expected) in [
            ("plain", "plain"),
            ("${A}-${B_2}", "x-y"),
            ("$${A}", "${A}"),
            ("$A ${a} ${} ${A", "$A ${a} ${} ${A"),
            ("$", "$"),
            ("€$€", "€$€"),
        ] {
            assert_eq!(
                variables.substitute(text).as_deref(),
                Ok(expected),
                "{text}"
            );
        }
        assert_eq!(variables.substitute("${C}"), Err("C".to_owned()));
    }

    #[test]
    fn a_dotenv_file_is_read_as_usual() {
        let text = "# c\nA=1\nexport B = 'two # 2' \nC=\"a\\nb\"\nD=4 # four\nnonsense\nA=5\nE=";
        let variables = dotenv(text);
        let pairs: Vec<(&str, &str)> = variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let expected = [
            ("A", "5"),
            ("B", "two # 2"),
            ("C", "a\nb"),
            ("D", "4"),
            ("E", ""),
        ];
        assert_eq!(pairs, expected);
    }
}
