//! Several gateways: what each `[[gateway]]` says, and whether they go together.

use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::DeValue;

use super::load::{absolute, in_order, resolve};
use super::problem::{Origin, Problem, Problems, closest};
use super::raw::{Entry, RawConfig};
use super::reader::Reader;
use super::show::Show as _;
use super::value::{self, kind};
use super::{Config, host, self_proxy};

/// Resolves every entry, and holds them against each other.
pub(super) fn resolve_each(
    raw: &RawConfig<'_>,
    entries: &[(Origin, &Spanned<DeValue<'_>>)],
) -> Result<Vec<Config>, Problems> {
    let mut problems = Vec::new();
    let mut configs = Vec::new();
    for (place, entry) in entries {
        let DeValue::Table(table) = entry.get_ref() else {
            let found = kind(entry.get_ref());
            let message = format!("`gateway`: expected a list of sections, found {found} in it");
            let hint = Some("write [[gateway]] for each of them".to_owned());
            problems.push(problem(place, message, hint));
            continue;
        };
        let one = RawConfig {
            entry: Some(Entry { place, table }),
            ..*raw
        };
        match resolve(&one) {
            Ok(config) => configs.push((config, place)),
            // What holds for all of them is said once.
            Err(Problems(new)) => {
                for new in new {
                    if !problems.contains(&new) {
                        problems.push(new);
                    }
                }
            }
        }
    }
    if entries.is_empty() {
        let message = "`gateway`: expected a list of sections, found nothing in it".to_owned();
        let hint = Some("write [[gateway]] for each of them, or take it away".to_owned());
        let origin = raw.file.map_or(Origin::Default, |file| file.place(0..0));
        problems.push(problem(&origin, message, hint));
    }
    problems.extend(contradictions(&configs));
    if problems.is_empty() {
        let several = configs.len() > 1;
        let labelled = configs.into_iter().map(|(config, _)| Config {
            label: several.then(|| config.name.clone()),
            invocation: if several {
                config.invocation.for_gateway(&config.name)
            } else {
                config.invocation
            },
            ..config
        });
        Ok(labelled.collect())
    } else {
        Err(in_order(problems))
    }
}

impl Config {
    /// What keeps configurations from holding side by side that were not read together.
    #[must_use]
    pub(crate) fn clashes(configs: &[Self]) -> Vec<Problem> {
        let nowhere = Origin::Default;
        let placed = configs.iter().map(|config| (config.clone(), &nowhere));
        contradictions(&placed.collect::<Vec<_>>())
    }
}

/// What gateways cannot have in common, any two of them.
fn contradictions(configs: &[Placed<'_>]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, second) in configs.iter().enumerate() {
        for first in configs.iter().take(index) {
            problems.extend(contradiction(first, second));
        }
        problems.extend(loops(&second.0, configs.iter().map(|(other, _)| other)));
    }
    problems
}

/// What one of several gateways is called and answers to; a single one has its usual name.
pub(super) fn name_and_hosts(reader: &mut Reader<'_>) -> (String, Vec<String>) {
    let Some(entry) = reader.raw.entry else {
        return (DEFAULT_NAME.to_owned(), Vec::new());
    };
    if reader.raw.own("gateway.name").is_none() {
        let message = "`gateway.name`: one of several gateways needs a name".to_owned();
        let hint = Some("write name = \"staging\", for example".to_owned());
        reader.problem(entry.place.clone(), message, hint);
    }
    let name = reader.read("gateway.name", DEFAULT_NAME.to_owned(), host::name);
    let hosts = reader.read("gateway.hosts", Vec::new(), host::hosts);
    (name, hosts)
}

/// Where the shim's own data for one gateway is: its own directory, else one in that of the process.
pub(super) fn data_directory(reader: &mut Reader<'_>, base: &Path, name: &str) -> PathBuf {
    if reader.raw.entry.is_none() {
        return base.to_owned();
    }
    let environment = reader.raw.environment;
    let (data, origin) = match reader.read_or_auto("gateway.data", value::path) {
        Some((text, origin)) => (absolute(environment, &text, &origin), origin),
        None => (base.join(name), reader.origin("data")),
    };
    reader.resolved("gateway.data", data.show(), origin);
    data
}

/// The gateway that a command is for.
pub(super) fn choose(mut configs: Vec<Config>, name: Option<&str>) -> Result<Config, Problems> {
    let known: Vec<String> = configs.iter().map(|config| config.name.clone()).collect();
    let meant = match name {
        Some(name) => known.iter().position(|known| known == name),
        None => (known.len() == 1).then_some(0),
    };
    if let Some(meant) = meant {
        return Ok(configs.swap_remove(meant));
    }
    let list = known.join(", ");
    let (message, near) = match name {
        Some(name) => (
            format!(
                "there is no gateway {}; there are: {list}",
                value::quoted(name)
            ),
            closest(name, known.iter().map(String::as_str)),
        ),
        None => (
            format!("there are several gateways: {list}"),
            known.first().map(String::as_str),
        ),
    };
    let hint = near.map(|near| format!("say which one is meant: --gateway-name {near}"));
    let origin = name.map_or(Origin::Default, |_| Origin::Flag("--gateway-name"));
    let hint = hint.or_else(|| Some("take one of these".to_owned()));
    Err(Problems(vec![problem(&origin, message, hint)]))
}

type Placed<'a> = (Config, &'a Origin);

/// What two gateways cannot have in common.
fn contradiction(first: &Placed<'_>, second: &Placed<'_>) -> Vec<Problem> {
    let ((first, _), (second, place)) = (first, second);
    let other = &first.name;
    let said = |key: &str| match second.origin(key) {
        origin @ Origin::File { .. } => origin,
        _ => (*place).clone(),
    };
    let mut problems = Vec::new();
    let mut say = |key: &str, message: String, hint: &str| {
        problems.push(problem(&said(key), message, Some(hint.to_owned())));
    };
    if first.name == second.name {
        let message = format!("`gateway.name`: another gateway is called {other:?}, too");
        say(
            "gateway.name",
            message,
            "give each gateway a name of its own",
        );
        return problems;
    }
    if first.data == second.data {
        let data = first.data.display();
        let message =
            format!("`gateway.data`: {data} is the directory of the gateway {other}, too");
        let hint = "take it away: each gateway has a directory of its own, by its name";
        say("gateway.data", message, hint);
    }
    if first.gateway.state.is_some() && first.gateway.state == second.gateway.state {
        let message = format!("`gateway.state`: it is that of the gateway {other}, too");
        let hint = "give each gateway's own; the devices of one are not those of another";
        if first.gateway.url != second.gateway.url {
            say("gateway.state", message, hint);
        }
    }
    if first.listen == second.listen {
        if first.hosts.is_empty() && second.hosts.is_empty() {
            let message = format!(
                "`gateway.hosts`: nothing tells it from the gateway {other}: both listen on {}",
                first.listen
            );
            let hint = "give one of them hosts = [\"a.example\"], or a listen = \"127.0.0.1:18781\" of its own";
            say("gateway.hosts", message, hint);
        }
        for host in first
            .hosts
            .iter()
            .filter(|host| second.hosts.contains(host))
        {
            let message = format!("`gateway.hosts`: {host} leads to the gateway {other} already");
            say("gateway.hosts", message, "take it away from one of the two");
        }
    } else if overlap(first, second) {
        let message = format!(
            "`listen`: {} takes the port that the gateway {other} listens on, {}",
            second.listen, first.listen
        );
        say(
            "listen",
            message,
            "listen on the same address, or on another port",
        );
    }
    problems
}

/// Two addresses that cannot both be listened on.
fn overlap(first: &Config, second: &Config) -> bool {
    let (first, second) = (first.listen, second.listen);
    first.port() == second.port()
        && first.port() != 0
        && (first.ip().is_unspecified() || second.ip().is_unspecified())
}

impl Config {
    /// Whether the shim would be its own gateway.
    #[must_use]
    pub(crate) fn loops_to_itself(&self) -> Option<Problem> {
        self_proxy::is_itself(self.listen, &self.gateway.url).then(|| {
            let message = format!(
                "`gateway.url`: {} is where the shim itself listens",
                self.gateway.url
            );
            let hint = Some("give the gateway's own address".to_owned());
            problem(&self.origin("gateway.url"), message, hint)
        })
    }
}

/// The gateway's own listening address is checked before; here are those of the others.
fn loops<'a>(config: &Config, others: impl Iterator<Item = &'a Config>) -> Option<Problem> {
    let mut others = others.filter(|other| other.listen != config.listen);
    let other = others.find(|other| self_proxy::is_itself(other.listen, &config.gateway.url))?;
    let message = format!(
        "`gateway.url`: {} is where the shim itself listens for the gateway {}",
        config.gateway.url, other.name
    );
    let hint = Some("give the gateway's own address".to_owned());
    Some(problem(&config.origin("gateway.url"), message, hint))
}

fn problem(origin: &Origin, message: String, hint: Option<String>) -> Problem {
    Problem {
        origin: origin.clone(),
        message,
        hint,
    }
}

/// What a gateway is called that nobody gave a name.
const DEFAULT_NAME: &str = "gateway";
