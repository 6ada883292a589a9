//! Clients that never stop asking for what their device may not have, left alone for three minutes.

use std::fs;
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use scope_shim::demo::npm::process::{Output, poll};
use scope_shim::demo::npm::{RealGateway, Version};
use serde::Deserialize;

use crate::Result;
use crate::chromium::chromium;
use crate::outcome::Outcome;
use crate::place::{Column, Place, TOKEN};
use crate::report::Recorder;
use crate::requests::{Request, on_file};
use crate::shim::Shim;

/// The two clients, as `loops.mjs` calls them.
const CLIENTS: [(&str, &str); 2] = [
    ("client", "a client that may only read, left alone"),
    ("Control UI", "Control UI that may only read, left alone"),
];

/// Whether clients of this version go on for ever, and the gateway refuses their devices more than they have: from
/// 2026.2.22 on it lets devices of its own host have it.
pub(crate) fn concern(version: &Version) -> bool {
    !version.is_at_least(2026, 2, 22)
}

/// Leaves both clients alone at the same time, counts what the gateway got to see of them and, where the shim is there
/// to do it, approves what they asked for.
pub(crate) fn run(place: &Place, column: Column, recorder: &mut Recorder) -> Result<()> {
    let Some(chromium) = chromium() else {
        return CLIENTS.iter().try_for_each(|(_, scenario)| {
            recorder.record(scenario, || {
                Ok(Outcome::Skipped("no Chromium on this machine".to_owned()))
            })
        });
    };
    let gateway = place.start_gateway(Vec::new())?;
    let (port, shim, limit) = match column {
        Column::Direct => (place.gateway_port, None, TIME_TO_BEGIN + LEFT_ALONE),
        Column::Shimmed => (
            place.shim_port,
            Some(place.start_shim()?),
            TIME_TO_BEGIN + LEFT_ALONE + TIME_TO_COME_BACK,
        ),
    };
    let [direct, url] = [place.gateway_port, port].map(|port| format!("ws://127.0.0.1:{port}"));
    let arguments = [&*chromium.to_string_lossy(), &direct, &url, TOKEN];
    let (seen, output) = thread::scope(|scope| -> Result<(Seen, Output)> {
        let clients = scope
            .spawn(|| place.run_script("loops.mjs", include_str!("loops.mjs"), &arguments, limit));
        let seen = watch(&gateway, shim.as_ref());
        let output = joined(clients)?;
        Ok((seen?, output))
    })?;
    let told = Told::read(&output)?;
    for (client, scenario) in CLIENTS {
        let told = told.iter().filter(|told| told.client == client);
        recorder.record(scenario, || Ok(seen.outcome(&told.collect::<Vec<_>>())))?;
    }
    Ok(())
}

fn joined(clients: ScopedJoinHandle<'_, Result<Output>>) -> Result<Output> {
    let ended = clients.join();
    ended.unwrap_or_else(|_| Err("the thread of the clients broke down".into()))
}

/// What there was to see of both clients after three minutes, and when they were helped.
struct Seen {
    log: String,
    pending: Vec<Request>,
    approved_at_ms: u128,
}

fn watch(gateway: &RealGateway, shim: Option<&Shim>) -> Result<Seen> {
    let begun = poll(TIME_TO_BEGIN, || {
        let devices = on_file(gateway).map(|pending| pending.len());
        (devices.unwrap_or_default() == CLIENTS.len()).then_some(())
    });
    begun.ok_or("the clients left no requests")?;
    thread::sleep(LEFT_ALONE);
    let log = fs::read_to_string(gateway.log())?;
    let pending = on_file(gateway)?;
    let approved_at_ms = now_ms();
    for request in pending.iter().filter(|_| shim.is_some()) {
        let approved = shim.map(|shim| shim.command(&["approve", &request.id]));
        match approved.transpose()? {
            Some(output) if output.code != Some(0) => {
                return Err(
                    format!("scope-shim approve: {}{}", output.stdout, output.stderr).into(),
                );
            }
            _ => {}
        }
    }
    Ok(Seen {
        log,
        pending,
        approved_at_ms,
    })
}

impl Seen {
    /// What became of the client that told this of itself.
    fn outcome(&self, told: &[&Told]) -> Outcome {
        let device = told.first().map_or("none", |told| &told.device);
        let let_in_at = told.iter().find_map(|told| told.let_in_at);
        let requests = self.pending.iter();
        let pending = requests.filter(|request| request.device == device).count();
        let connects = self
            .log
            .lines()
            .filter(|line| line.contains(REFUSED) && line.contains(device))
            .count();
        let back = let_in_at.map(|at| {
            let after = at.saturating_sub(self.approved_at_ms);
            Duration::from_millis(u64::try_from(after).unwrap_or(u64::MAX))
        });
        let what = match back {
            Some(back) => format!("{connects} connects, {pending} pending, back in {back:.0?}"),
            None => format!("{connects} connects, {pending} pending"),
        };
        let is_calm = connects <= MOST_CONNECTS && pending == 1;
        match back {
            Some(back) if is_calm && back <= TIME_TO_COME_BACK => Outcome::Ok(what),
            _ => Outcome::Failed {
                what,
                words: Vec::new(),
            },
        }
    }
}

/// A line of `loops.mjs`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    client: String,
    device: String,
    let_in_at: Option<u128>,
}

impl Told {
    fn read(output: &Output) -> Result<Vec<Self>> {
        let lines = output.stdout.lines();
        lines
            .map(|line| {
                serde_json::from_str(line)
                    .map_err(|error| format!("loops.mjs: {error}: {}", output.stderr).into())
            })
            .collect()
    }
}

fn now_ms() -> u128 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default().as_millis()
}

/// What the gateway logs of each `connect` that asks for more than its device has.
const REFUSED: &str = "device access upgrade requested";

const LEFT_ALONE: Duration = Duration::from_secs(180);

/// A first attempt, and one more for a shim that has forgotten, or was not sure.
const MOST_CONNECTS: usize = 2;

/// Longer than the longest pause of these clients, which is 30 s.
const TIME_TO_COME_BACK: Duration = Duration::from_secs(40);

/// A browser on a busy machine.
const TIME_TO_BEGIN: Duration = Duration::from_secs(90);
