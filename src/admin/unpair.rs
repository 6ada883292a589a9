//! The delegate, taken off its gateway while the shim goes on.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use super::mode;
use super::route::{Answer, Asked, Refused};
use crate::app::Shim;
use crate::control::Removal;
use crate::engine::Engine;
use crate::served::Served;

/// Unpairs from all gateways, or from the one that is named.
///
/// The shim is switched off there first, for good, so that it goes on as if it were not there.
pub(super) async fn unpair(shim: &Shim, asked: &Asked) -> Answer {
    let name = asked.body.get("gateway").and_then(Value::as_str);
    let off = Asked {
        body: json!({"mode": "off", "gateway": name}),
    };
    mode::switch(shim, &off).await?;
    let meant = |served: &&Arc<Served>| name.is_none_or(|name| name == served.name);
    let mut gateways = Vec::new();
    for served in shim.fleet().served.iter().filter(meant) {
        gateways.push(unpair_one(served).await);
    }
    if gateways.is_empty() {
        return Err(Refused::bad("`gateway`: there is none of that name"));
    }
    Ok(json!({"gateways": gateways}))
}

async fn unpair_one(served: &Served) -> Value {
    let engine = Arc::clone(&served.front().engine);
    engine.control.retire().await;
    let ended = end_delegated_sessions(&engine).await;
    let done = timeout(PATIENCE, remove_for_good(&engine)).await;
    let done = done.unwrap_or_else(|_| Err("the gateway does not answer in time".to_owned()));
    let mut answer = json!({"name": served.name, "sessionsEnded": ended});
    match done {
        Ok(removal) => answer["removal"] = json!(removal),
        Err(why) => answer["failed"] = why.into(),
    }
    answer
}

async fn end_delegated_sessions(engine: &Engine) -> usize {
    let mut ended = engine.delegations.end_all(REASON);
    let deadline = Instant::now() + SETTLE;
    while !engine.delegations.is_empty() && Instant::now() < deadline {
        sleep(PAUSE).await;
        ended += engine.delegations.end_all(REASON);
    }
    ended
}

/// A handshake that was on its way when the delegate was retired may have made the gateway pair it once more.
async fn remove_for_good(engine: &Engine) -> Result<Removal, String> {
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
    if removal.is_complete() {
        delegate.discard().map_err(|error| error.to_string())?;
    }
    Ok(removal)
}

async fn remove(engine: &Engine) -> Result<Removal, String> {
    let removal = engine.control.remove_delegate().await;
    removal.map_err(|error| error.to_string())
}

/// What a client reads whose session ran in the delegate's name.
const REASON: &str = "unpaired from the gateway; connect again";
/// Less than a command waits for the whole answer.
const PATIENCE: Duration = Duration::from_secs(6);
/// How long sessions may take to end.
const SETTLE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(50);
const LOOKS: usize = 4;
