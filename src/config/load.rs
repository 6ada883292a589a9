//! From what was said to what holds.

use std::fs;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use etcetera::BaseStrategy as _;

use super::problem::{Finding, Origin, Problem, Problems};
use super::raw::{self, Flag, RawConfig, RawFile, Reader};
use super::value::{self, Read, Show, Value, Wrong};
use super::{
    Cache, Config, Environment, Gateway, GatewayUrl, Limits, Log, LogFormat, LogLevel, Mode,
    Policy, Sources, StoreKind, self_proxy,
};
use crate::gateway::{self, GatewayAuth, GatewayFacts};
use crate::secret::Secret;

impl Config {
    /// Reads the configuration file (`file`, else `SCOPE_SHIM_CONFIG`, else the one of this user or machine), the
    /// variables and the flags, and finds out the rest.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, at once.
    pub fn load(
        file: Option<&Path>,
        flags: &[Flag],
        environment: &Environment,
    ) -> Result<Self, Problems> {
        let chosen = match (file, environment.get(FILE_VARIABLE)) {
            (Some(file), _) => Some((file.to_owned(), Origin::Flag("--config"))),
            (None, Some(file)) => {
                let origin = Origin::Variable(FILE_VARIABLE.to_owned());
                Some((environment.expand(file, &working_directory()), origin))
            }
            (None, None) => raw::default_file().map(|file| (file, Origin::Default)),
        };
        let Some((path, origin)) = chosen else {
            return resolve(
                &RawConfig {
                    flags,
                    environment,
                    file: None,
                },
                None,
            );
        };
        let text = read_file(&path).map_err(|message| {
            Problems(vec![Problem {
                origin,
                message: format!("{}: {message}", path.display()),
                hint: None,
            }])
        })?;
        let file = Some(RawFile::parse(&path, &text).map_err(Problems)?);
        resolve(
            &RawConfig {
                flags,
                environment,
                file,
            },
            Some(&path),
        )
    }
}

fn resolve(raw: &RawConfig<'_>, file: Option<&Path>) -> Result<Config, Problems> {
    let mut reader = Reader::new(raw);
    let reader = &mut reader;
    let listen = reader.read("listen", DEFAULT_LISTEN, value::socket_address);
    let mode = reader.read("mode", Mode::On, value::word(MODES));
    let data = data_directory(reader);
    let trusted_proxies = reader.read("trusted_proxies", Vec::new(), value::networks);
    let log = Log {
        format: reader.read("log.format", LogFormat::Text, value::word(LOG_FORMATS)),
        level: reader.read("log.level", LogLevel::Info, value::word(LOG_LEVELS)),
    };
    let gateway = read_gateway(reader, listen);
    let policy = Policy::read(reader);
    let second = Duration::from_secs(1);
    let cache = Cache {
        ttl: reader.read("cache.ttl", 30 * second, value::age),
        negative_ttl: reader.read("cache.negative_ttl", 5 * second, value::age),
        capacity: reader.read("cache.capacity", 10_000, value::count(0, 10_000_000)),
    };
    let limits = Limits {
        connections: reader.read("limits.connections", 4_096, value::count(1, 1_000_000)),
        // Less is more than hyper's own buffer takes.
        header_bytes: reader.read("limits.header_bytes", 65_536, value::count(8_192, 1 << 20)),
        header_timeout: reader.read("limits.header_timeout", 10 * second, value::timeout),
        connect_frame_bytes: reader.read(
            "limits.connect_frame_bytes",
            65_536,
            value::count(1_024, 1 << 24),
        ),
        handshake_timeout: reader.read("limits.handshake_timeout", 15 * second, value::timeout),
        idle_timeout: reader.read("limits.idle_timeout", None, value::timeout_or_off),
        gateway_handshakes: reader.read("limits.gateway_handshakes", 24, value::count(1, 4_096)),
    };
    reader.refuse_unknown();
    if !reader.problems.is_empty() {
        return Err(in_order(std::mem::take(&mut reader.problems)));
    }
    let findings = [
        &gateway.facts.findings,
        &gateway.sources.findings,
        &reader.findings,
    ];
    let findings = findings.into_iter().flatten().cloned().collect();
    Ok(Config {
        listen,
        mode,
        data,
        log,
        gateway,
        trusted_proxies,
        policy,
        cache,
        limits,
        file: file.map(Path::to_owned),
        settings: std::mem::take(&mut reader.settings),
        findings,
    })
}

