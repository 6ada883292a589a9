//! `scope-shim unpair`: the shim's own device goes from the gateway, and what else is to be undone is told.

mod left;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::phrase::row;
use super::{ExitStatus, Missed, Said, Settings, Style, Target};
use crate::admin::{Client, ClientError};
use crate::app::{Failure, older, saved};
use crate::config::{Config, Environment, GatewayUrl, Mode};
use crate::control::{self, Removal};
use crate::delegate::Delegate;
use crate::text::safe;
use left::{Front, Left};

/// What to unpair.
#[derive(Args, Debug)]
pub struct Unpair {
    #[command(flatten)]
    #[expect(missing_docs, reason = "it would be shown as help")]
    pub settings: Settings,

    /// Do not ask first; nobody is asked where no terminal is
    #[arg(long)]
    pub yes: bool,
}

/// What became of one gateway.
struct Outcome {
    gateway: String,
    /// Whether the shim is switched off there.
    off: bool,
    sessions_ended: u64,
    removal: Result<Removal, String>,
}

/// Removes the delegate: through the shim that runs, else in a session of its own.
///
/// # Errors
///
/// When the answer at the terminal was no, there is no gateway of that name, or the running shim does not answer.
pub async fn run(config: &Config, options: &Unpair, style: Style) -> Result<Said, Failure> {
    if !options.yes
        && !agreed(&format!(
            "the gateway at {}",
            config.gateway.url.authority()
        ))?
    {
        return Err("nothing was changed".into());
    }
    let body = json!({"gateway": options.settings.gateway_name});
    let client = Client::new(config);
    if let Ok(Some(several)) = several(&client, options).await {
        return Err(several.into());
    }
    let (outcomes, running) = match client.post("/unpair", &body).await {
        Ok(answer) => (read(&answer), true),
        Err(ClientError::NotRunning { .. }) => (vec![alone(config, options).await?], false),
        Err(error) => return Err(error.into()),
    };
    let mut config = config.clone();
    let place = match running {
        true => place(&client, &config.name).await,
        false => None,
    };
    let mut listen = config.listen;
    if let Some((shims, gateway)) = place {
        listen = shims;
        config.gateway.url = gateway;
    }
    let front = Front {
        running,
        listen,
        left: outcomes.iter().all(Outcome::is_complete),
    };
    let left = Left::look(&config, &Environment::of_process(), front);
    let mut text = String::new();
    let on = config.command(&["mode", "on"]);
    for outcome in &outcomes {
        let gateway = format!(
            "{} ({})",
            safe(&outcome.gateway),
            config.gateway.url.authority()
        );
        outcome.show(&mut text, &gateway, style, &on);
    }
    left.show(&mut text, style);
    let status = status(&outcomes);
    Ok(Said { text, status })
}

/// The same through the shim that runs, where its configuration cannot be used any more, and so what is left to undo is
/// not known.
///
/// # Errors
///
/// When no shim answers, or it refuses; or the answer at the terminal was no.
pub async fn through(target: &Target, options: &Unpair, style: Style) -> Result<Said, Missed> {
    let client = target.client()?;
    let several = several(client, options).await;
    if let Some(several) = several.map_err(|error| target.missed(error))? {
        return Err(Missed::Failed(several.into()));
    }
    let asked = "the gateway of the shim that runs";
    if !options.yes && !agreed(asked).unwrap_or(false) {
        let text = "nothing was changed\n".to_owned();
        let status = ExitStatus::Failure;
        return Ok(Said { text, status });
    }
    let body = json!({"gateway": options.settings.gateway_name});
    let answer = client.post("/unpair", &body).await;
    let outcomes = read(&answer.map_err(|error| target.missed(error))?);
    let mut text = String::new();
    for outcome in &outcomes {
        let on = crate::invocation::Invocation::default().command(&["mode", "on"]);
        outcome.show(&mut text, &safe(&outcome.gateway), style, &on);
    }
    let status = status(&outcomes);
    Ok(Said { text, status })
}

/// What to say where the shim that runs serves several gateways and none is named: it would leave all of them.
async fn several(client: &Client, options: &Unpair) -> Result<Option<String>, ClientError> {
    if options.settings.gateway_name.is_some() {
        return Ok(None);
    }
    let answer = client.get("/mode").await?;
    let gateways = answer["gateways"].as_array().into_iter().flatten();
    let names: Vec<String> = gateways
        .filter_map(|gateway| gateway["name"].as_str().map(safe))
        .collect();
    let text = format!(
        "the shim that runs serves several gateways; say which with --gateway-name: {}",
        names.join(", ")
    );
    Ok((names.len() > 1).then_some(text))
}

fn status(outcomes: &[Outcome]) -> ExitStatus {
    if outcomes.iter().all(Outcome::is_complete) {
        ExitStatus::Ok
    } else {
        ExitStatus::Failure
    }
}

/// Where the running shim lets the gateway's clients in, and the gateway's address: a flag may have said so that this command
/// was not given.
async fn place(client: &Client, name: &str) -> Option<(SocketAddr, GatewayUrl)> {
    let status = client.get("/status").await.ok()?;
    let gateways = status.get("gateways")?.as_array()?;
    let gateway = gateways.iter().find(|gateway| gateway["name"] == name)?;
    let listen = gateway["listen"].as_str()?.parse().ok()?;
    Some((listen, GatewayUrl::parse(gateway["url"].as_str()?).ok()?))
}

