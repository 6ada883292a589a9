//! From what was said to what holds.

use std::fs;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::problem::{Origin, Problem, Problems, closest};
use super::raw::{Flag, RawConfig, RawFile};
use super::reader::Reader;
use super::show::Show as _;
use super::tls::read_tls;
use super::upstream::read_gateway;
use super::{
    Admin, Cache, Config, Environment, Limits, Log, LogFormat, LogLevel, Mode, Policy,
    ProxyProtocol, Sandbox, SessionLog,
};
use super::{doubt, fleet, value};
use crate::invocation::Invocation;

impl Config {
    /// Reads the configuration file (`file`, else `SCOPE_SHIM_CONFIG`, else the one of this user or machine), the
    /// variables and the flags, and finds out the rest, of the one gateway that there is.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, at once; and that there are several gateways.
    pub fn load(
        file: Option<&Path>,
        flags: &[Flag],
        environment: &Environment,
    ) -> Result<Self, Problems> {
        Self::load_one(file, flags, environment, None)
    }

    /// The same, of the gateway of that name.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, at once; and that there is no gateway of that name, or several where none is named.
    pub fn load_one(
        file: Option<&Path>,
        flags: &[Flag],
        environment: &Environment,
        name: Option<&str>,
    ) -> Result<Self, Problems> {
        fleet::choose(Self::load_all(file, flags, environment)?, name)
    }

    /// The same, of all gateways, in the order of the file. What holds for the whole process is equal in all of them.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, at once.
    pub fn load_all(
        file: Option<&Path>,
        flags: &[Flag],
        environment: &Environment,
    ) -> Result<Vec<Self>, Problems> {
        let raw = RawConfig {
            flags,
            environment,
            file: None,
            entry: None,
        };
        let Some((path, origin)) = chosen(file, environment) else {
            return Ok(vec![resolve(&raw)?]);
        };
        let text = read_file(&path).map_err(|message| {
            Problems(vec![Problem {
                origin: origin.clone(),
                message: format!("{}: {message}", path.display()),
                hint: Some("give the path of a TOML file that this user can read".to_owned()),
            }])
        })?;
        let file = RawFile::parse((&path, &origin), &text).map_err(Problems)?;
        let raw = RawConfig {
            file: Some(&file),
            ..raw
        };
        match file.gateways() {
            None => Ok(vec![resolve(&raw)?]),
            Some(entries) => fleet::resolve_each(&raw, &entries),
        }
    }

    /// Where the shim's own data is, as far as a configuration tells that cannot be used: a command has to find a shim
    /// that runs also when somebody has broken its file since.
    ///
    /// `None` where that is a guess: another shim may live at the usual place.
    #[must_use]
    pub fn data_of(
        file: Option<&Path>,
        flags: &[Flag],
        environment: &Environment,
    ) -> Option<PathBuf> {
        let raw = RawConfig {
            flags,
            environment,
            file: None,
            entry: None,
        };
        let without_file = data_said(&raw);
        match (without_file, chosen(file, environment)) {
            (Some((data, origin)), _) if origin != Origin::Default => Some(data),
            (Some((data, _)), None) => Some(data),
            (_, Some((path, origin))) => data_of_file((&path, &origin), &raw),
            (None, None) => None,
        }
    }
}

impl Config {
    /// How a shim that runs is asked, as far as a configuration tells that cannot be used, and where its own data is.
    ///
    /// `None` where the second is a guess, as in [`Config::data_of`].
    #[must_use]
    pub fn way_in(
        file: Option<&Path>,
        flags: &[Flag],
        environment: &Environment,
    ) -> Option<(PathBuf, Admin)> {
        let data = Self::data_of(file, flags, environment)?;
        let read = chosen(file, environment)
            .and_then(|(path, origin)| Some((read_file(&path).ok()?, path, origin)));
        let file = read
            .as_ref()
            .map(|(text, path, origin)| RawFile::salvage((path, origin), text));
        let raw = RawConfig {
            flags,
            environment,
            file: file.as_ref(),
            entry: None,
        };
        let mut reader = Reader::new(&raw);
        let listen = reader.read("listen", DEFAULT_LISTEN, value::socket_address);
        let admin = Admin::read(&mut reader, &data, listen);
        Some((data, admin))
    }
}

