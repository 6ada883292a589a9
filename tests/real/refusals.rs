//! What the gateway's own command line shows of a refusal: the way out of it.

use std::time::Duration;

use scope_shim::demo::npm::RealGateway;
use scope_shim::demo::npm::process::Output;

use crate::Result;
use crate::outcome::Outcome;
use crate::report::Recorder;
use crate::requests::on_file;

/// Asks for `operator.read` alone, and pairs a new command line for it.
pub(crate) const PINS: &[&str] = &["gateway", "call", "health"];
/// Asks for `operator.pairing`.
pub(crate) const LISTS_DEVICES: &[&str] = &["gateway", "call", "device.pair.list"];
const WRONG_TOKEN: &[&str] = &["gateway", "call", "health", "--token", "wrong-token"];

/// Has a command line that is pinned to `operator.read` ask for more, and records whether it was told who lets it.
pub(crate) fn ask_for_more(
    gateway: &RealGateway,
    port: u16,
    recorder: &mut Recorder,
) -> Result<()> {
    recorder.record("a command asks for more, explained", || {
        let output = gateway.cli(LISTS_DEVICES, port, TIME_LIMIT)?;
        let requests = on_file(gateway)?;
        let approvals = requests
            .iter()
            .map(|request| format!("scope-shim approve {}", request.id));
        Ok(explained(&output, &approvals.collect::<Vec<_>>()))
    })
}

/// Has a command line send a wrong token, and records whether it was told where the right one is.
pub(crate) fn send_a_wrong_token(
    gateway: &RealGateway,
    port: u16,
    recorder: &mut Recorder,
) -> Result<()> {
    recorder.record("a wrong token, explained", || {
        let output = gateway.cli(WRONG_TOKEN, port, TIME_LIMIT)?;
        Ok(explained(&output, &WHERE_THE_TOKEN_IS.map(str::to_owned)))
    })
}

/// The refusal, and nothing to complain of where it names one of the ways out.
fn explained(output: &Output, ways_out: &[String]) -> Outcome {
    let said = format!("{}\n{}", output.stdout, output.stderr);
    let way_out = ways_out.iter().find(|way_out| said.contains(*way_out));
    let failed = |what: &str| Outcome::Failed {
        what: what.to_owned(),
        words: said.lines().map(str::to_owned).collect(),
    };
    match (Outcome::of_command(output), way_out) {
        (Outcome::Ok(_), _) => failed("it was not refused"),
        _ if said.contains(FORGETS_PAIRING) => failed(FORGETS_PAIRING),
        (_, Some(way_out)) => Outcome::Ok(format!("names {way_out}")),
        (refused, None) => refused,
    }
}

/// The long form and the short one.
const WHERE_THE_TOKEN_IS: [&str; 2] = ["give it the gateway's token (", "the gateway's is in "];

/// Whoever reads this deletes its pairing, from 2026.2.21 on.
const FORGETS_PAIRING: &str = "device token mismatch";

const TIME_LIMIT: Duration = Duration::from_secs(120);
