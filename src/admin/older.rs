//! What the process that has taken over tells the one before it.

use std::sync::Arc;

use hyper::StatusCode;
use serde_json::{Value, json};

use super::route::{Answer, Asked, Refused};
use super::{mode, unpair};
use crate::app::Shim;

/// Switches, for handshakes under way and for what the shim does by itself. The other process has kept it already.
pub(super) fn mode(shim: &Shim, asked: &Asked) -> Answer {
    let switched = mode::set(shim, asked.gateway(), mode::asked_for(asked)?)?;
    let names: Vec<&str> = switched
        .iter()
        .map(|one| one.config.name.as_str())
        .collect();
    Ok(json!({"switched": names}))
}

/// Reads the configuration again.
pub(super) async fn reload(shim: &Arc<Shim>) -> Answer {
    match shim.reload().await {
        Ok(_) => Ok(json!({})),
        Err(problems) => Err(Refused {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            kind: "bad_configuration",
            message: problems.to_string(),
        }),
    }
}

/// Takes the delegate out of use, and ends the sessions in its name: how many, of each gateway.
pub(super) async fn retire(shim: &Shim, asked: &Asked) -> Answer {
    let _turn = shim.undisturbed().await;
    let ended = unpair::retire(&shim.meant(asked.gateway())).await;
    let gateways = ended
        .iter()
        .map(|(name, ended)| json!({"name": name, "sessionsEnded": ended}));
    Ok(json!({"gateways": gateways.collect::<Vec<Value>>()}))
}
