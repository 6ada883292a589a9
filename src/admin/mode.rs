//! The mode: shown and switched.

use serde_json::{Value, json};

use super::route::{Answer, Asked, Refused};
use crate::app::Shim;
use crate::config::Mode;

/// The mode of each gateway.
pub(super) fn show(shim: &Shim) -> Value {
    let gateways = shim
        .served
        .iter()
        .map(|served| json!({"name": served.name, "mode": served.mode.get().as_str()}));
    json!({"gateways": gateways.collect::<Vec<_>>()})
}

/// Switches all gateways, or the one that is named, for their next handshakes.
pub(super) fn switch(shim: &Shim, asked: &Asked) -> Answer {
    let mode = asked.body.get("mode").and_then(Value::as_str);
    let Some(mode) = mode.and_then(Mode::parse) else {
        return Err(Refused::bad(
            "`mode`: expected \"on\", \"observe\" or \"off\"",
        ));
    };
    let name = asked.body.get("gateway").and_then(Value::as_str);
    let meant = |given: &str| name.is_none_or(|name| name == given);
    let mut switched = shim
        .served
        .iter()
        .filter(|served| meant(&served.name))
        .peekable();
    if switched.peek().is_none() {
        return Err(Refused::bad("`gateway`: there is none of that name"));
    }
    for served in switched {
        served.mode.set(mode);
    }
    Ok(show(shim))
}
