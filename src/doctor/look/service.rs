//! The services that start a gateway: systemd units and launchd agents, and the secrets that were baked into them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::config::Environment;
use crate::gateway::{GatewayAuth, Place, Reader, environment_file};
use crate::profile::Version;
use crate::secret::Secret;

/// What the services say about this gateway.
#[derive(Debug, Default)]
pub(super) struct Services {
    pub(super) secrets: Vec<Place>,
    pub(super) version: Option<(Version, String)>,
}

pub(super) fn look(
    environment: &Environment,
    state: Option<&Path>,
    auth: &GatewayAuth,
) -> Services {
    let variable = match auth {
        GatewayAuth::Password(_) => "OPENCLAW_GATEWAY_PASSWORD",
        _ => "OPENCLAW_GATEWAY_TOKEN",
    };
    let home = environment.home();
    let mut services = Services::default();
    for file in files(home.as_deref()) {
        let Ok(text) = fs::read_to_string(&file) else {
            continue;
        };
        let is_agent = file
            .extension()
            .is_some_and(|extension| extension == "plist");
        let variables = if is_agent {
            plist(&text)
        } else {
            unit(&text, home.as_deref())
        };
        if !is_about(&variables, state, home.as_deref()) {
            continue;
        }
        if let Some(value) = variables.get(variable) {
            services.secrets.push(Place {
                name: format!("{variable} of the service {}", file.display()),
                reader: Reader::Service,
                secret: Secret::new(value.trim()),
            });
        }
        let version = variables.get("OPENCLAW_SERVICE_VERSION");
        if let Some(version) = version.and_then(|version| Version::parse(version)) {
            services.version = Some((version, format!("the service {}", file.display())));
        }
    }
    services
}

/// The files in which `openclaw gateway install`, or an administrator, puts a service.
fn files(home: Option<&Path>) -> Vec<PathBuf> {
    let user = home.map(|home| {
        [
            (home.join(".config/systemd/user"), "openclaw", ".service"),
            (home.join("Library/LaunchAgents"), "ai.openclaw.", ".plist"),
        ]
    });
    let machine = (PathBuf::from("/etc/systemd/system"), "openclaw", ".service");
    let mut files = Vec::new();
    for (directory, start, end) in user.into_iter().flatten().chain([machine]) {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        files.extend(entries.map(|entry| entry.path()).filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(start) && name.ends_with(end) && path.is_file()
        }));
    }
    files.sort();
    files
}

/// Whether a service starts the gateway of this state directory.
fn is_about(
    variables: &BTreeMap<String, String>,
    state: Option<&Path>,
    home: Option<&Path>,
) -> bool {
    let said = variables.get("OPENCLAW_STATE_DIR").map(PathBuf::from);
    let configured = variables.get("OPENCLAW_CONFIG_PATH").map(PathBuf::from);
    let configured = configured.and_then(|file| file.parent().map(Path::to_owned));
    let theirs = said
        .or(configured)
        .or_else(|| Some(home?.join(".openclaw")));
    theirs.as_deref() == state
}

/// `Environment=` and `EnvironmentFile=` of a systemd unit, as `systemd.exec(5)` has them.
fn unit(text: &str, home: Option<&Path>) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    for line in text.lines() {
        let Some((key, value)) = line.trim().split_once('=') else {
            continue;
        };
        match key.trim() {
            "Environment" => variables.extend(assignments(value)),
            "EnvironmentFile" => {
                let path = value.trim().trim_start_matches('-');
                let home = home.map(|home| home.display().to_string());
                let path = path.replace("%h", &home.unwrap_or_default());
                variables.extend(environment_file(Path::new(&path)));
            }
            _ => {}
        }
    }
    variables
}