fn agreed(gateway: &str) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Ok(true);
    }
    let mut terminal = std::io::stderr();
    write!(
        terminal,
        "Switch the shim off and remove its device from {gateway}? Sessions that it repaired will end. [y/N] "
    )?;
    terminal.flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn read(answer: &Value) -> Vec<Outcome> {
    let gateways = answer.get("gateways").and_then(Value::as_array);
    let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let one = |value: &Value| Outcome {
        gateway: text(value, "name"),
        off: true,
        sessions_ended: value["sessionsEnded"].as_u64().unwrap_or_default(),
        removal: serde_json::from_value(value["removal"].clone())
            .map_err(|_| text(value, "failed")),
    };
    gateways.into_iter().flatten().map(one).collect()
}

/// Without a shim that runs: at most processes do that wait for their last sessions. Without a key there is nothing to prove a device with, and nothing to remove.
async fn alone(config: &Config, options: &Unpair) -> Result<Outcome, Failure> {
    if let Some(name) = &options.settings.gateway_name
        && *name != config.name
    {
        return Err(format!("there is no gateway {}", safe(name)).into());
    }
    let delegate = Delegate::load(&config.data)?;
    let off = switch_off(config)?;
    if let Some(delegate) = &delegate {
        delegate.retire()?;
    }
    let (sessions_ended, deaf) = retire_older(config).await;
    let removal = match delegate {
        None => Ok(Removal {
            left: deaf,
            ..Removal::default()
        }),
        Some(delegate) => remove(config, delegate, deaf).await,
    };
    Ok(Outcome {
        gateway: config.name.clone(),
        off,
        sessions_ended,
        removal,
    })
}

/// Keeps the next start from pairing again. Where there is no directory nobody has started, and one that this user makes
/// may not be the shim's to use.
fn switch_off(config: &Config) -> Result<bool, Failure> {
    if !config.data.exists() {
        return Ok(false);
    }
    let by = "`scope-shim unpair`";
    saved::keep_unseen(config, Mode::Off, by).map_err(|error| {
        let file = saved::file(&config.data);
        format!(
            "nothing was changed: the next start would pair again, as {} cannot be written: {error}",
            file.display()
        )
    })?;
    Ok(true)
}

/// Has processes that wait for their last sessions put the delegate away: how many sessions they ended, and the commands
/// that end those which did not listen.
async fn retire_older(config: &Config) -> (u64, Vec<String>) {
    let body = json!({"gateway": config.name, "mode": Mode::Off.as_str()});
    let tell = |path| older::tell(&config.base, path, &body, OLDER);
    let switched = tell("/older/mode").await;
    let retired = tell("/older/retire").await;
    let deaf = switched.iter().chain(&retired);
    let deaf: BTreeSet<String> = deaf
        .filter(|said| said.answer.is_err())
        .map(|said| said.end.clone())
        .collect();
    let answers = retired.iter().filter_map(|said| said.answer.as_ref().ok());
    let ended = answers.map(|answer| {
        let gateways = read(answer).into_iter();
        gateways.map(|outcome| outcome.sessions_ended).sum::<u64>()
    });
    (ended.sum(), deaf.into_iter().collect())
}

async fn remove(config: &Config, delegate: Delegate, deaf: Vec<String>) -> Result<Removal, String> {
    let settings =
        control::Settings::with_delegate(config, delegate).map_err(|error| error.to_string())?;
    let removal = control::remove(&settings).await;
    let mut removal = removal.map_err(|error| error.to_string())?;
    removal.left.extend(deaf);
    if removal.is_complete() {
        let discarded = settings.delegate.discard();
        discarded.map_err(|error| error.to_string())?;
    }
    Ok(removal)
}

impl Outcome {
    fn is_complete(&self) -> bool {
        self.removal.as_ref().is_ok_and(Removal::is_complete)
    }

    /// `on` is the command that switches the shim on again.
    fn show(&self, text: &mut String, gateway: &str, style: Style, on: &str) {
        let title = match &self.removal {
            Err(_) => style.bad("not unpaired:"),
            Ok(removal) if !removal.is_complete() => style.doubtful("not quite unpaired:"),
            Ok(removal) if removal.removed.is_empty() && removal.rejected.is_empty() => {
                style.good("nothing to remove:")
            }
            Ok(_) => style.good("unpaired:"),
        };
        let _ = writeln!(text, "{title} {gateway}");
        if self.off {
            row(text, style, "mode", &format!("off, until `{on}`"));
        }
        if self.sessions_ended > 0 {
            let ended = format!("{} ended; their clients connect again", self.sessions_ended);
            row(text, style, "sessions", &ended);
        }
        match &self.removal {
            Ok(removal) => show_removal(text, style, removal),
            Err(why) => {
                row(text, style, "why", &safe(why));
                row(
                    text,
                    style,
                    "next",
                    "run this command again; the key is kept until then",
                );
            }
        }
    }
}

fn show_removal(text: &mut String, style: Style, removal: &Removal) {
    for device in &removal.removed {
        row(text, style, "removed", &format!("device {}", safe(device)));
    }
    if !removal.removed.is_empty() {
        // Seen on 2026.3.13 and 2026.9.6; no method removes them earlier.
        let rows = "its rows in the gateway's presence list go by themselves within five minutes";
        row(text, style, "note", rows);
    }
    for request in &removal.rejected {
        let request = format!("pairing request {}", safe(request));
        row(text, style, "rejected", &request);
    }
    for command in &removal.left {
        let command = format!("{}, then this command again", safe(command));
        row(text, style, "run", &command);
    }
    for device in &removal.namesakes {
        let other = format!(
            "device {} is called scope-shim, too; if no other shim needs it: openclaw devices remove {}",
            safe(&device.chars().take(12).collect::<String>()),
            safe(device)
        );
        row(text, style, "note", &other);
    }
}

/// How long a process that waits for its last sessions may take to end those in the delegate's name.
const OLDER: Duration = Duration::from_secs(13);
