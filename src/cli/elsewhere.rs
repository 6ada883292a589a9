//! Why a command is not carried out that would not reach the shim, or the gateway, that is meant.
//!
//! What a refused client is told has room for `scope-shim approve <id>` and no more. Where the shim was started with
//! `--data` or `--config`, the bare command would find no shim, make a key of its own, and pair it: a second device of
//! the shim at the gateway, which nobody asked for. Where it was started with `--gateway`, the command would pair with
//! another gateway. And where its configuration was edited since, `mode off` would switch nothing. So each does nothing, and
//! tells the command that means the one that runs.
//!
//! Which ones run is told by the kernel, on Linux. What processes of other users say of themselves
//! is only ever part of a command that runs as that user: whoever pastes it lends them no power.

mod process;

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::{Command, Settings, Target};
use crate::admin::{Client, ClientError};
use crate::config::{Config, Environment, GatewayUrl};
use crate::invocation::{Invocation, quoted};
use crate::text::safe;
use process::{Other, Process, Running, Whose};

/// Why the command of this process is not carried out.
pub async fn objection(command: &Command) -> Option<String> {
    let settings = command.about_a_shim()?;
    let environment = Environment::of_process();
    let target = Target::of(settings);
    let data = target.data()?;
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let client = target.client().ok()?;
    // Only some commands need to know more than that it answers, and what it tells then takes it longer.
    let question = match command.asks_the_gateway() {
        true => "/status",
        false => "/live",
    };
    match client.get(question).await {
        Err(ClientError::NotRunning { socket, .. }) => {
            let running = Running::look(data, &environment);
            if let Some(deaf) = running.here.iter().find(|process| process.listens()) {
                if comes_to_answer(client).await {
                    return None;
                }
                let usual = crate::admin::socket(data) == socket;
                return Some(deaf_text(deaf, &socket, usual, &words).await);
            }
            let others = running.elsewhere;
            let is_meant = settings.names_a_place(&environment) || others.is_empty();
            (!is_meant).then(|| text(&others, data, &words))
        }
        Ok(status) if command.asks_the_gateway() && !settings.names_a_gateway() => {
            let config = target.configs.as_ref().ok()?.iter().find(|config| {
                let name = settings.gateway_name.as_ref();
                name.is_none_or(|name| *name == config.name)
            })?;
            let served = elsewhere(&status, config)?;
            let running = Running::look(data, &environment).here;
            Some(mismatch_text(&served, config, running.first(), &words))
        }
        _ => None,
    }
}

/// Whether it had only just begun.
async fn comes_to_answer(client: &Client) -> bool {
    for _ in 0..LOOKS {
        tokio::time::sleep(BETWEEN_LOOKS).await;
        if client.get("/live").await.is_ok() {
            return true;
        }
    }
    false
}

/// The gateway that the running shim serves instead of this one.
fn elsewhere(status: &Value, config: &Config) -> Option<String> {
    let gateways = status.get("gateways")?.as_array()?;
    let named = |gateway: &&Value| gateway["name"] == config.name.as_str();
    let served = match gateways.as_slice() {
        [only] => only,
        several => several.iter().find(named)?,
    };
    let served = served["url"].as_str()?;
    let same = GatewayUrl::parse(served).is_ok_and(|url| is_same(&url, &config.gateway.url));
    (!same).then(|| safe(served))
}

fn is_same(one: &GatewayUrl, other: &GatewayUrl) -> bool {
    let same_host = one.host == other.host || (one.is_loopback() && other.is_loopback());
    one.port == other.port && same_host
}

fn mismatch_text(served: &str, config: &Config, shim: Option<&Process>, words: &[&str]) -> String {
    let meant = &config.gateway.url;
    let mut text = format!(
        "nothing was done: the scope-shim that runs serves the gateway at {served}, and this command means {meant}; "
    );
    let bare = Invocation::default().command(words);
    let reaching = shim.map(|shim| shim.invocation().command(words));
    match reaching.filter(|reaching| *reaching != bare) {
        Some(reaching) => text.push_str(&format!("run:\n  {reaching}")),
        None => text.push_str(
            "give --gateway and --gateway-state as it was started with, or run `scope-shim reload` if its configuration was \
             changed since",
        ),
    }
    text
}