/// The data directory and who said so; `None` where anybody said what cannot be used.
fn data_said(raw: &RawConfig<'_>) -> Option<(PathBuf, Origin)> {
    let mut reader = Reader::new(raw);
    let data = data_directory(&mut reader);
    let origin = reader.origin("data");
    reader.problems.is_empty().then_some((data, origin))
}

/// A file that says nothing of it leaves it at the usual place; one that may have meant to does not.
fn data_of_file((path, origin): (&Path, &Origin), raw: &RawConfig<'_>) -> Option<PathBuf> {
    let text = read_file(path).ok()?;
    let file = RawFile::salvage((path, origin), &text);
    let (data, said) = data_said(&RawConfig {
        file: Some(&file),
        ..*raw
    })?;
    let is_toml = |text: &str| RawFile::parse((path, origin), text).is_ok();
    let lines: Vec<&str> = text.lines().filter(|line| may_mean_data(line)).collect();
    let is_sure = match (is_toml(&text), lines.as_slice()) {
        (true, []) => true,
        (true, _) => said != Origin::Default,
        (false, []) => *origin == Origin::Default,
        (false, [line]) => said != Origin::Default && is_toml(line),
        (false, _) => false,
    };
    is_sure.then_some(data)
}

/// Whether a line looks like `data`, wherever it stands and however it is written.
fn may_mean_data(line: &str) -> bool {
    let letters = line.trim_start().trim_start_matches(['"', '\'']);
    let end = letters.find(|c: char| !c.is_alphanumeric() && c != '_');
    let word = letters[..end.unwrap_or(letters.len())].to_ascii_lowercase();
    closest(&word, ["data"]).is_some()
}

/// The file to read, and who chose it.
fn chosen(file: Option<&Path>, environment: &Environment) -> Option<(PathBuf, Origin)> {
    match (file, environment.get(FILE_VARIABLE)) {
        (Some(file), _) => Some((file.to_owned(), Origin::Flag("--config"))),
        (None, Some(file)) => {
            let origin = Origin::Variable(FILE_VARIABLE.to_owned());
            Some((environment.expand(file, &working_directory()), origin))
        }
        (None, None) => default_file(environment).map(|file| (file, Origin::Default)),
    }
}

