//! The Control UI in a real browser.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde::Deserialize;

use crate::Result;
use crate::outcome::Outcome;
use crate::place::{Place, TOKEN};
use crate::report::Recorder;

#[derive(Deserialize)]
struct Visit {
    visit: String,
    loaded: bool,
    connected: bool,
    sessions: String,
    problems: Vec<String>,
}

/// Visits the Control UI on `port` and records what a visitor gets.
pub(crate) fn run(place: &Place, port: u16, recorder: &mut Recorder) -> Result<()> {
    let Some(chromium) = chromium() else {
        return recorder.record("Control UI", || {
            Ok(Outcome::Skipped("no Chromium on this machine".to_owned()))
        });
    };
    let url = format!("http://127.0.0.1:{port}");
    let arguments = [&*chromium.to_string_lossy(), &url, TOKEN];
    let output = place.run_script("ui.mjs", include_str!("ui.mjs"), &arguments, TIME_LIMIT)?;
    let visits: Vec<Visit> = serde_json::from_str(&output.stdout)
        .map_err(|error| format!("ui.mjs: {error}: {}{}", output.stdout, output.stderr))?;
    for visit in visits {
        recorder.record(&format!("Control UI, {}", visit.visit), || {
            Ok(visit.outcome())
        })?;
    }
    Ok(())
}

impl Visit {
    fn outcome(&self) -> Outcome {
        let mut complaints = Vec::new();
        if !self.loaded {
            complaints.push("the page does not load".to_owned());
        }
        complaints.extend(self.problems.iter().cloned());
        if !self.connected {
            complaints.push("no hello-ok".to_owned());
        }
        if self.sessions != "ok" {
            complaints.push(format!(
                "sessions.list: {}",
                if self.sessions.is_empty() {
                    "never answered"
                } else {
                    &self.sessions
                }
            ));
        }
        if complaints.is_empty() {
            Outcome::Ok(String::new())
        } else {
            Outcome::Complaint(complaints)
        }
    }
}

/// A Chromium: the one on this machine or, where a CI job runs as root, the one Debian has.
fn chromium() -> Option<PathBuf> {
    let installed = || {
        ["chromium", "chromium-browser", "google-chrome"]
            .iter()
            .find_map(|name| on_path(name))
    };
    installed().or_else(|| {
        let is_root = std::env::var_os("HOME").is_some_and(|home| home == "/root");
        if !is_root || std::env::var_os("CI").is_none() {
            return None;
        }
        let _ = Command::new("apt-get")
            .args(["install", "-y", "--no-install-recommends", "chromium"])
            .output();
        installed()
    })
}

fn on_path(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
}

const TIME_LIMIT: Duration = Duration::from_secs(240);
