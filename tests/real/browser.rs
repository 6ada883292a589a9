//! The Control UI in a real browser.

use std::time::Duration;

use serde::Deserialize;

use crate::Result;
use crate::chromium::chromium;
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

const TIME_LIMIT: Duration = Duration::from_secs(240);
