use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::tools::{PROGRAM, file, finish, program, text};

/// Every file in deploy/ that is text.
fn artefacts() -> Vec<(String, String)> {
    let mut all = Vec::new();
    collect(&file("deploy"), &mut all);
    assert!(all.len() > 10, "{}", all.len());
    all
}

fn collect(directory: &Path, all: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, all);
        } else if let Ok(content) = fs::read_to_string(&path) {
            all.push((path.display().to_string(), content));
        }
    }
}

/// The words that follow the name of the program where it stands as a command: in backquotes, by its path, or on a
/// line of its own. Elsewhere the name is followed by a verb of a sentence.
fn commands(content: &str) -> Vec<Vec<&str>> {
    let mut found = Vec::new();
    for line in content.lines() {
        let alone = line.trim_start_matches('#');
        let alone = line.starts_with("scope-shim ") || alone.starts_with("   scope-shim ");
        for (at, _) in line.match_indices("scope-shim ") {
            let (before, rest) = line.split_at(at);
            let first = alone && before.trim_matches(['#', ' ']).is_empty();
            if first || before.ends_with('`') || before.ends_with("bin/") {
                let command = rest.split(['`', '"', '#', ';', '|', '>', ')', '<']).next();
                let words = command.unwrap_or_default().split_whitespace().skip(1);
                found.push(words.collect::<Vec<_>>());
            }
        }
    }
    found.retain(|words| !words.is_empty());
    found
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase())
}

#[test]
fn every_command_that_is_mentioned_exists_with_its_flags() {
    let known: BTreeSet<String> = program(&["--help"])
        .lines()
        .filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next())
        .map(str::to_owned)
        .collect();
    let mut seen = 0;
    for (path, content) in artefacts() {
        // In a Dockerfile or a manifest, every word stands by itself.
        let content = content.replace("\", \"", " ");
        for words in commands(&content) {
            let said = format!("{path}: scope-shim {}", words.join(" "));
            let name = words[0].trim_end_matches([',', '.', ':']);
            if !is_word(name) {
                continue;
            }
            assert!(known.contains(name), "{said}");
            seen += 1;
            let mut help = program(&[name, "--help"]);
            // A command of its own below: `intercept up`.
            if let Some(below) = words.get(1).filter(|word| is_word(word))
                && help.contains(&format!("\n  {below} "))
            {
                help.push_str(&program(&[name, below, "--help"]));
            }
            for flag in words.iter().filter(|word| word.starts_with("--")) {
                let flag = flag.split('=').next().unwrap_or_default();
                let flag = flag.trim_end_matches([',', '.', ':']);
                assert!(help.contains(flag), "{said}: {flag}");
            }
        }
    }
    assert!(seen > 10, "{seen}");
}

/// The keys of config/scope-shim.toml, which a test holds to the program.
fn keys() -> BTreeSet<String> {
    let mut section = String::new();
    let mut keys = BTreeSet::new();
    for line in text("config/scope-shim.toml").lines() {
        let line = line.trim_start_matches('#');
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|line| line.strip_suffix(']'))
        {
            section = name.trim_matches(['[', ']']).to_owned();
        } else if let Some((key, _)) = line.split_once(" = ")
            && key.chars().all(|c| c.is_ascii_lowercase() || c == '_')
        {
            keys.insert(join(&section, key));
        }
    }
    keys
}

fn join(section: &str, key: &str) -> String {
    if section.is_empty() {
        key.to_owned()
    } else {
        format!("{section}.{key}")
    }
}

/// The blocks of TOML in a manifest, and whole files of it.
fn configurations() -> Vec<(String, String)> {
    let mut all = Vec::new();
    for (path, content) in artefacts() {
        if path.ends_with(".toml") {
            all.push((path, content));
        } else if let Some((_, rest)) = content.split_once("  scope-shim.toml: |\n") {
            let block: Vec<&str> = rest
                .lines()
                .take_while(|line| line.is_empty() || line.starts_with("    "))
                .map(|line| line.trim_start())
                .collect();
            all.push((path, block.join("\n")));
        }
    }
    assert!(all.len() >= 3, "{}", all.len());
    all
}

#[test]
fn every_key_that_is_set_exists() {
    let known = keys();
    for (path, content) in configurations() {
        let mut section = String::new();
        for line in content.lines().filter(|line| !line.starts_with('#')) {
            if let Some(name) = line
                .strip_prefix('[')
                .and_then(|line| line.strip_suffix(']'))
            {
                section = name.to_owned();
            } else if let Some((key, _)) = line.split_once(" = ") {
                let key = join(&section, key);
                assert!(known.contains(&key), "{path}: {key}");
            }
        }
    }
}