/// Of one gateway: the one that `raw` means.
pub(super) fn resolve(raw: &RawConfig<'_>) -> Result<Config, Problems> {
    let mut reader = Reader::new(raw);
    let reader = &mut reader;
    let file = raw.file.map(|file| file.path);
    let listen = reader.read("listen", DEFAULT_LISTEN, value::socket_address);
    let mode = reader.read("mode", Mode::On, value::word);
    let data = data_directory(reader);
    let (name, hosts) = fleet::name_and_hosts(reader);
    let own_data = fleet::data_directory(reader, &data, &name);
    let sandbox = reader.read("sandbox", Sandbox::Auto, value::word);
    let trusted_proxies = reader.read("trusted_proxies", Vec::new(), value::networks);
    let proxy_protocol = reader.read("proxy_protocol", ProxyProtocol::Off, value::word);
    doubt::proxies(reader, &trusted_proxies);
    doubt::protocol(reader, proxy_protocol, &trusted_proxies);
    doubt::file(reader);
    let log = Log {
        format: reader.read("log.format", LogFormat::Text, value::word),
        level: reader.read("log.level", LogLevel::Info, value::word),
        sessions: reader.read("log.sessions", SessionLog::On, value::word),
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
        vanished_timeout: reader.read(
            "limits.vanished_timeout",
            Some(120 * second),
            value::timeout_or_off,
        ),
        gateway_handshakes: reader.read("limits.gateway_handshakes", 24, value::count(1, 4_096)),
        drain: reader.read("limits.drain", Some(5 * second), value::age_or_off),
    };
    let tls = read_tls(reader, listen);
    let admin = Admin::read(reader, &data, listen);
    doubt::users(reader, &gateway, &policy, &trusted_proxies);
    reader.refuse_unknown();
    if !reader.problems.is_empty() {
        return Err(in_order(std::mem::take(&mut reader.problems)));
    }
    let proxied = !trusted_proxies.is_empty() || proxy_protocol != ProxyProtocol::Off;
    let only_local = listen.ip().to_canonical().is_loopback() && !proxied;
    let sources = gateway.sources.findings.iter();
    let sources = sources.filter(|finding| !(only_local && finding.is_about_other_machines()));
    let findings = gateway.facts.findings.iter().chain(sources);
    let findings = findings.chain(&reader.findings).cloned().collect();
    let state = gateway.state.as_ref();
    let invocation = Invocation::new(
        raw.file.map(|file| (file.path, file.origin)),
        &reader.settings,
        [
            ("data", "--data", Some(data.display().to_string())),
            ("gateway.url", "--gateway", Some(gateway.url.to_string())),
            (
                "gateway.state",
                "--gateway-state",
                state.map(|state| state.display().to_string()),
            ),
        ],
    );
    Ok(Config {
        name,
        label: None,
        hosts,
        listen,
        mode,
        data: own_data,
        base: data,
        sandbox,
        log,
        gateway,
        trusted_proxies,
        proxy_protocol,
        policy,
        tls,
        cache,
        limits,
        admin,
        file: file.map(Path::to_owned),
        invocation,
        settings: std::mem::take(&mut reader.settings),
        findings,
        #[cfg(test)]
        keys: std::mem::take(&mut reader.keys),
    })
}

/// By where they are: flags, variables, the file from top to bottom.
pub(super) fn in_order(mut problems: Vec<Problem>) -> Problems {
    problems.sort_by_key(|problem| match &problem.origin {
        Origin::Flag(_) => (0, 0, 0),
        Origin::Variable(_) => (1, 0, 0),
        Origin::File { line, column, .. } => (2, *line, *column),
        Origin::Discovery(_) | Origin::Default => (3, 0, 0),
    });
    Problems(problems)
}

/// The text of a file, or of a pipe: `--config <(decrypt it)`.
pub(super) fn read_file(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(|error| error.to_string())?;
    let read = file.take(MOST_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|error| error.to_string())?;
    if bytes.is_empty() && !path.is_file() && path != Path::new("/dev/null") {
        return Err(
            "nothing comes out of it; a pipe can be read only once, so give a file".to_owned(),
        );
    }
    if bytes.len() as u64 > MOST_BYTES {
        return Err(format!("larger than {} KiB", MOST_BYTES / 1024));
    }
    String::from_utf8(bytes).map_err(|_| "not UTF-8".to_owned())
}

fn working_directory() -> PathBuf {
    std::env::current_dir().unwrap_or_default()
}

/// A path of a file starts at that file, any other at the working directory.
pub(super) fn absolute(environment: &Environment, text: &str, origin: &Origin) -> PathBuf {
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
        None => match environment.data_directory() {
            Some(directory) => (directory.join("scope-shim"), Origin::Default),
            None => {
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

/// The file of this user, else the one of this machine.
fn default_file(environment: &Environment) -> Option<PathBuf> {
    let user = environment.config_directory();
    let machine = PathBuf::from("/etc");
    let directories = user.into_iter().chain([machine]);
    directories
        .map(|directory| directory.join("scope-shim/scope-shim.toml"))
        .find(|file| file.is_file())
}

/// Next to the gateway's own 18789.
const DEFAULT_LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 18_780);
const FILE_VARIABLE: &str = "SCOPE_SHIM_CONFIG";
const MOST_BYTES: u64 = 1024 * 1024;