/// `A=1 "B=two words" C='three'`.
fn assignments(text: &str) -> Vec<(String, String)> {
    let mut words: Vec<String> = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut letters = text.trim().chars();
    while let Some(letter) = letters.next() {
        match (letter, quote) {
            ('\\', _) => word.extend(letters.next()),
            (_, Some(open)) if letter == open => quote = None,
            ('"' | '\'', None) => quote = Some(letter),
            (_, None) if letter.is_whitespace() => words.push(std::mem::take(&mut word)),
            _ => word.push(letter),
        }
    }
    words.push(word);
    let pairs = words.iter().filter_map(|word| word.split_once('='));
    pairs
        .map(|(name, value)| (name.to_owned(), value.replace("%%", "%")))
        .collect()
}

/// The texts of a property list, by the key before each.
fn plist(text: &str) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    for part in text.split("<key>").skip(1) {
        let Some((key, rest)) = part.split_once("</key>") else {
            continue;
        };
        let value = rest.trim_start().strip_prefix("<string>");
        if let Some((value, _)) = value.and_then(|value| value.split_once("</string>")) {
            variables.insert(plain(key), plain(value));
        }
    }
    variables
}

fn plain(xml: &str) -> String {
    let entities = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&apos;", "'"),
        ("&amp;", "&"),
    ];
    entities
        .into_iter()
        .fold(xml.trim().to_owned(), |text, (entity, letter)| {
            text.replace(entity, letter)
        })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use super::*;

    #[test]
    fn a_unit_tells_its_variables() {
        let text = "[Service]\nExecStart=node x\nEnvironment=A=1 \"B=two words\" 'C=3'\nEnvironment=\"D=say \\\"hi\\\"\" E=50%%\n";
        let variables = unit(text, None);
        let pairs: Vec<(&str, &str)> = variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let expected = [
            ("A", "1"),
            ("B", "two words"),
            ("C", "3"),
            ("D", "say \"hi\""),
            ("E", "50%"),
        ];
        assert_eq!(pairs, expected);
    }

    #[test]
    fn a_property_list_tells_its_variables() {
        let text = "<dict><key>EnvironmentVariables</key>\n<dict>\n <key>OPENCLAW_GATEWAY_TOKEN</key>\n  <string>a&amp;b</string><key>N</key><integer>1</integer></dict></dict>";
        let variables = plist(text);
        assert_eq!(variables.len(), 1);
        assert_eq!(variables["OPENCLAW_GATEWAY_TOKEN"], "a&b");
    }

    #[test]
    fn only_the_services_of_this_state_directory_count() {
        let home = tempfile::tempdir().unwrap();
        let units = home.path().join(".config/systemd/user");
        fs::create_dir_all(&units).unwrap();
        fs::write(
            units.join("openclaw-gateway.service"),
            "[Service]\nEnvironmentFile=-%h/secrets.env\nEnvironment=OPENCLAW_SERVICE_VERSION=2026.2.19\n",
        )
        .unwrap();
        fs::write(
            units.join("openclaw-gateway-other.service"),
            "[Service]\nEnvironment=OPENCLAW_STATE_DIR=/elsewhere OPENCLAW_GATEWAY_TOKEN=b\n",
        )
        .unwrap();
        fs::write(
            home.path().join("secrets.env"),
            "OPENCLAW_GATEWAY_TOKEN=a\n",
        )
        .unwrap();
        let environment = Environment::from_iter([("HOME", home.path().display().to_string())]);
        let auth = GatewayAuth::Unknown;
        let own = look(&environment, Some(&home.path().join(".openclaw")), &auth);
        assert_eq!(own.secrets.len(), 1);
        assert!(own.secrets[0].secret.matches("a"));
        assert_eq!(own.version.unwrap().0, Version::v2026(2, 19));
        let other = look(&environment, Some(Path::new("/elsewhere")), &auth);
        assert!(other.secrets[0].secret.matches("b"));
        let nobody = look(&environment, Some(Path::new("/nowhere")), &auth);
        assert!(nobody.secrets.is_empty());
    }
}
