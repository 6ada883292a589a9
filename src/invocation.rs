//! How a command of this program is given so that it means the shim at hand: for texts that somebody pastes.

use std::fmt::Display;
use std::path::Path;

use crate::config::{Origin, Setting};

/// The options that the commands need beside their own words, in the order in which they are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Invocation(Vec<Given>);

/// One option.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Given {
    flag: &'static str,
    value: String,
    /// Whether a variable said it, which another shell need not have.
    by_variable: bool,
}

impl Invocation {
    /// What a configuration was told in another way than by a file in its usual place: another shell, and another user,
    /// need the same.
    pub(crate) fn new(
        file: Option<(&Path, &Origin)>,
        settings: &[Setting],
        values: [(&'static str, &'static str, Option<String>); 3],
    ) -> Self {
        let mut options = Vec::new();
        if let Some((path, origin)) = file {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
            options.extend(Given::from("--config", path.display(), origin));
        }
        for (key, flag, value) in values {
            let said = settings.iter().find(|setting| setting.key == key);
            if let (Some(said), Some(value)) = (said, value) {
                options.extend(Given::from(flag, value, &said.origin));
            }
        }
        Self(options)
    }

    /// What leads to a shim whose options are known.
    #[must_use]
    pub fn of_flags(given: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        let given = given.into_iter().map(|(flag, value)| Given {
            flag,
            value,
            by_variable: false,
        });
        Self(given.collect())
    }

    /// The same with another value for an option.
    #[must_use]
    pub fn with(mut self, flag: &'static str, value: String) -> Self {
        self.0.retain(|given| given.flag != flag);
        self.0.extend(Self::of_flags([(flag, value)]).0);
        self
    }

    /// The same for one of several gateways.
    #[must_use]
    pub fn for_gateway(mut self, name: &str) -> Self {
        self.0.push(Given {
            flag: GATEWAY_NAME,
            value: name.to_owned(),
            by_variable: false,
        });
        self
    }

    /// The same for the shell that this program was started from, which has its variables.
    #[must_use]
    pub fn here(mut self) -> Self {
        self.0.retain(|given| !given.by_variable);
        self
    }

    /// The same without any path or address of this machine: for whoever asks from elsewhere.
    #[must_use]
    pub fn without_places(mut self) -> Self {
        self.0.retain(|given| given.flag == GATEWAY_NAME);
        self
    }

    /// A command of this program, as a shell needs it: its name, then its own words, then the options.
    #[must_use]
    pub fn command(&self, words: &[&str]) -> String {
        let mut text = PROGRAM.to_owned();
        for word in words {
            text.push(' ');
            text.push_str(&quoted(word));
        }
        let taken = taken(words.first().copied().unwrap_or_default());
        let said = |flag: &str| {
            words
                .iter()
                .any(|word| word.split('=').next() == Some(flag))
        };
        let needed = |given: &&Given| taken.contains(&given.flag) && !said(given.flag);
        for given in self.0.iter().filter(needed) {
            text.push_str(&format!(" {} {}", given.flag, quoted(&given.value)));
        }
        text
    }
}

impl Given {
    fn from(flag: &'static str, value: impl Display, origin: &Origin) -> Option<Self> {
        let by_variable = match origin {
            Origin::Flag(_) => false,
            Origin::Variable(_) => true,
            Origin::File { .. } | Origin::Discovery(_) | Origin::Default => return None,
        };
        Some(Self {
            flag,
            value: value.to_string(),
            by_variable,
        })
    }
}

/// What a command goes by: one that only speaks with the running shim has to find that, another the gateway as well.
fn taken(command: &str) -> &'static [&'static str] {
    match command {
        "reload" | "upgrade" | "status" | "page" => &[CONFIG, DATA],
        "mode" => &[CONFIG, DATA, GATEWAY_NAME],
        "run" => &[CONFIG, DATA, GATEWAY, GATEWAY_STATE],
        _ => &[CONFIG, DATA, GATEWAY_NAME, GATEWAY, GATEWAY_STATE],
    }
}

/// As a shell needs it.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@,+%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    let shown: String = word
        .chars()
        .map(|c| match c {
            '\'' => r"'\''".to_owned(),
            c if c.is_control() => c.escape_debug().to_string(),
            c => c.to_string(),
        })
        .collect();
    format!("'{shown}'")
}

const PROGRAM: &str = "scope-shim";
const CONFIG: &str = "--config";
const DATA: &str = "--data";
const GATEWAY: &str = "--gateway";
const GATEWAY_STATE: &str = "--gateway-state";
const GATEWAY_NAME: &str = "--gateway-name";

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(key: &str, origin: Origin) -> Setting {
        Setting {
            key: key.to_owned(),
            value: String::new(),
            origin,
        }
    }

    #[test]
    fn a_command_can_be_pasted_into_a_shell() {
        let usual = Invocation::default();
        assert_eq!(usual.command(&["approve", "a-b"]), "scope-shim approve a-b");
        assert_eq!(
            usual.command(&["approve", "a; rm '\u{1b}x'"]),
            r"scope-shim approve 'a; rm '\''\u{1b}x'\'''"
        );
    }

    #[test]
    fn a_command_says_what_only_this_shim_was_told() {
        let settings = [
            setting("data", Origin::Flag("--data")),
            setting("gateway.url", Origin::Variable("SCOPE_SHIM_GATEWAY".into())),
            setting("gateway.state", Origin::Default),
        ];
        let values = [
            ("data", DATA, Some("/my data".to_owned())),
            ("gateway.url", "--gateway", Some("ws://h:1".to_owned())),
            ("gateway.state", "--gateway-state", Some("/s".to_owned())),
        ];
        let file = Some((Path::new("/f.toml"), &Origin::Flag(CONFIG)));
        let shim = Invocation::new(file, &settings, values).for_gateway("staging");
        assert_eq!(
            shim.command(&["approve", "x"]),
            "scope-shim approve x --config /f.toml --data '/my data' --gateway ws://h:1 --gateway-name staging"
        );
        assert_eq!(
            shim.command(&["mode", "on"]),
            "scope-shim mode on --config /f.toml --data '/my data' --gateway-name staging"
        );
        assert_eq!(
            shim.here().command(&["status"]),
            "scope-shim status --config /f.toml --data '/my data'"
        );
    }
}
