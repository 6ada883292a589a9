//! The gateway's own command line, as an operator uses it in an incident.

use std::fs;
use std::time::Duration;

use scope_shim::demo::npm::{RealGateway, Version};
use serde_json::Value;

use crate::Result;
use crate::outcome::{GATEWAY_SELF_UNKNOWN, Outcome};
use crate::report::Recorder;

/// The commands, in the order in which they are given. The first one pairs the command line with the gateway.
const COMMANDS: [&[&str]; 14] = [
    &["devices", "list"],
    &["health"],
    &["status"],
    &["status", "--all"],
    &["cron", "list"],
    &["gateway", "call", "status"],
    &["gateway", "call", "system-presence"],
    &["gateway", "call", "sessions.list"],
    &["gateway", "probe"],
    &["gateway", "status"],
    &["security", "audit", "--deep"],
    &["channels", "status"],
    &["nodes", "list"],
    &["logs", "--limit", "5"],
];

/// The ones that must succeed again and again, not only once.
const AGAIN: [&str; 4] = ["health", "status --all", "cron list", "gateway call status"];

/// Gives every command to the gateway behind `port` and records what became of it.
pub(crate) fn run(gateway: &RealGateway, port: u16, recorder: &mut Recorder) -> Result<()> {
    if pairs_for_one_command(&gateway.installed().version) {
        gateway.cli(A_COMMAND_FOR_ADMINS, port, TIME_LIMIT)?;
    }
    for arguments in COMMANDS {
        let name = arguments.join(" ");
        recorder.record(&name, || give(gateway, port, arguments))?;
        if AGAIN.contains(&name.as_str()) {
            recorder.record(&format!("{name}, again"), || give(gateway, port, arguments))?;
        }
    }
    recorder.record("nothing left pending", || pending(gateway))
}

/// Whether a command asks only for what it needs itself, and the first one thereby decides for all later ones, since
/// these gateways let nobody ask for more without an approval. `devices list` first would leave a command line that
/// can do nothing else, directly or through the shim.
fn pairs_for_one_command(version: &Version) -> bool {
    version.is_at_least(2026, 5, 0) && !version.is_at_least(2026, 7, 0)
}

/// It is refused for what it lacks, after it has paired the command line as an administrator.
const A_COMMAND_FOR_ADMINS: &[&str] = &["gateway", "call", "config.set"];

/// Gives one command, and once more where the machine may just have been too busy for its short time limits.
fn give(gateway: &RealGateway, port: u16, arguments: &[&str]) -> Result<Outcome> {
    let once = || -> Result<Outcome> {
        let output = gateway.cli(arguments, port, TIME_LIMIT)?;
        Ok(match arguments {
            ["logs", ..] => Outcome::of_log_command(&output),
            ["status", "--all"] if never_knows_the_gateway(&gateway.installed().version) => {
                Outcome::of_command(&output).without(GATEWAY_SELF_UNKNOWN)
            }
            _ => Outcome::of_command(&output),
        })
    };
    match once()? {
        outcome if outcome.may_be_haste() => once(),
        outcome => Ok(outcome),
    }
}

/// Whether `status --all` calls the gateway unknown whatever it was told about it.
fn never_knows_the_gateway(version: &Version) -> bool {
    version.is_at_least(2026, 4, 0) && !version.is_at_least(2026, 9, 0)
}

/// Whether the commands left a request behind that somebody would have to approve.
fn pending(gateway: &RealGateway) -> Result<Outcome> {
    let file = gateway
        .state_directory()
        .join("devices")
        .join("pending.json");
    let requests = match fs::read_to_string(&file) {
        Ok(text) => serde_json::from_str::<Value>(&text)?
            .as_object()
            .map_or(0, serde_json::Map::len),
        Err(_) => {
            let output = gateway.cli(&["devices", "list", "--json"], gateway.port(), TIME_LIMIT)?;
            let json = output
                .stdout
                .find('{')
                .map_or("", |start| &output.stdout[start..]);
            serde_json::from_str::<Value>(json)?["pending"]
                .as_array()
                .map_or(0, Vec::len)
        }
    };
    Ok(match requests {
        0 => Outcome::Ok(String::new()),
        n => Outcome::Failed {
            what: format!("{n} pending"),
            words: Vec::new(),
        },
    })
}

/// 2026.4.21 installs something in its first `status`, which has taken more than three minutes on a busy machine.
const TIME_LIMIT: Duration = Duration::from_secs(300);
