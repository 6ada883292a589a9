//! What to run: `--versions 2026.2.19,2026.3.13`, `--all`, `--direct`.

use std::time::{SystemTime, UNIX_EPOCH};

use scope_shim::demo::npm::Version;

/// The gateways that are always tried: the two of the reports, and the latest.
const ALWAYS: [&str; 3] = ["2026.2.19", "2026.3.13", "2026.9.6"];

/// The ones that take turns, a day each.
const IN_TURN: [&str; 8] = [
    "2026.2.21",
    "2026.2.26",
    "2026.3.24",
    "2026.4.21",
    "2026.5.7",
    "2026.6.11",
    "2026.7.1",
    "2026.8.2",
];

/// Options of Rust's own test harness, which `cargo test -- …` hands to every suite.
const OF_OTHER_TESTS: [&str; 6] = [
    "--nocapture",
    "--no-capture",
    "--show-output",
    "--quiet",
    "-q",
    "--test-threads=",
];

pub(crate) const USAGE: &str = "\
usage: cargo test --test real -- [--versions VERSION,…] [--all] [--direct] [--only GROUP]
  --versions  the gateways to try; by default three and one that changes every day
  --all       every gateway it knows
  --direct    only what the gateways do by themselves, without the shim
  --only      one group: intercept, clients, agents, deadlock, repairs, proxies, users, loops or fleet
with SCOPE_SHIM_REAL=required in the environment, what cannot be tried here fails instead of being skipped;
with SCOPE_SHIM_REAL=off, or the name of another test, nothing is tried;
with SCOPE_SHIM_REAL_KEEP, the homes of the gateways, with their logs and the shim's, are kept.";

pub(crate) struct Options {
    pub(crate) versions: Vec<Version>,
    pub(crate) shimmed: bool,
    /// The only group of scenarios to try.
    only: Option<String>,
    /// Whether somebody chose the versions.
    chosen: bool,
    /// Why no gateway is to be tried at all.
    pub(crate) left_out: Option<String>,
}

impl Options {
    pub(crate) fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let (mut versions, mut shimmed, mut only) = (Vec::new(), true, None);
        let switch = std::env::var("SCOPE_SHIM_REAL").unwrap_or_default();
        let mut left_out = (switch == "off").then(|| "SCOPE_SHIM_REAL is off".to_owned());
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--versions" => versions = parse(arguments.next().ok_or(USAGE)?.split(','))?,
                "--all" => versions = all()?,
                "--direct" => shimmed = false,
                "--only" => only = Some(arguments.next().ok_or(USAGE)?),
                option if OF_OTHER_TESTS.iter().any(|other| option.starts_with(other)) => {}
                // `cargo test NAME` hands the name to every suite.
                name if !name.starts_with('-') => {
                    left_out = Some(format!("only tests named {name:?} are asked for"));
                }
                _ => {
                    return Err(format!(
                        "`{argument}` is not an option of this suite\n{USAGE}"
                    ));
                }
            }
        }
        let chosen = !versions.is_empty();
        if !chosen {
            versions = parse(ALWAYS.into_iter().chain([IN_TURN[day() % IN_TURN.len()]]))?;
        }
        Ok(Self {
            versions,
            shimmed,
            only,
            chosen,
            left_out,
        })
    }

    /// Whether this group of scenarios is to be tried.
    pub(crate) fn wants(&self, group: &str) -> bool {
        self.only.as_deref().is_none_or(|only| only == group)
    }

    /// Whether clients of this version are to be left alone for minutes: by default, those of one version are.
    pub(crate) fn has_time_for_loops(&self, version: &Version) -> bool {
        self.chosen || !version.is_at_least(2026, 2, 20)
    }
}

fn all() -> Result<Vec<Version>, String> {
    let mut versions = parse(ALWAYS.into_iter().chain(IN_TURN))?;
    versions.sort();
    Ok(versions)
}

fn parse<'a>(texts: impl Iterator<Item = &'a str>) -> Result<Vec<Version>, String> {
    texts
        .map(|text| text.trim().parse().map_err(|error| format!("{error}")))
        .collect()
}

fn day() -> usize {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    usize::try_from(now.as_secs() / 86_400).unwrap_or_default()
}
