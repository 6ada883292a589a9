//! Handshakes frame by frame: nodes, strangers, wrong proofs, and the two devices of the reports.

use std::fs;
use std::time::Duration;

use scope_shim::demo::npm::RealGateway;
use serde::Deserialize;

use crate::Result;
use crate::outcome::Outcome;
use crate::place::{Place, TOKEN};
use crate::report::Recorder;

#[derive(Deserialize)]
struct Handshake {
    name: String,
    outcome: String,
    detail: String,
}

/// Shakes hands with whatever listens on `port` and records what became of it.
pub(crate) fn run(
    place: &Place,
    gateway: &RealGateway,
    port: u16,
    recorder: &mut Recorder,
) -> Result<()> {
    let url = format!("ws://127.0.0.1:{port}");
    let output = place.run_script(
        "raw.mjs",
        include_str!("raw.mjs"),
        &[&url, TOKEN],
        TIME_LIMIT,
    )?;
    let handshakes: Vec<Handshake> = serde_json::from_str(&output.stdout)
        .map_err(|error| format!("raw.mjs: {error}: {}{}", output.stdout, output.stderr))?;
    for mut handshake in handshakes {
        if handshake.outcome == GAVE_UP {
            handshake.detail = format!("{}; {}", handshake.detail, why_it_gave_up(gateway));
        }
        recorder.record(&handshake.name, || Ok(handshake.outcome()))?;
    }
    Ok(())
}

impl Handshake {
    /// The words of a refusal come last, if at all: the shim may add to them, the codes are the gateway's.
    fn outcome(&self) -> Outcome {
        match self.outcome.strip_prefix("ok") {
            Some(powers) if !powers.contains("without") => Outcome::Ok(powers.trim().to_owned()),
            _ => Outcome::Failed {
                what: self.outcome.clone(),
                words: vec![self.detail.clone()],
            },
        }
    }
}

/// The gateway's last words on handshakes that it ended without a reason.
fn why_it_gave_up(gateway: &RealGateway) -> String {
    let log = fs::read_to_string(gateway.log()).unwrap_or_default();
    let about = |line: &&str| CAUSES.iter().any(|cause| line.contains(cause));
    let last = log.lines().rfind(about);
    last.map_or_else(
        || "nothing about it in the gateway's log".to_owned(),
        |line| line.chars().filter(|c| !c.is_control()).collect(),
    )
}

/// How a gateway closes where its timer for handshakes runs out, or something of its own fails.
const GAVE_UP: &str = "close 1000";
const CAUSES: [&str; 3] = [
    "handshake timeout",
    "parse/handle error",
    "closed before connect",
];
const TIME_LIMIT: Duration = Duration::from_secs(180);