/// By where they are: flags, variables, the file from top to bottom.
fn in_order(mut problems: Vec<Problem>) -> Problems {
    problems.sort_by_key(|problem| match &problem.origin {
        Origin::Flag(_) => (0, 0, 0),
        Origin::Variable(_) => (1, 0, 0),
        Origin::File { line, column, .. } => (2, *line, *column),
        Origin::Discovery(_) | Origin::Default => (3, 0, 0),
    });
    Problems(problems)
}

fn read_file(path: &Path) -> Result<String, String> {
    let metadata = fs::metadata(path).map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("expected a file".to_owned());
    }
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(|error| error.to_string())?;
    let read = file.take(MOST_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|error| error.to_string())?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(format!("larger than {} KiB", MOST_BYTES / 1024));
    }
    String::from_utf8(bytes).map_err(|_| "not UTF-8".to_owned())
}

fn working_directory() -> PathBuf {
    std::env::current_dir().unwrap_or_default()
}

/// A path of a file starts at that file, any other at the working directory.
fn absolute(environment: &Environment, text: &str, origin: &Origin) -> PathBuf {
    let base = match origin {
        Origin::File { path, .. } => path.parent().map(|parent| working_directory().join(parent)),
        _ => None,
    };
    environment.expand(text, &base.unwrap_or_else(working_directory))
}

fn data_directory(reader: &mut Reader<'_>) -> PathBuf {
    let environment = reader.raw.environment;
    let (data, origin) = match reader.read_or_auto("data", value::path) {
        Some((text, origin)) => (absolute(environment, &text, &origin), origin),
        None => match etcetera::base_strategy::choose_native_strategy() {
            Ok(strategy) => (strategy.data_dir().join("scope-shim"), Origin::Default),
            Err(_) => {
                let message = "`data`: there is no home directory to keep the shim's own data in";
                let hint = "give --data DIR".to_owned();
                reader.problem(Origin::Default, message.to_owned(), Some(hint));
                (PathBuf::new(), Origin::Default)
            }
        },
    };
    reader.resolved("data", data.show(), origin);
    data
}

