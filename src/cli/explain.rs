//! `scope-shim explain`: the decision about a session, step by step.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::{ExitStatus, Said, Settings, Style};
use crate::app::Failure;
use crate::clock;
use crate::config::Config;
use crate::explain::asked::{Asker, Client, Place, Saved};
use crate::explain::{Kept, Page, SessionTrace, page};
use crate::scope::ScopeSet;
use crate::session::id::SessionId;
use crate::text::safe;

/// What to explain. Without anything, the last sessions are listed.
#[derive(Args, Debug, Default)]
pub struct Explain {
    /// A session, by the name in its log line, or the beginning of it [default: list the last ones]
    #[arg(value_name = "SESSION", conflicts_with_all = ["device", "scopes", "handshake"])]
    session: Option<String>,

    /// A handshake that was saved: a connect request as the client sent it, or a session as --json prints it
    #[arg(long, value_name = "FILE", conflicts_with_all = ["device", "scopes"])]
    handshake: Option<PathBuf>,

    /// A paired device, by the beginning of its id [default: a client without a device]
    #[arg(long, value_name = "ID", requires = "scopes")]
    device: Option<String>,

    /// What the client asks for, for example operator.read,operator.write
    #[arg(long, value_name = "SCOPES", value_delimiter = ',')]
    scopes: Vec<String>,

    /// What the client calls itself [default: as in the device's record, else cli/cli]
    #[arg(long, value_name = "ID/MODE", requires = "scopes", value_parser = client)]
    client: Option<(String, String)>,

    /// The platform that it claims [default: the one that was pinned]
    #[arg(long, value_name = "NAME", requires = "scopes")]
    platform: Option<String>,

    /// It sends its own device token instead of the gateway's shared secret
    #[arg(long, requires = "device")]
    device_token: bool,

    /// It comes from another machine, or through a proxy
    #[arg(long, conflicts_with = "session")]
    remote: bool,

    /// It comes from a web page of this address
    #[arg(long, value_name = "URL", conflicts_with = "session")]
    origin: Option<String>,

    /// A trusted proxy names this user
    #[arg(long, value_name = "NAME", conflicts_with = "session")]
    user: Option<String>,

    /// Its proxy sets the header x-openclaw-scopes to this
    #[arg(
        long,
        value_name = "SCOPES",
        value_delimiter = ',',
        conflicts_with = "session"
    )]
    cap: Option<Vec<String>>,

    /// The gateway's version [default: as the last session met it]
    #[arg(long, value_name = "VERSION", conflicts_with = "session")]
    gateway_version: Option<String>,

    /// Write JSON
    #[arg(long)]
    json: bool,

    /// Where the gateway and the shim's own data are
    #[command(flatten)]
    pub settings: Settings,
}

fn client(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('/') {
        Some((id, mode)) if !id.is_empty() && !mode.is_empty() => Ok((id.into(), mode.into())),
        _ => Err("write it as cli/cli or openclaw-control-ui/webchat"),
    }
}

impl Explain {
    /// The gateway that is meant, of several: the one that had the session, where one is named.
    #[must_use]
    pub fn of(&self, configs: Vec<Config>) -> Option<Config> {
        let name = self.session.as_deref()?.to_ascii_lowercase();
        configs.into_iter().find(|config| {
            let kept = Kept::read(&config.data);
            kept.is_ok_and(|kept| {
                let mut traces = kept.traces.iter();
                traces.any(|trace| trace.session.starts_with(&name))
            })
        })
    }
}

/// Answers what was asked.
///
/// # Errors
///
/// When there is no such session, device or file, or the gateway's records cannot be read.
pub async fn run(config: &Config, options: &Explain, style: Style) -> Result<Said, Failure> {
    Ok(Said {
        text: explain(options, config, style).await?,
        status: ExitStatus::Ok,
    })
}

