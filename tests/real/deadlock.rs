//! A command line that its first command pinned to `operator.read`, and that may not approve its own upgrade: from
//! 2026.4.21 to 2026.6.11 it stays so for ever.

use std::time::Duration;

use scope_shim::demo::npm::{RealGateway, Version};

use crate::Result;
use crate::outcome::Outcome;
use crate::place::{Column, Place};
use crate::refusals::{self, LISTS_DEVICES, PINS};
use crate::report::Recorder;
use crate::shim::Shim;

const BY_POLICY: &str = "a pinned command line asks for more, by policy";
const BY_COMMAND: &str = "a pinned command line asks for more, approved";

/// Asks for `operator.admin`.
const READS_APPROVALS: &[&str] = &["gateway", "call", "exec.approvals.get"];

/// Whether a command asks only for what it needs, and nobody but an owner may widen it. 2026.4.21 asks for everything in
/// `gateway call`; what pins it is its first `status`, which takes minutes.
pub(crate) fn concerns(version: &Version) -> bool {
    version.is_at_least(2026, 5, 0) && !version.is_at_least(2026, 7, 0)
}

/// Pins a command line and has it ask for more: directly, with a shim that may approve it, and with one that asks.
pub(crate) fn run(place: &Place, column: Column, recorder: &mut Recorder) -> Result<()> {
    let gateway = place.start_gateway(Vec::new())?;
    gateway.cli(PINS, place.gateway_port, TIME_LIMIT)?;
    match column {
        Column::Direct => {
            refusals::ask_for_more(&gateway, place.gateway_port, recorder)?;
            recorder.record(BY_COMMAND, || {
                ask(&gateway, LISTS_DEVICES, place.gateway_port)
            })?;
            recorder.record(BY_POLICY, || {
                ask(&gateway, READS_APPROVALS, place.gateway_port)
            })?;
        }
        Column::Shimmed => {
            let shim = place.start_shim()?;
            refusals::ask_for_more(&gateway, place.shim_port, recorder)?;
            recorder.record(BY_COMMAND, || ask_and_approve(&gateway, place, &shim))?;
            shim.stop();
            let _shim =
                place.start_shim_with(&[("SCOPE_SHIM_POLICY_LOCAL_UPGRADES", "approve")])?;
            recorder.record(BY_POLICY, || {
                ask(&gateway, READS_APPROVALS, place.shim_port)
            })?;
        }
    }
    Ok(())
}

fn ask(gateway: &RealGateway, command: &[&str], port: u16) -> Result<Outcome> {
    let output = gateway.cli(command, port, TIME_LIMIT)?;
    Ok(Outcome::of_command(&output))
}

/// Asks, does what the answer says, and asks again.
fn ask_and_approve(gateway: &RealGateway, place: &Place, shim: &Shim) -> Result<Outcome> {
    let refused = gateway.cli(LISTS_DEVICES, place.shim_port, TIME_LIMIT)?;
    let said = format!("{}\n{}", refused.stdout, refused.stderr);
    let Some(request_id) = named_request(&said) else {
        return Ok(Outcome::Failed {
            what: "the answer names no command that approves it".to_owned(),
            words: said.lines().map(str::to_owned).collect(),
        });
    };
    let approved = shim.command(&["approve", request_id])?;
    if approved.code != Some(0) {
        return Ok(Outcome::Failed {
            what: "scope-shim approve failed".to_owned(),
            words: vec![approved.stderr],
        });
    }
    ask(gateway, LISTS_DEVICES, place.shim_port)
}

fn named_request(said: &str) -> Option<&str> {
    let (_, after) = said.split_once("scope-shim approve ")?;
    let end = after
        .find(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '-'))
        .unwrap_or(after.len());
    after.get(..end).filter(|id| !id.is_empty())
}

const TIME_LIMIT: Duration = Duration::from_secs(120);