fn read_gateway(reader: &mut Reader<'_>, listen: SocketAddr) -> Gateway {
    let environment = reader.raw.environment;
    let url = reader.read_or_auto("gateway.url", gateway_url);
    let state = reader.read_or_auto("gateway.state", value::path);
    let state = state.map(|(text, origin)| (absolute(environment, &text, &origin), origin));
    if let Some((state, origin)) = &state
        && !state.is_dir()
    {
        let message = format!(
            "`gateway.state`: expected the gateway's state directory, but {} is not a directory that can be read",
            state.display()
        );
        reader.problem(origin.clone(), message, None);
    }
    let facts = facts(url.as_ref(), state.as_ref(), environment, listen);
    let (url, origin) = url.unwrap_or_else(|| discovered_url(&facts));
    if self_proxy::is_itself(listen, &url) {
        let message = format!(
            "the shim would listen on the gateway's own address, {url}, and connect to itself"
        );
        let hint = "let the shim listen elsewhere (--listen 127.0.0.1:18780), or move the gateway (openclaw gateway run \
                    --port 18790) and say so (--gateway ws://127.0.0.1:18790)";
        reader.problem(origin.clone(), message, Some(hint.to_owned()));
    }
    reader.resolved("gateway.url", url.to_string(), origin);
    let (shown, origin) = match (&facts.state, state) {
        (Some(state), Some((_, origin))) => (state.show(), origin),
        (Some(state), None) => (state.show(), Origin::Discovery(facts.state_from.clone())),
        (None, _) => ("none".to_owned(), Origin::Default),
    };
    reader.resolved("gateway.state", shown, origin);
    let store = reader.read("gateway.store", StoreKind::Auto, value::word(STORES));
    let auth = auth(reader, &facts);
    let local = reader.read_or_auto("gateway.local_source", value::ip_address);
    let remote = reader.read_or_auto("gateway.remote_source", value::ip_address);
    let trusted = facts.trusted_proxies.as_deref();
    let (said_local, said_remote) = (local.as_ref().map(|s| s.0), remote.as_ref().map(|s| s.0));
    let sources = if url.is_loopback() {
        Sources::on_loopback(trusted, said_local, said_remote)
    } else {
        Sources {
            local: said_local,
            remote: said_remote,
            findings: Vec::new(),
        }
    };
    for (key, said, chosen) in [
        ("gateway.local_source", local, sources.local),
        ("gateway.remote_source", remote, sources.remote),
    ] {
        let discovered = || Origin::Discovery("the gateway's trustedProxies".to_owned());
        let origin = match (said, chosen) {
            (Some((_, origin)), _) => origin,
            (None, Some(_)) if trusted.is_some() => discovered(),
            (None, _) => Origin::Default,
        };
        let shown = chosen.map_or_else(|| "any".to_owned(), |ip| ip.to_string());
        reader.resolved(key, shown, origin);
    }
    let connect_timeout = reader.read(
        "gateway.connect_timeout",
        Duration::from_secs(3),
        value::timeout,
    );
    Gateway {
        url,
        state: facts.state.clone(),
        store,
        auth,
        sources,
        connect_timeout,
        facts,
    }
}

fn gateway_url(value: &Value<'_>) -> Read<GatewayUrl> {
    let wrong = |found: Option<String>, hint: Option<String>| {
        vec![Wrong {
            expected: "an address such as \"ws://127.0.0.1:18789\"".to_owned(),
            found,
            hint,
            ..Wrong::default()
        }]
    };
    let text = value::path(value).map_err(|_| wrong(Some(value.describe()), None))?;
    GatewayUrl::parse(&text).map_err(|why| wrong(None, Some(why.to_owned())))
}

/// Files on this machine say nothing about a gateway on another one, unless the operator says that they do.
fn facts(
    url: Option<&(GatewayUrl, Origin)>,
    state: Option<&(PathBuf, Origin)>,
    environment: &Environment,
    listen: SocketAddr,
) -> GatewayFacts {
    let here = url.is_none_or(|(url, _)| url.ip().is_some_and(self_proxy::is_own));
    if !here && state.is_none() {
        return GatewayFacts::default();
    }
    gateway::discover(
        state.map(|(state, _)| state.as_path()),
        environment,
        listen.port(),
    )
}

fn discovered_url(facts: &GatewayFacts) -> (GatewayUrl, Origin) {
    let url = GatewayUrl {
        tls: facts.tls == Some(true),
        host: facts.host.clone().unwrap_or_else(|| "127.0.0.1".to_owned()),
        port: facts.port.unwrap_or(DEFAULT_GATEWAY_PORT),
    };
    let origin = match (facts.port, &facts.config_file) {
        (Some(_), _) => Origin::Discovery(facts.port_from.clone()),
        (None, Some(file)) => Origin::Discovery(file.display().to_string()),
        (None, None) => Origin::Default,
    };
    (url, origin)
}