async fn explain(options: &Explain, config: &Config, style: Style) -> Result<String, Failure> {
    let place = Place {
        remote: options.remote,
        origin: options.origin.clone(),
        user: options.user.clone(),
        cap: options
            .cap
            .as_ref()
            .map(|cap| cap.iter().map(|scope| scope.trim()).collect::<ScopeSet>()),
    };
    let version = options.gateway_version.as_deref();
    if let Some(file) = &options.handshake {
        let read = read(file).map_err(|error| format!("{}: {error}", file.display()))?;
        return match Saved::parse(&read).map_err(|error| format!("{}: {error}", file.display()))? {
            Saved::Trace(trace) => show(&*trace, options, style),
            Saved::Request(connect) => {
                let asker = Asker::new(config, version).await?;
                show(&asker.request(&connect, &place).await, options, style)
            }
        };
    }
    if !options.scopes.is_empty() {
        let client = Client {
            device: options.device.clone(),
            scopes: options
                .scopes
                .iter()
                .map(|scope| scope.trim().to_owned())
                .collect(),
            client: options.client.clone(),
            platform: options.platform.clone(),
            device_token: options.device_token,
        };
        let asker = Asker::new(config, version).await?;
        return show(&asker.client(&client, &place).await?, options, style);
    }
    let kept = Kept::read(&config.data).map_err(|error| {
        format!(
            "cannot read the sessions in {}: {error}",
            config.data.display()
        )
    })?;
    match &options.session {
        Some(name) => show(find(&kept, name, config)?, options, style),
        None => list(&kept, options),
    }
}

fn show(
    subject: &(impl Page + Serialize),
    options: &Explain,
    style: Style,
) -> Result<String, Failure> {
    if options.json {
        Ok(serde_json::to_string_pretty(subject)? + "\n")
    } else {
        Ok(page(subject, style))
    }
}

/// The session of that name, or the only one whose name begins so.
fn find<'k>(kept: &'k Kept, name: &str, config: &Config) -> Result<&'k SessionTrace, Failure> {
    let wanted = name.to_ascii_lowercase();
    let begins = |trace: &&SessionTrace| trace.session.starts_with(&wanted);
    let mut found = kept.traces.iter().filter(begins);
    match (found.next(), found.next()) {
        (Some(only), None) => Ok(only),
        (Some(_), Some(_)) => {
            let all: Vec<_> = kept.traces.iter().filter(begins).collect();
            let text = lines(all.iter().rev().take(FEW).copied());
            Err(format!("more than one session begins with {name:?}:\n{text}").into())
        }
        (None, _) => Err(unknown(kept, name, config).into()),
    }
}

/// There is no such session: where was looked, and which ones are near it.
fn unknown(kept: &Kept, name: &str, config: &Config) -> String {
    let path = kept.path.display();
    if kept.traces.is_empty() {
        let off = match config.log.sessions {
            crate::config::SessionLog::Off => " (log.sessions is off)",
            crate::config::SessionLog::On => "",
        };
        return format!(
            "there is no session {name:?}: {path} has none{off}; is this the data directory of the shim that runs?"
        );
    }
    let mut near: Vec<&SessionTrace> = kept.traces.iter().rev().collect();
    if let Ok(wanted) = name.parse::<SessionId>() {
        near.sort_by_key(|trace| match trace.session.parse::<SessionId>() {
            Ok(id) => id.distance(wanted),
            Err(_) => u64::MAX,
        });
    }
    let text = lines(near.into_iter().take(FEW));
    format!("there is no session {name:?} in {path}; near it are:\n{text}")
}

fn list(kept: &Kept, options: &Explain) -> Result<String, Failure> {
    let last = kept.traces.iter().rev().take(MANY);
    if options.json {
        let last: Vec<_> = last.collect();
        return Ok(serde_json::to_string_pretty(&last)? + "\n");
    }
    if kept.traces.is_empty() {
        return Ok(format!("no sessions in {}\n", kept.path.display()));
    }
    Ok(lines(last) + "\n")
}

fn lines<'t>(traces: impl Iterator<Item = &'t SessionTrace>) -> String {
    let mut text = String::new();
    for trace in traces {
        let claims = &trace.case.claims;
        let client = format!("{}/{}", claims.client_id, claims.client_mode);
        let separator = if text.is_empty() { "" } else { "\n" };
        let _ = write!(
            text,
            "{separator}  {}  {}  {}  {}  {}: {}",
            safe(&trace.session),
            clock::utc(trace.at_ms),
            safe(&trace.address),
            safe(&client),
            safe(&trace.decision),
            trace.outcome.as_str(),
        );
    }
    text
}

/// A handshake is 64 KiB at the most on every gateway that limits it; a file that is far larger is something else.
fn read(file: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(file)?.take(LARGEST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

const LARGEST: u64 = 1 << 20;
/// How many sessions are shown beside an error.
const FEW: usize = 5;
/// How many sessions are listed.
const MANY: usize = 20;
