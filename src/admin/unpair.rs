//! The delegate, taken off its gateway while the shim goes on.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use super::mode;
use super::route::{Answer, Asked};
use crate::app::older::Said;
use crate::app::{Meant, Shim};
use crate::config::Mode;
use crate::control::Removal;
use crate::engine::Engine;

/// How many sessions were ended, by the name of their gateway.
pub(super) type Ended = BTreeMap<String, u64>;

/// Unpairs from all gateways, or from the one that is named; also from those that are gone from the configuration, for as
/// long as their sessions run.
///
/// The shim is switched off there first, for good, so that it goes on as if it were not there. Then everybody who has
/// the delegate's key puts it away: each engine of this process, and each process before it. Only when nobody is left
/// who could pair it again is it removed.
pub(super) async fn unpair(shim: &Shim, asked: &Asked) -> Answer {
    let name = asked.gateway();
    let off = Asked {
        body: json!({"mode": "off", "gateway": name, "by": BY}),
    };
    let _turn = shim.undisturbed().await;
    let unsaved = unsaved(&mode::switch(shim, &off).await?);
    let body = json!({"gateway": name});
    let meant = shim.meant(name);
    for Meant { config, .. } in meant.iter().filter(|one| one.gone) {
        // Should it come back into the configuration, it stays off, too. What is the matter otherwise is in the log.
        let _ = mode::keep(config, Mode::Off, Some(BY)).await;
    }
    let (mut ended, older) = tokio::join!(
        retire(&meant),
        shim.tell_older("/older/retire", &body, OTHERS)
    );
    let deaf = take_note(&older, &mut ended);
    let gateways = meant.iter().map(|Meant { config, engine, .. }| {
        let ended = ended.get(&config.name).copied().unwrap_or_default();
        let mut left = deaf.clone();
        if unsaved.contains(&config.name) {
            left.push(config.invocation.command(&["mode", "off"]));
        }
        unpair_one(&config.name, engine, ended, left)
    });
    Ok(json!({"gateways": join_all(gateways).await}))
}

/// The gateways for which the next start would not be off.
fn unsaved(switched: &Value) -> Vec<String> {
    let gateways = switched["unsaved"].as_array().into_iter().flatten();
    let names = gateways.filter_map(|gateway| gateway["name"].as_str());
    names.map(str::to_owned).collect()
}

/// Takes the delegate out of use in every engine, those that a reload has put aside included, and ends the sessions in
/// its name.
pub(super) async fn retire(meant: &[Meant]) -> Ended {
    let each = meant.iter().map(|one| async {
        let ended = one.engines().map(|engine| async {
            engine.control.retire().await;
            end_delegated_sessions(engine).await
        });
        let ended = join_all(ended).await.into_iter().sum();
        (one.config.name.clone(), ended)
    });
    join_all(each).await.into_iter().collect()
}

/// Adds what the processes before this one have ended; the commands that end those which did not listen.
fn take_note(older: &[Said], ended: &mut Ended) -> Vec<String> {
    let mut deaf = Vec::new();
    for Said { answer, end, .. } in older {
        let Ok(answer) = answer else {
            deaf.push(end.clone());
            continue;
        };
        let gateways = answer.get("gateways").and_then(Value::as_array);
        for gateway in gateways.into_iter().flatten() {
            let name = gateway["name"].as_str().unwrap_or_default();
            *ended.entry(name.to_owned()).or_default() +=
                gateway["sessionsEnded"].as_u64().unwrap_or_default();
        }
    }
    deaf
}

/// `left` are the commands that somebody has to give besides.
async fn unpair_one(name: &str, engine: &Engine, ended: u64, left: Vec<String>) -> Value {
    let done = timeout(PATIENCE, remove_for_good(engine, &left)).await;
    let done = done.unwrap_or_else(|_| Err("the gateway does not answer in time".to_owned()));
    let mut answer = json!({"name": name, "sessionsEnded": ended});
    match done {
        Ok(removal) => answer["removal"] = json!(removal),
        Err(why) => answer["failed"] = why.into(),
    }
    answer
}

async fn end_delegated_sessions(engine: &Engine) -> u64 {
    let mut ended = engine.delegations.end_all(REASON);
    let deadline = Instant::now() + SETTLE;
    while !engine.delegations.is_empty() && Instant::now() < deadline {
        sleep(PAUSE).await;
        ended += engine.delegations.end_all(REASON);
    }
    u64::try_from(ended).unwrap_or(u64::MAX)
}

/// A handshake that was on its way when the delegate was retired may have made the gateway pair it once more.
async fn remove_for_good(engine: &Engine, left: &[String]) -> Result<Removal, String> {
    let mut removal = remove(engine).await?;
    let delegate = &engine.delegate;
    for _ in 0..LOOKS {
        sleep(PAUSE).await;
        engine.resolver.invalidate();
        let record = engine.resolver.resolve(&delegate.device_id()).await;
        if removal.is_complete() && matches!(record, Ok(Some(_))) {
            removal.left = remove(engine).await?.left;
        }
    }
    removal.left.extend_from_slice(left);
    if removal.is_complete() {
        delegate.discard().map_err(|error| error.to_string())?;
    }
    Ok(removal)
}

async fn remove(engine: &Engine) -> Result<Removal, String> {
    let removal = engine.control.remove_delegate().await;
    removal.map_err(|error| error.to_string())
}

/// Who switches the shim off.
const BY: &str = "`scope-shim unpair`";
/// What a client reads whose session ran in the delegate's name.
const REASON: &str = "unpaired from the gateway; connect again";
/// How long the gateway may take. Less than a command waits for the whole answer.
const PATIENCE: Duration = Duration::from_secs(6);
/// How long a process before this one may take: its own session ends within ten seconds, those of its clients in two.
const OTHERS: Duration = Duration::from_secs(13);
/// How long sessions may take to end.
const SETTLE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(50);
const LOOKS: usize = 4;
