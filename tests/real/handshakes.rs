//! Handshakes frame by frame: nodes, strangers, wrong proofs, and the two devices of the reports.

use std::time::Duration;

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
pub(crate) fn run(place: &Place, port: u16, recorder: &mut Recorder) -> Result<()> {
    let url = format!("ws://127.0.0.1:{port}");
    let output = place.run_script(
        "raw.mjs",
        include_str!("raw.mjs"),
        &[&url, TOKEN],
        TIME_LIMIT,
    )?;
    let handshakes: Vec<Handshake> = serde_json::from_str(&output.stdout)
        .map_err(|error| format!("raw.mjs: {error}: {}{}", output.stdout, output.stderr))?;
    for handshake in handshakes {
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

const TIME_LIMIT: Duration = Duration::from_secs(180);
