//! The mode: shown and switched.

use std::time::Duration;

use serde_json::{Value, json};
use tracing::{error, info};

use super::route::{Answer, Asked, Refused};
use crate::app::older::warn_of_deaf;
use crate::app::{Meant, Shim, saved};
use crate::config::{Config, Mode};

/// The mode of each gateway, where it comes from, and what observing it has shown.
pub(super) fn show(shim: &Shim) -> Value {
    let fleet = shim.fleet();
    let gateways = fleet.each().map(|(served, config)| {
        let mode = served.mode.get();
        let at_start = saved::resolve(config);
        let mut gateway = json!({
            "name": served.name,
            "mode": mode.as_str(),
            "configured": config.mode.as_str(),
            "at_start": at_start.mode.as_str(),
            "why": at_start.clause(),
        });
        if mode == Mode::Observe {
            gateway["observed"] = served.mode.observed().to_json();
        }
        gateway
    });
    json!({"gateways": gateways.collect::<Vec<_>>()})
}

/// Switches all gateways, or the one that is named, for their next handshakes, for the next start, and for the processes
/// before this one.
///
/// A switch that cannot be kept for the next start holds all the same, and the answer says what is the matter.
pub(super) async fn switch(shim: &Shim, asked: &Asked) -> Answer {
    let mode = asked_for(asked)?;
    // Off goes at once, whatever else is under way. Nothing comes back while it is being unpaired.
    let _turn = match mode {
        Mode::Off => None,
        Mode::On | Mode::Observe => Some(shim.undisturbed().await),
    };
    let switched = set(shim, asked.gateway(), mode)?;
    let mut unsaved = Vec::new();
    let by = asked.body.get("by").and_then(Value::as_str);
    for Meant { config, .. } in switched.iter().filter(|one| !one.gone) {
        if let Err(why) = keep(config, mode, by).await {
            unsaved.push(json!({"name": config.name, "why": why}));
        }
    }
    let body = json!({"mode": mode.as_str(), "gateway": asked.gateway()});
    warn_of_deaf(&shim.tell_older("/older/mode", &body, PATIENCE).await);
    let mut answer = show(shim);
    answer["unsaved"] = unsaved.into();
    Ok(answer)
}

/// The mode that somebody asks for.
pub(super) fn asked_for(asked: &Asked) -> Result<Mode, Refused> {
    let mode = asked.body.get("mode").and_then(Value::as_str);
    mode.and_then(Mode::parse)
        .ok_or_else(|| Refused::bad("`mode`: expected \"on\", \"observe\" or \"off\""))
}

/// Switches for the next handshakes, and says which gateways. One that is gone from the configuration has none: it can
/// only be switched off, for what the shim does there by itself.
pub(super) fn set(shim: &Shim, name: Option<&str>, mode: Mode) -> Result<Vec<Meant>, Refused> {
    let mut meant = shim.meant(name);
    meant.retain(|one| !one.gone || mode == Mode::Off);
    if meant.is_empty() {
        let fleet = shim.fleet();
        let names: Vec<&str> = fleet
            .served
            .iter()
            .map(|served| served.name.as_str())
            .collect();
        let text = format!(
            "`gateway`: there is none of that name; there are: {}",
            names.join(", ")
        );
        return Err(Refused::bad(text));
    }
    for one in &meant {
        let before = one.engine.mode.get().as_str();
        one.engine.mode.set(mode);
        // Those of a gateway that had another name, or was gone for a while, have a switch of their own.
        let others = one.past.iter().map(|engine| &engine.mode);
        others
            .filter(|switch| switch.get() != mode)
            .for_each(|switch| switch.set(mode));
        info!(gateway = %one.config.name, before, "the mode is {} now", mode.as_str());
    }
    Ok(meant)
}

/// Keeps a mode for the next start; what is the matter where that cannot be.
pub(super) async fn keep(config: &Config, mode: Mode, by: Option<&str>) -> Result<(), String> {
    let (kept, by) = (config.clone(), by.map(str::to_owned));
    let saving = tokio::task::spawn_blocking(move || saved::keep_as(&kept, mode, by.as_deref()));
    let outcome = match saving.await {
        Ok(outcome) => outcome.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    outcome.map_err(|why| {
        let why = format!("{}: {why}", saved::file(&config.data).display());
        error!(
            gateway = %config.name,
            "the mode {} holds, but does not survive a restart: {why}", mode.as_str()
        );
        why
    })
}

/// How long a process before this one may take.
const PATIENCE: Duration = Duration::from_secs(1);
