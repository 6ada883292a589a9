//! F2, F15, F16, F17: the gateway itself.

use super::Finding;
use crate::doctor::known::Certainty;
use crate::doctor::look::{LAST_TOUCHED, Look, ON_PATH};
use crate::findings::Code;
use crate::profile::Version;

pub(super) fn findings(look: &Look) -> Vec<Finding> {
    [
        down(look),
        no_answer(look),
        starting(look),
        clock(look),
        protocol(look),
        probe(look),
        two_gateways(look),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn down(look: &Look) -> Option<Finding> {
    let why = look.reach.refused.as_ref()?;
    let mut finding = Finding::new(Code::GatewayDown, &look.url).seen(why);
    for process in look.processes.iter().filter(|process| process.is_ours) {
        finding = finding.seen(match process.port {
            Some(port) => format!(
                "its process {} runs, by its configuration on port {port}",
                process.pid
            ),
            None => format!("its process {} runs", process.pid),
        });
    }
    Some(finding.fix("openclaw gateway start, or correct its address: gateway.url, --gateway"))
}

fn no_answer(look: &Look) -> Option<Finding> {
    let why = look.reach.challenge.as_ref()?.as_ref().err()?;
    let finding = Finding::new(Code::NoAnswer, &look.url)
        .seen("it accepts connections")
        .seen(format!("but sends no WebSocket challenge: {why}"));
    let fix = "see whether it is an OpenClaw gateway at all, and its load and log: openclaw logs";
    Some(finding.fix(fix))
}

fn starting(look: &Look) -> Option<Finding> {
    let is_starting = look.reach.http.ready == Some(false);
    is_starting.then(|| {
        let failing = look.reach.http.failing.join(", ");
        Finding::new(Code::GatewayStarting, &look.url)
            .seen(format!("/ready says no; not ready: {failing}"))
    })
}

/// Signatures may be two minutes old from 2026.2.26, ten before.
fn clock(look: &Look) -> Option<Finding> {
    let seen = look.reach.challenge.as_ref()?.as_ref().ok()?;
    let ahead = seen.ahead_ms? / 1000;
    if ahead.abs() < SUSPICIOUS_SECONDS {
        return None;
    }
    let direction = if ahead > 0 { "ahead of" } else { "behind" };
    let finding = Finding::new(Code::ClockSkew, &look.url)
        .seen(format!(
            "the gateway's clock is {} s {direction} this machine's",
            ahead.abs()
        ))
        .seen("gateways from 2026.2.26 refuse a signature that is 120 s off, earlier ones 600 s");
    Some(finding.fix("set the clock that is off, here or there: timedatectl set-ntp true"))
}

/// Operators speak protocol 3 up to 2026.5.7, and 4 from 2026.5.9.
fn protocol(look: &Look) -> Option<Finding> {
    let touched = look
        .configuration
        .last_touched
        .map(|version| (version, LAST_TOUCHED));
    let (client, from) = look
        .installed
        .map(|version| (version, ON_PATH))
        .or(touched)?;
    let (gateway, _) = look.version.exact.as_ref()?;
    let speaks = |version: Version| if version < FIRST_FOUR { 3 } else { 4 };
    if speaks(client) == speaks(*gateway) {
        return None;
    }
    let older = if client < *gateway {
        "command line"
    } else {
        "gateway"
    };
    let finding = Finding::new(Code::ProtocolMismatch, "this host's command line")
        .seen(format!(
            "the gateway is {gateway} and speaks protocol {}",
            speaks(*gateway)
        ))
        .seen(format!(
            "the command line is {client}, as {from} says, and speaks protocol {}",
            speaks(client)
        ));
    Some(finding.fix(format!("update the {older}: npm install -g openclaw")))
}

/// From 2026.3.12 until 2026.3.24, which keeps the device; and again on 2026.5.7 and later, whose probes show the device
/// only where the command line keeps a token of it.
fn probe(look: &Look) -> Option<Finding> {
    let early = look
        .version
        .within(Version::v2026(3, 12), Version::v2026(3, 23));
    let keeps_none = look.client.tokens.is_empty() && look.client.unreadable.is_none();
    let late = if keeps_none {
        look.version.since(Version::v2026(5, 7))
    } else {
        Certainty::No
    };
    let what = if early >= late {
        "status, status --all, gateway probe and security audit --deep call the gateway unreachable"
    } else {
        "status --all, gateway probe and security audit --deep see only that the gateway is there"
    };
    let finding = Finding::new(Code::LocalProbe, "this host's command line")
        .seen(what)
        .seen("that says nothing about its health: other commands work, and probes work through the shim")
        .fix(format!(
            "go through the shim: OPENCLAW_GATEWAY_PORT={} openclaw status --all",
            look.shim.listen.port()
        ));
    // Guessing at it for every gateway of unknown version would only be noise.
    (early.max(late) == Certainty::Certain).then_some(finding)
}

fn two_gateways(look: &Look) -> Option<Finding> {
    let port = look.configuration.port?;
    let same = look
        .processes
        .iter()
        .filter(|process| process.port == Some(port));
    let same: Vec<_> = same.collect();
    if same.len() < 2 {
        return None;
    }
    let finding = Finding::new(Code::TwoGateways, format!("port {port}"));
    let finding = same.iter().fold(finding, |finding, process| {
        let config = process.config.as_ref();
        let config = config.map_or_else(String::new, |path| format!(" with {}", path.display()));
        finding.seen(format!("process {} runs{config}", process.pid))
    });
    Some(finding.fix("stop one of them: openclaw gateway stop, with its OPENCLAW_STATE_DIR"))
}

/// Half of what is allowed at least.
const SUSPICIOUS_SECONDS: i64 = 60;
const FIRST_FOUR: Version = Version::v2026(5, 9);