fn auth(reader: &mut Reader<'_>, facts: &GatewayFacts) -> GatewayAuth {
    let mut given = Vec::new();
    for (key, file_key, make) in [
        (
            "gateway.token",
            "gateway.token_file",
            GatewayAuth::Token as fn(Secret) -> GatewayAuth,
        ),
        (
            "gateway.password",
            "gateway.password_file",
            GatewayAuth::Password,
        ),
    ] {
        if let Some((secret, origin)) = reader.read_or_auto(key, value::secret) {
            given.push((key, make(secret), origin));
        }
        if let Some((path, origin)) = reader.read_or_auto(file_key, value::path) {
            let path = absolute(reader.raw.environment, &path, &origin);
            match read_secret(&path) {
                Ok(secret) => given.push((file_key, make(secret), origin)),
                Err(why) => {
                    let message = format!("`{file_key}`: {}: {why}", path.display());
                    reader.problem(origin, message, None);
                }
            }
        }
    }
    if let [(first, ..), (second, _, origin), ..] = given.as_slice() {
        let message = format!("`{second}`: `{first}` is given, too; expected one of the two");
        reader.problem(origin.clone(), message, None);
    }
    let discovered = || {
        let origin = match &facts.auth {
            GatewayAuth::Unknown => Origin::Default,
            _ => Origin::Discovery(facts.auth_from.clone()),
        };
        ("gateway.auth", facts.auth.clone(), origin)
    };
    let (_, auth, origin) = given.into_iter().next().unwrap_or_else(discovered);
    reader.resolved("gateway.auth", auth.to_string(), origin);
    let same_kind = std::mem::discriminant(&auth) == std::mem::discriminant(&facts.auth);
    if !same_kind && !matches!(facts.auth, GatewayAuth::Unknown) {
        let name = |auth: &GatewayAuth| {
            let text = auth.to_string();
            text.split([' ', ',']).next().unwrap_or_default().to_owned()
        };
        let message = format!(
            "the shim was given a {}, but the gateway's own configuration says {}",
            name(&auth),
            name(&facts.auth)
        );
        reader.findings.push(Finding::new(
            "auth-mismatch",
            message,
            "take the setting away to use what the gateway's configuration says",
        ));
    }
    auth
}

fn read_secret(path: &Path) -> Result<Secret, String> {
    let text = read_file(path)?;
    match text.trim() {
        "" => Err("expected a secret, found nothing".to_owned()),
        secret => Ok(Secret::new(secret)),
    }
}

macro_rules! show_word {
    ($kind:ty, $words:ident) => {
        impl Show for $kind {
            fn show(&self) -> String {
                let mut words = $words.iter();
                let word = words.find(|(_, meaning)| meaning == self);
                word.map_or_else(String::new, |(word, _)| (*word).to_owned())
            }
        }
    };
}

show_word!(Mode, MODES);
show_word!(LogFormat, LOG_FORMATS);
show_word!(LogLevel, LOG_LEVELS);
show_word!(StoreKind, STORES);

const MODES: &[(&str, Mode)] = &[
    ("on", Mode::On),
    ("observe", Mode::Observe),
    ("off", Mode::Off),
];
const LOG_FORMATS: &[(&str, LogFormat)] = &[("text", LogFormat::Text), ("json", LogFormat::Json)];
const LOG_LEVELS: &[(&str, LogLevel)] = &[
    ("off", LogLevel::Off),
    ("error", LogLevel::Error),
    ("warn", LogLevel::Warn),
    ("info", LogLevel::Info),
    ("debug", LogLevel::Debug),
    ("trace", LogLevel::Trace),
];
const STORES: &[(&str, StoreKind)] = &[
    ("auto", StoreKind::Auto),
    ("json", StoreKind::Json),
    ("sqlite", StoreKind::Sqlite),
    ("control", StoreKind::Control),
];

/// Next to the gateway's own 18789.
const DEFAULT_LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 18_780);
const DEFAULT_GATEWAY_PORT: u16 = 18_789;
const FILE_VARIABLE: &str = "SCOPE_SHIM_CONFIG";
const MOST_BYTES: u64 = 1024 * 1024;

#[cfg(test)]
mod tests;
