//! From what was said to what holds.

use std::fs;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::problem::{Origin, Problem, Problems};
use super::raw::{Flag, RawConfig, RawFile};
use super::reader::Reader;
use super::show::Show as _;
use super::upstream::read_gateway;
use super::value;
use super::{
    Admin, Cache, Config, Environment, Limits, Log, LogFormat, LogLevel, Mode, Policy, SessionLog,
};

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
            (None, None) => default_file(environment).map(|file| (file, Origin::Default)),
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
    let mode = reader.read("mode", Mode::On, value::word);
    let data = data_directory(reader);
    let trusted_proxies = reader.read("trusted_proxies", Vec::new(), value::networks);
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
        gateway_handshakes: reader.read("limits.gateway_handshakes", 24, value::count(1, 4_096)),
    };
    let admin = Admin::read(reader, &data, listen);
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
        name: DEFAULT_NAME.to_owned(),
        hosts: Vec::new(),
        listen,
        mode,
        data,
        log,
        gateway,
        trusted_proxies,
        policy,
        cache,
        limits,
        admin,
        file: file.map(Path::to_owned),
        settings: std::mem::take(&mut reader.settings),
        findings,
        #[cfg(test)]
        keys: std::mem::take(&mut reader.keys),
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

/// The text of a file, or of a pipe: `--config <(decrypt it)`.
pub(super) fn read_file(path: &Path) -> Result<String, String> {
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

/// What a gateway is called that nobody gave a name.
const DEFAULT_NAME: &str = "gateway";
/// Next to the gateway's own 18789.
const DEFAULT_LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 18_780);
const FILE_VARIABLE: &str = "SCOPE_SHIM_CONFIG";
const MOST_BYTES: u64 = 1024 * 1024;
