//! A host whose own device an early gateway paired as a legacy one, and `scope-shim repair`.

use std::fs;
use std::time::Duration;

use scope_shim::demo::npm::process::Output;
use scope_shim::demo::npm::{RealGateway, Version};

use crate::Result;
use crate::outcome::Outcome;
use crate::place::{Column, Place};
use crate::refusals;
use crate::report::Recorder;

const HEALTH: &str = "health after repair --apply, directly";

/// Whether a command pairs the host's device for what it needs itself, and the gateway lets nobody ask for more.
pub(crate) fn concern(version: &Version) -> bool {
    !version.is_at_least(2026, 2, 22)
}

/// Pairs the host's device for everything but reading and has it read; then pairs another for reading alone, which
/// asks for more.
pub(crate) fn run(place: &Place, column: Column, recorder: &mut Recorder) -> Result<()> {
    let gateway = place.start_gateway(Vec::new())?;
    gateway.cli(PAIRS_AS_LEGACY, place.gateway_port, TIME_LIMIT)?;
    recorder.record(HEALTH, || match column {
        Column::Direct => health(&gateway),
        Column::Shimmed => repair(place)?.map_or_else(|| health(&gateway), Ok),
    })?;

    fs::remove_dir_all(gateway.state_directory().join("identity"))?;
    gateway.cli(PINS, place.gateway_port, TIME_LIMIT)?;
    let (port, _shim) = match column {
        Column::Direct => (place.gateway_port, None),
        Column::Shimmed => (place.shim_port, Some(place.start_shim()?)),
    };
    refusals::ask_for_more(&gateway, port, recorder)
}

fn health(gateway: &RealGateway) -> Result<Outcome> {
    let output = gateway.cli(&["health"], gateway.port(), TIME_LIMIT)?;
    Ok(Outcome::of_command(&output))
}

/// First only shows what it would do, then does it, then finds nothing left; what went wrong, if anything did.
fn repair(place: &Place) -> Result<Option<Outcome>> {
    let shim = place.shim_settings()?;
    for (arguments, code) in [
        (["repair"].as_slice(), FINDINGS),
        (&["repair", "--apply"], OK),
        (&["repair"], OK),
    ] {
        let output = shim.command(arguments)?;
        if output.code != Some(code) {
            return Ok(Some(unexpected(arguments, &output)));
        }
    }
    Ok(None)
}

fn unexpected(arguments: &[&str], output: &Output) -> Outcome {
    Outcome::Failed {
        what: format!("{} ended with {:?}", arguments.join(" "), output.code),
        words: vec![format!("{}{}", output.stdout, output.stderr)],
    }
}

const PAIRS_AS_LEGACY: &[&str] = &["devices", "list"];
/// Here `gateway call` asks for everything, whatever it calls.
const PINS: &[&str] = &["health"];

const OK: i32 = 0;
const FINDINGS: i32 = 3;

const TIME_LIMIT: Duration = Duration::from_secs(120);
