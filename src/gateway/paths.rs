//! Where a gateway keeps its state and its configuration, by the gateway's own rules.

use std::path::{Path, PathBuf};

use crate::config::Environment;

/// The state directory and what told it.
pub(super) fn state_directory(
    told: Option<&Path>,
    environment: &Environment,
) -> Option<(PathBuf, String)> {
    if let Some(told) = told {
        return Some((told.to_owned(), "gateway.state".to_owned()));
    }
    for name in ["OPENCLAW_STATE_DIR", "CLAWDBOT_STATE_DIR"] {
        if let Some(path) = environment.get(name) {
            return Some((absolute(environment, path), name.to_owned()));
        }
    }
    let home = home(environment)?;
    let candidates = STATE_DIRECTORIES.iter().map(|name| home.join(name));
    let directory = candidates
        .clone()
        .find(|directory| directory.exists())
        .or_else(|| candidates.into_iter().next())?;
    let from = format!("{} of the home directory", file_name(&directory));
    Some((directory, from))
}

/// The configuration file. A directory that the shim was told counts before `OPENCLAW_CONFIG_PATH`, which may belong to
/// another gateway.
pub(super) fn config_file(directory: &Path, told: bool, environment: &Environment) -> PathBuf {
    let inside = CONFIG_FILES
        .iter()
        .map(|name| directory.join(name))
        .find(|file| file.exists());
    let variable = ["OPENCLAW_CONFIG_PATH", "CLAWDBOT_CONFIG_PATH"]
        .into_iter()
        .find_map(|name| environment.get(name))
        .map(|path| absolute(environment, path));
    let found = if told {
        inside.or(variable)
    } else {
        variable.or(inside)
    };
    found.unwrap_or_else(|| directory.join("openclaw.json"))
}

fn home(environment: &Environment) -> Option<PathBuf> {
    match environment.get("OPENCLAW_HOME") {
        Some(home) => Some(absolute(environment, home)),
        None => environment.home(),
    }
}

/// The gateway starts relative paths at its working directory; the shim can only use its own.
fn absolute(environment: &Environment, path: &str) -> PathBuf {
    let base = std::env::current_dir().unwrap_or_default();
    environment.expand(path, &base)
}

fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// The directory's names, the newest first; releases up to 2026.3.13 know all, later ones the first two.
const STATE_DIRECTORIES: [&str; 4] = [".openclaw", ".clawdbot", ".moldbot", ".moltbot"];
const CONFIG_FILES: [&str; 4] = [
    "openclaw.json",
    "clawdbot.json",
    "moldbot.json",
    "moltbot.json",
];
