//! The shim's own commands that look and change nothing, beside a real gateway and in its absence.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use scope_shim::demo::npm::process::Output;
use scope_shim::demo::npm::{RealGateway, Version};
use serde_json::Value;

use crate::Result;
use crate::outcome::Outcome;
use crate::place::Place;
use crate::report::Recorder;
use crate::shim::Settings;

/// Looks at a gateway that runs, and at the last session that a shim in front of it had.
pub(crate) fn run(place: &Place, recorder: &mut Recorder) -> Result<()> {
    let shim = place.shim_settings()?;
    recorder.record("doctor", || doctor(&shim, &place.installed.version))?;
    recorder.record("explain the last session", || explain(&shim))
}

/// Looks at what a gateway left behind.
pub(crate) fn run_without_the_gateway(
    place: &Place,
    gateway: RealGateway,
    recorder: &mut Recorder,
) -> Result<()> {
    let shim = place.shim_settings()?;
    let state = gateway.state_directory();
    gateway.stop();
    recorder.record("doctor, gateway down", || {
        let before = contents(&state)?;
        let outcome = doctor(&shim, &place.installed.version)?;
        let changed = changed(&before, &contents(&state)?);
        Ok(match changed.is_empty() {
            true => outcome,
            false => Outcome::Failed {
                what: "doctor changed the gateway's files".to_owned(),
                words: changed,
            },
        })
    })
}

/// Has doctor look, for people and for machines.
fn doctor(shim: &Settings, version: &Version) -> Result<Outcome> {
    let report = shim.command(&["doctor"])?;
    let document = shim.command(&["doctor", "--json"])?;
    let json: Value = serde_json::from_str(&document.stdout).unwrap_or_default();
    let host = json["hostDeviceId"].as_str().unwrap_or("not known");
    let wrong = [
        (!has_looked(&report), "doctor could not look"),
        (!has_looked(&document), "doctor --json could not look"),
        (
            json["schema"] != "scope-shim/doctor/1",
            "it is not in the documented form",
        ),
        (
            !is_meant(version, &json["gateway"]["version"]),
            "it names another version",
        ),
        (
            host.get(..SHOWN_OF_AN_ID)
                .is_none_or(|host| !report.stdout.contains(host)),
            "it does not name the host's device",
        ),
    ];
    Ok(match wrong.into_iter().find(|(wrong, _)| *wrong) {
        None => Outcome::Ok(String::new()),
        Some((_, what)) => Outcome::Failed {
            what: what.to_owned(),
            words: vec![format!("{}{}", report.stdout, report.stderr)],
        },
    })
}

/// Whether it looked and had nothing to say, or something.
fn has_looked(output: &Output) -> bool {
    matches!(output.code, Some(0 | 3))
}

/// Whether `named`, a version or the ends of a range, is what `version` is.
fn is_meant(version: &Version, named: &Value) -> bool {
    let read = |end: &str| named[end].as_str().and_then(|text| text.parse().ok());
    let (exact, from, to): (Option<Version>, Option<Version>, Option<Version>) =
        (read("exact"), read("atLeast"), read("atMost"));
    let is_named = exact.is_some() || from.is_some() || to.is_some();
    is_named
        && exact.is_none_or(|exact| exact == *version)
        && from.is_none_or(|from| from <= *version)
        && to.is_none_or(|to| *version <= to)
}

/// Has the last session of the shim explained; without a shim there is none.
fn explain(shim: &Settings) -> Result<Outcome> {
    let sessions = shim.command(&["explain"])?;
    let nothing = |what: &str, output: &Output| Outcome::Failed {
        what: what.to_owned(),
        words: vec![format!("{}{}", output.stdout, output.stderr)],
    };
    let mut listed = sessions.stdout.lines().filter_map(|line| {
        let (session, _) = line.strip_prefix("  ")?.split_once(' ')?;
        Some(session)
    });
    let Some(last) = listed.next() else {
        return Ok(nothing("no session", &sessions));
    };
    let output = shim.command(&["explain", last])?;
    let mut lines = output.stdout.lines();
    let is_explained = output.code == Some(0) && lines.any(|line| line.starts_with("decision "));
    Ok(match is_explained {
        true => Outcome::Ok(String::new()),
        false => nothing("no decision is shown", &output),
    })
}

/// Every file in `directory`, with what is in it.
fn contents(directory: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            files.extend(contents(&entry.path())?);
        } else if kind.is_file() {
            files.insert(entry.path(), fs::read(entry.path())?);
        }
    }
    Ok(files)
}

/// The files that came, went or changed.
fn changed(before: &BTreeMap<PathBuf, Vec<u8>>, after: &BTreeMap<PathBuf, Vec<u8>>) -> Vec<String> {
    let files = before.keys().chain(after.keys());
    files
        .filter(|file| before.get(*file) != after.get(*file))
        .map(|file| file.display().to_string())
        .collect()
}

/// The characters of a device's id that the shim shows to people.
const SHOWN_OF_AN_ID: usize = 12;
