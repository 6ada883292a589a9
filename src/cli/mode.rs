//! `scope-shim mode`: what the shim does with handshakes, shown and switched.
//!
//! Where no shim runs, the answer is about the next start: what it would begin in, or what it begins in from now on.
//! Nobody who switches in a hurry has to find out first whether it runs.

use std::fmt::Write as _;

use clap::Args;
use serde_json::{Value, json};

use super::target::{Missed, Target};
use super::{ExitStatus, Said, Settings};
use crate::admin::ClientError;
use crate::app::{Failure, saved};
use crate::clock;
use crate::config::{Config, Mode};
use crate::delegate::Delegate;
use crate::text::safe;

/// What to switch to.
#[derive(Args, Debug)]
pub struct Switch {
    /// Repair handshakes (on), only say what would be done (observe), or do nothing (off) [default: show it]
    #[arg(value_name = "on|observe|off", value_parser = parse)]
    pub to: Option<Mode>,

    /// The shim that is meant.
    #[command(flatten)]
    pub settings: Settings,
}

/// Who runs this, as the environment has it, for those who will wonder.
fn who() -> String {
    let names = ["SUDO_USER", "USER", "LOGNAME"].into_iter();
    let name = names.filter_map(|name| std::env::var(name).ok()).next();
    let name = name.map_or_else(String::new, |name| format!("{name} with "));
    format!("{name}`scope-shim mode`")
}

fn parse(word: &str) -> Result<Mode, String> {
    Mode::parse(word).ok_or_else(|| "expected on, observe or off".to_owned())
}

/// Shows or switches.
///
/// # Errors
///
/// When the shim does not answer, or does not do it; or where none runs and the configuration cannot be used.
pub async fn run(target: &Target, options: &Switch) -> Result<Said, Missed> {
    if let (None, Some(mode)) = (options.to, &options.settings.mode) {
        let slip = format!(
            "--mode is what a shim starts with; to switch one, run: scope-shim mode {}",
            safe(mode)
        );
        return Err(Missed::Failed(slip.into()));
    }
    let client = target.client()?;
    let answer = match options.to {
        None => client.get("/mode").await,
        Some(mode) => {
            let mut asked = json!({"mode": mode.as_str(), "by": who()});
            if let Some(name) = &options.settings.gateway_name {
                asked["gateway"] = name.as_str().into();
            }
            client.post("/mode", &asked).await
        }
    };
    match (answer, &target.configs) {
        (Ok(answer), _) => Ok(shown(&answer, options)),
        (Err(error @ ClientError::NotRunning { .. }), Ok(configs)) => {
            not_running(&error, configs, options)
        }
        (Err(error), _) => Err(target.missed(error)),
    }
}

fn shown(answer: &Value, options: &Switch) -> Said {
    let mut text = String::new();
    let mut status = ExitStatus::Ok;
    let several = list(answer, "gateways").count() > 1;
    for gateway in list(answer, "gateways") {
        let name = word(gateway, "name");
        if options
            .settings
            .gateway_name
            .as_ref()
            .is_some_and(|only| *only != name)
        {
            continue;
        }
        let whose = whose(&name, several);
        let (mode, at_start) = (word(gateway, "mode"), word(gateway, "at_start"));
        if mode == at_start {
            let _ = writeln!(text, "{whose}mode {mode}, {}", word(gateway, "why"));
        } else {
            let _ = writeln!(
                text,
                "{whose}mode {mode}; a restart begins in {at_start}, {}",
                word(gateway, "why")
            );
        }
        if let Some(observed) = gateway.get("observed") {
            let _ = writeln!(text, "  {}", summary(observed));
        }
    }
    if let Some(name) = &options.settings.gateway_name
        && !list(answer, "gateways").any(|gateway| word(gateway, "name") == *name)
    {
        let names: Vec<String> = list(answer, "gateways")
            .map(|gateway| word(gateway, "name"))
            .collect();
        status = ExitStatus::Failure;
        let _ = writeln!(
            text,
            "error: the shim that runs has no gateway {}; it has: {}",
            safe(name),
            names.join(", ")
        );
    }
    for unsaved in list(answer, "unsaved") {
        status = ExitStatus::Findings;
        let _ = writeln!(
            text,
            "warning: {} is switched, but that does not survive a restart: {}",
            word(unsaved, "name"),
            word(unsaved, "why")
        );
    }
    if options.to.is_some() {
        text.push_str("It holds for new handshakes; sessions under way go on as they are.\n");
    }
    Said { text, status }
}

/// Only one of several gateways has to be named.
fn whose(name: &str, several: bool) -> String {
    match several {
        true => format!("{name}: "),
        false => String::new(),
    }
}

/// What only observing has shown.
fn summary(observed: &Value) -> String {
    let number = |key| {
        observed
            .get(key)
            .and_then(Value::as_i64)
            .unwrap_or_default()
    };
    let count = |key, one: &str, more: &str| match number(key) {
        1 => format!("1 {one}"),
        number => format!("{number} {more}"),
    };
    format!(
        "since {}: {}; on would have repaired {}, answered {} without the gateway and explained {}",
        clock::utc(number("since")),
        count("sessions", "handshake", "handshakes"),
        number("would_repair"),
        number("would_answer"),
        count("would_explain", "refusal", "refusals"),
    )
}

fn not_running(error: &ClientError, configs: &[Config], options: &Switch) -> Result<Said, Missed> {
    let ClientError::NotRunning { socket, .. } = error else {
        return Ok(Said {
            text: String::new(),
            status: ExitStatus::Ok,
        });
    };
    let meant = |config: &&Config| {
        let name = options.settings.gateway_name.as_deref();
        name.is_none_or(|name| name == config.name)
    };
    let mut text = format!(
        "scope-shim is not running (nobody answers at {}).\n",
        socket.display()
    );
    let mut status = ExitStatus::Ok;
    for config in configs.iter().filter(meant) {
        let name = &config.name;
        if let Some(mode) = options.to
            && let Err(error) = keep(config, mode)
        {
            status = ExitStatus::Failure;
            let file = saved::file(&config.data);
            let _ = writeln!(
                text,
                "error: {name} is not switched: {}: {error}",
                file.display()
            );
        }
        let resolved = saved::resolve(config);
        let _ = writeln!(
            text,
            "{}the next start begins in {}, {}",
            whose(name, configs.len() > 1),
            resolved.mode.as_str(),
            resolved.clause()
        );
    }
    if !configs.iter().any(|config| meant(&config)) {
        status = ExitStatus::Failure;
        text.push_str("error: there is no gateway of that name\n");
    }
    Ok(Said { text, status })
}

/// Whoever switches it on wants an unpaired delegate used again, too.
fn keep(config: &Config, mode: Mode) -> Result<(), Failure> {
    saved::keep_unseen(config, mode, &who())?;
    if mode != Mode::Off {
        Delegate::reinstate_in(&config.data)?;
    }
    Ok(())
}

fn list<'a>(answer: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    answer
        .get(key)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn word(of: &Value, key: &str) -> String {
    safe(of.get(key).and_then(Value::as_str).unwrap_or_default())
}