#[test]
fn every_variable_that_is_set_exists() {
    let known: BTreeSet<String> = keys()
        .iter()
        .map(|key| format!("SCOPE_SHIM_{}", key.to_uppercase().replace('.', "_")))
        .chain(["SCOPE_SHIM_GATEWAY".to_owned()])
        .collect();
    let mut seen = 0;
    for (path, content) in artefacts() {
        for (at, _) in content.match_indices("SCOPE_SHIM_") {
            let rest = &content[at..];
            let name = rest
                .split(|c: char| !(c.is_ascii_uppercase() || c == '_'))
                .next();
            let name = name.unwrap_or_default();
            assert!(known.contains(name), "{path}: {name}");
            seen += 1;
        }
    }
    assert!(seen > 5, "{seen}");
}

/// What the manifests hold is taken by the program itself, with files in the places of the secrets.
#[test]
fn every_configuration_is_accepted_by_the_program() {
    for (path, content) in configurations() {
        let dir = tempfile::tempdir().unwrap();
        let place = |name: &str| dir.path().join(name).display().to_string();
        fs::write(place("token"), "a-token").unwrap();
        fs::create_dir(place("gateway")).unwrap();
        let certified =
            rcgen::generate_simple_self_signed(vec!["shim.example".to_owned()]).unwrap();
        fs::write(place("tls.crt"), certified.cert.pem()).unwrap();
        fs::write(place("tls.key"), certified.signing_key.serialize_pem()).unwrap();
        private(&place("tls.key"));
        private(&place("token"));
        let content = content
            .replace("/run/secrets/openclaw/token", &place("token"))
            .replace("/etc/scope-shim/gateway.token", &place("token"))
            .replace("/run/secrets/tls/tls.crt", &place("tls.crt"))
            .replace("/run/secrets/tls/tls.key", &place("tls.key"))
            .replace("\"/gateway\"", &format!("{:?}", place("gateway")))
            .replace("\"/data\"", &format!("{:?}", place("data")))
            .replace("\"/var/lib/scope-shim\"", &format!("{:?}", place("data")));
        let config = place("scope-shim.toml");
        fs::write(&config, content).unwrap();
        let mut check = Command::new(PROGRAM);
        check.args(["check", "--config", &config]).env_clear();
        let output = finish(check.env("HOME", dir.path()));
        let said = String::from_utf8_lossy(&output.stderr);
        // The gateway is not there, which is not the configuration's fault; anything that is ends with 78.
        assert_ne!(output.status.code(), Some(78), "{path}: {said}");
        assert!(!said.contains("unknown"), "{path}: {said}");
    }
}

#[cfg(unix)]
fn private(path: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[cfg(not(unix))]
fn private(_path: &str) {}

/// Whoever takes a way in finds its way out on one page.
#[test]
fn every_way_in_has_a_way_out() {
    let page = text("deploy/README.md");
    for entry in fs::read_dir(file("deploy")).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let watching = [
            "prometheus",
            "grafana",
            "nginx",
            "caddy",
            "haproxy",
            "tailscale",
            "macos",
        ];
        if entry.path().is_dir() && !watching.contains(&name.as_str()) {
            let spoken_of = page.contains(&format!("{name}/")) || name == "debian";
            assert!(spoken_of, "deploy/README.md: {name}");
        }
    }
    for row in page.lines().filter(|line| line.starts_with("| ")).skip(1) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        assert_eq!(cells.len(), 3, "{row}");
        assert!(cells.iter().all(|cell| !cell.trim().is_empty()), "{row}");
        // Of units that are not there, systemctl disables none of them.
        let out = cells[2].split(['`', ' ', ';']);
        for unit in out.filter(|word| word.ends_with(".service") || word.ends_with(".socket")) {
            assert!(cells[1].contains(&format!("/{unit}`")), "{row}: {unit}");
        }
    }
}

/// A link within the README leads to one of its headings.
#[test]
fn every_link_to_a_section_leads_somewhere() {
    let readme = text("README.md");
    let headings: BTreeSet<String> = readme
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .map(|heading| {
            let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-');
            let plain: String = heading.chars().filter(kept).collect();
            plain.to_lowercase().replace(' ', "-")
        })
        .collect();
    let mut seen = 0;
    for (at, opening) in readme.match_indices("](#") {
        let anchor = readme[at + opening.len()..].split(')').next();
        let anchor = anchor.unwrap_or_default();
        assert!(headings.contains(anchor), "{anchor}: {headings:?}");
        seen += 1;
    }
    assert!(seen > 5, "{seen}");
}