/// It runs, and was asked where it is not to be asked. `usual`: that place follows from its data directory.
async fn deaf_text(shim: &Process, socket: &Path, usual: bool, words: &[&str]) -> String {
    let mut text = format!(
        "nothing was done: a scope-shim runs (process {}), but nobody answers at {}, as what its configuration says of \
         `data` or `admin` has changed since it started; ",
        shim.pid,
        socket.display()
    );
    for directory in shim.socket_directories().into_iter().filter(|_| usual) {
        if Client::of_data(&directory).get("/live").await.is_ok() {
            let way = shim
                .invocation()
                .with(DATA, directory.display().to_string());
            text.push_str(&format!("run:\n  {}", way.command(words)));
            return text;
        }
    }
    text.push_str(&format!(
        "write it as it was, or restart it; to end it: kill {}",
        shim.pid
    ));
    text
}

fn text(others: &[Other], data: &Path, words: &[&str]) -> String {
    let usual = Invocation::of_flags([(DATA, data.display().to_string())]);
    let mut text = format!(
        "nothing was done: no scope-shim answers with the usual data directory {}, but one runs otherwise; run:",
        data.display()
    );
    for other in others {
        let command = other.shim.command(words);
        let line = match &other.whose {
            Whose::Own => command,
            Whose::User(user) => {
                format!("sudo -H -u {} {command}", quoted(user))
            }
            Whose::Container => format!("{command}    in the container"),
        };
        text.push_str(&format!("\n  {line}    (process {})", other.pid));
    }
    text.push_str(&format!(
        "\nor, if the usual one is meant: {}",
        usual.command(words)
    ));
    text
}

impl Settings {
    /// Whether they say which shim is meant.
    fn names_a_place(&self, environment: &Environment) -> bool {
        let variables = ["SCOPE_SHIM_CONFIG", "SCOPE_SHIM_DATA"];
        let by_variable = || variables.iter().any(|name| environment.get(name).is_some());
        self.config.is_some() || self.data.is_some() || by_variable()
    }

    /// Whether they say on the command line which gateway is meant.
    const fn names_a_gateway(&self) -> bool {
        self.gateway.is_some() || self.gateway_state.is_some()
    }
}

const DATA: &str = "--data";
const LOOKS: u32 = 4;
const BETWEEN_LOOKS: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shim_is_named_by_the_command_that_reaches_it() {
        let other = |pid, whose, flags: &[(&'static str, &str)]| Other {
            pid,
            whose,
            shim: Invocation::of_flags(
                flags
                    .iter()
                    .map(|(flag, value)| (*flag, (*value).to_owned())),
            ),
        };
        let others = [
            other(
                9,
                Whose::Own,
                &[("--data", "/my data"), ("--gateway", "ws://h:1")],
            ),
            other(
                8,
                Whose::User("op".to_owned()),
                &[("--config", "/f\u{1b}.toml")],
            ),
            other(7, Whose::Container, &[]),
        ];
        let words = ["approve", "a-b", "--gateway=ws://h:2"];
        assert_eq!(
            text(&others, Path::new("/home/op/data"), &words),
            "nothing was done: no scope-shim answers with the usual data directory /home/op/data, but one runs otherwise; run:\n\
             \u{20} scope-shim approve a-b --gateway=ws://h:2 --data '/my data'    (process 9)\n\
             \u{20} sudo -H -u op scope-shim approve a-b --gateway=ws://h:2 --config '/f\\u{1b}.toml'    (process 8)\n\
             \u{20} scope-shim approve a-b --gateway=ws://h:2    in the container    (process 7)\n\
             or, if the usual one is meant: scope-shim approve a-b --gateway=ws://h:2 --data /home/op/data"
        );
    }
}
