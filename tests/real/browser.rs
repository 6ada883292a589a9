//! The Control UI in a real browser.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use rustix::process::geteuid;
use scope_shim::demo::npm::process::run_to_end;
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
    visit(
        place,
        "Control UI",
        &format!("http://127.0.0.1:{port}"),
        recorder,
    )
}

/// Visits the Control UI at `url` and records what a visitor gets, under this name.
pub(crate) fn visit(place: &Place, name: &str, url: &str, recorder: &mut Recorder) -> Result<()> {
    let Some(chromium) = chromium() else {
        return recorder.record(name, || {
            Ok(Outcome::Skipped("no Chromium on this machine".to_owned()))
        });
    };
    let arguments = [&*chromium.to_string_lossy(), url, TOKEN];
    let output = place.run_script("ui.mjs", include_str!("ui.mjs"), &arguments, TIME_LIMIT)?;
    let visits: Vec<Visit> = serde_json::from_str(&output.stdout)
        .map_err(|error| format!("ui.mjs: {error}: {}{}", output.stdout, output.stderr))?;
    for visit in visits {
        recorder.record(&format!("{name}, {}", visit.visit), || Ok(visit.outcome()))?;
    }
    Ok(())
}

impl Visit {
    fn outcome(&self) -> Outcome {
        let what = match self.sessions.as_str() {
            _ if !self.loaded => "the page does not load",
            _ if !self.connected => "no hello-ok",
            "" => "sessions.list is never answered",
            "ok" if self.problems.is_empty() => return Outcome::Ok(String::new()),
            "ok" => "a request is refused",
            _ => "sessions.list is refused",
        };
        Outcome::Failed {
            what: what.to_owned(),
            words: self.problems.clone(),
        }
    }
}

/// A Chromium: the one on this machine or, where a CI job runs as root, the one the distribution has.
pub(crate) fn chromium() -> Option<&'static Path> {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let on_this_machine = || NAMES.iter().find_map(|name| on_path(name));
        on_this_machine().or_else(|| {
            let may_install = std::env::var_os("CI").is_some() && geteuid().is_root();
            may_install.then(install).and_then(|()| on_this_machine())
        })
    });
    found.as_deref()
}

fn install() {
    println!("installing Chromium with apt-get");
    let mut command = Command::new("sh");
    command.args([
        "-c",
        "apt-get update && apt-get install -y --no-install-recommends chromium",
    ]);
    if let Err(error) = run_to_end(&mut command, &std::env::temp_dir(), TIME_TO_INSTALL) {
        println!("apt-get cannot be run: {error}");
    }
}

fn on_path(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
}

const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

const TIME_TO_INSTALL: Duration = Duration::from_secs(600);

const TIME_LIMIT: Duration = Duration::from_secs(240);
