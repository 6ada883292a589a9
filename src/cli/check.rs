//! `scope-shim check`: what the configuration amounts to, and whether this machine goes along with it.

use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Style;
use crate::app::saved::{self, Source};
use crate::config::{
    Config, Finding, Gateway, Origin, Problem, Problems, Setting, StoreKind, Warning,
};
use crate::delegate::Delegate;
use crate::dial::{DialError, Dialer, Side};
use crate::identity::store::{AutoStore, DeviceStore as _};
use crate::listen::unavailable;
use crate::text::count;

/// What `check` found out, besides what loading the configuration did.
#[derive(Debug, Default)]
pub struct Report {
    /// What is as it should be.
    pub well: Vec<String>,
    /// What may need somebody, the configuration's own findings first.
    pub findings: Vec<Finding>,
    /// What keeps the shim from working.
    pub problems: Vec<Problem>,
}

/// Tries what the configurations name, one for each gateway: directories, addresses, the gateway's port. Changes
/// nothing.
#[must_use]
pub fn inspect(configs: &[Config]) -> Report {
    let mut report = Report::default();
    for config in configs {
        let mut own = Report {
            findings: config.findings.clone(),
            ..Report::default()
        };
        own.data(config);
        own.mode(config);
        own.state(config);
        own.listen(config);
        own.tls(config);
        own.sources(config);
        own.gateway(config);
        report.add(own, config.label.as_deref());
    }
    report
}

/// The same configurations, if the shim could work with them: what [`Config::load_all`] does not try, and what would
/// stop the shim only after a port is open.
///
/// # Errors
///
/// What could not work.
pub fn usable(mut configs: Vec<Config>) -> Result<Vec<Config>, Problems> {
    let mut report = Report::default();
    for config in &mut configs {
        report.data(config);
        config.findings.append(&mut report.findings);
    }
    match report.failure() {
        Some(problems) => Err(problems),
        None => Ok(configs),
    }
}

impl Report {
    /// Adds what was found out about one gateway of several; what holds for more than one is said once.
    fn add(&mut self, own: Self, name: Option<&str>) {
        let named = |text: String| match name {
            Some(name) => format!("{name}: {text}"),
            None => text,
        };
        self.well.extend(own.well.into_iter().map(named));
        self.findings
            .extend(own.findings.into_iter().map(|finding| Finding {
                message: named(finding.message),
                ..finding
            }));
        self.problems.extend(own.problems);
    }

    fn data(&mut self, config: &Config) {
        let path = &config.data;
        let existing = path.ancestors().find(|ancestor| ancestor.exists());
        let existing = existing.map_or_else(|| PathBuf::from("."), Path::to_owned);
        let what = if existing == *path {
            "can be written"
        } else {
            "can be created"
        };
        match probe(&existing) {
            Ok(()) => self
                .well
                .push(format!("the data directory {} {what}", path.display())),
            Err(error) if is_full(&error) && matches!(Delegate::load(path), Ok(Some(_))) => {
                let directory = existing.display();
                self.findings.push(Finding::new(
                    Warning::DataFull,
                    format!(
                        "{directory}: {error}; the shim works with the key that it has, and keeps nothing new"
                    ),
                    format!("make room on the disk of {directory}, or have it writable again"),
                ));
            }
            Err(error) => self.problems.push(Problem {
                origin: match config.origin("gateway.data") {
                    Origin::Default => config.origin("data"),
                    own => own,
                },
                message: format!(
                    "`data`: expected a directory that can be written, but {}: {error}",
                    existing.display()
                ),
                hint: Some("give --data DIR, a directory of the user who runs the shim".to_owned()),
            }),
        }
    }

    /// Where another mode holds than the configuration says, whoever reads it has to know.
    fn mode(&mut self, config: &Config) {
        let resolved = saved::resolve(config);
        let mode = resolved.mode.as_str();
        let message = format!("the mode is {mode}, {}", resolved.clause());
        let (warning, fix) = match resolved.source {
            Source::Configuration => return,
            Source::Edited { .. } => return self.well.push(message),
            Source::Switched { over, .. } => (
                Warning::ModeSwitched,
                format!(
                    "nothing to do if that is meant; otherwise run: {}",
                    config.command(&["mode", over.as_str()])
                ),
            ),
            Source::Unusable { .. } => (
                Warning::ModeUnreadable,
                format!(
                    "run: {}, which writes or removes it",
                    config.command(&["mode", mode])
                ),
            ),
        };
        self.findings.push(Finding::new(warning, message, fix));
    }

    fn state(&mut self, config: &Config) {
        let Some(state) = &config.gateway.state else {
            return;
        };
        match fs::read_dir(state) {
            // Loading has said already that there is nothing.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Ok(_) => {
                self.well.push(format!(
                    "the gateway's state directory {} can be read",
                    state.display()
                ));
                self.store(config, state);
            }
            Err(error) => self.findings.push(Finding::new(
                Warning::StateUnreadable,
                format!("the gateway's state directory {}: {error}", state.display()),
                "run the shim as the gateway's user, or name another directory: gateway.state, --gateway-state",
            )),
        }
    }

    /// Which store `auto` comes to.
    fn store(&mut self, config: &Config, state: &Path) {
        if config.gateway.store != StoreKind::Auto {
            return;
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let store = AutoStore::new(state);
        let read = runtime.map(|runtime| runtime.block_on(store.snapshot()));
        if let Ok(Ok(devices)) = read {
            let paired = count(devices.devices.len(), "paired device");
            let store = store.describe();
            // Before the first device nothing tells where a gateway that has both keeps it.
            self.well.push(if store == state.display().to_string() {
                "the gateway has paired no device yet".to_owned()
            } else {
                format!("the pairing store is {store}, with {paired}")
            });
        }
    }

    fn listen(&mut self, config: &Config) {
        let listen = config.listen;
        match TcpListener::bind(listen) {
            Ok(_) => self.well.push(format!("{listen} is free to listen on")),
            Err(error) => {
                let problem = unavailable(config, &error);
                if error.kind() != std::io::ErrorKind::AddrInUse {
                    return self.problems.push(problem);
                }
                let fix = "nothing to do if that is the shim already; otherwise give --listen ADDRESS:PORT";
                self.findings.push(Finding::new(
                    Warning::ListenUnavailable,
                    problem.message,
                    fix,
                ));
            }
        }
    }

    fn sources(&mut self, config: &Config) {
        let sources = &config.gateway.sources;
        for (key, ip) in [("local", sources.local), ("remote", sources.remote)] {
            let Some(ip) = ip else { continue };
            if let Err(error) = TcpListener::bind((ip, 0)) {
                let other = match ip {
                    IpAddr::V4(_) => "::1",
                    IpAddr::V6(_) => "127.0.0.2",
                };
                self.findings.push(Finding::new(
                    Warning::SourceUnavailable,
                    format!(
                        "{ip}, the source for {key} clients, is no address of this machine: {error}"
                    ),
                    format!(
                        "give gateway.{key}_source = \"{other}\", and let the gateway trust that"
                    ),
                ));
            }
        }
    }

    fn gateway(&mut self, config: &Config) {
        let url = &config.gateway.url;
        match asked(&config.gateway) {
            Ok(None) => self.well.push(format!("something answers at {url}")),
            Ok(Some(doubt)) => self.findings.push(Finding::new(
                Warning::GatewayTls,
                format!("the gateway at {url} {doubt}"),
                "correct [gateway] of the configuration; no session comes about before",
            )),
            Err(DialError::Tls(error)) => self.findings.push(Finding::new(
                Warning::GatewayTls,
                format!("no TLS with the gateway at {url}: {error}"),
                "correct [gateway] of the configuration; no session comes about before",
            )),
            Err(error) => self.findings.push(Finding::new(
                Warning::GatewaySilent,
                format!("nothing answers at {url}: {error}"),
                "start the gateway, or correct its address (gateway.url, --gateway); the shim waits for it",
            )),
        }
    }

    fn tls(&mut self, config: &Config) {
        let Some(files) = &config.tls.files else {
            return;
        };
        if let Ok(pair) = files.read() {
            self.well.push(format!(
                "clients are shown the certificate {}, SHA-256 {}",
                files.certificate.display(),
                pair.fingerprint
            ));
        }
    }

    /// The report in words, for a terminal or a file.
    #[must_use]
    pub fn render(&self, configs: &[Config], style: Style) -> String {
        let mut text = String::new();
        let file = configs.first().and_then(|config| config.file.as_ref());
        let file = file.map_or_else(
            || "no file, defaults only".to_owned(),
            |file| file.display().to_string(),
        );
        let _ = writeln!(text, "configuration: {file}\n");
        let table = Table::new(configs.iter().flat_map(|config| &config.settings), style);
        let common = |setting: &&Setting| {
            let mut others = configs.iter();
            others.all(|other| other.settings.contains(setting))
        };
        for config in configs.iter().take(1) {
            table.rows(&mut text, config.settings.iter().filter(common));
        }
        for config in configs.iter().filter(|_| configs.len() > 1) {
            let _ = writeln!(text, "\n{}", style.strong(&config.name));
            let own = config.settings.iter().filter(|setting| !common(setting));
            table.rows(&mut text, own);
        }
        text.push('\n');
        for line in &self.well {
            let _ = writeln!(text, "{} {line}", style.good("ok:"));
        }
        for finding in &self.findings {
            let _ = writeln!(text, "{} {finding}", style.doubtful("warning:"));
        }
        text
    }

    /// What keeps the shim from working, if anything.
    #[must_use]
    pub fn failure(&self) -> Option<Problems> {
        (!self.problems.is_empty()).then(|| Problems(self.problems.clone()))
    }
}

/// Connects to the gateway, from whatever address, and begins TLS where it speaks that. Returns what is wrong although it
/// answers.
fn asked(gateway: &Gateway) -> Result<Option<String>, DialError> {
    let dialer = |connect_timeout| -> Result<Dialer, DialError> {
        Ok(Dialer {
            local_source: None,
            connect_timeout,
            ..Dialer::new(gateway)?
        })
    };
    let (dialer, curious) = (dialer(PATIENCE)?, dialer(CURIOSITY)?);
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(DialError::Connect)?
        .block_on(async {
            dialer.dial(Side::Local).await?;
            let doubt = curious.explain(String::new()).await;
            Ok((!doubt.is_empty()).then_some(doubt))
        })
}

/// Whether it is the disk, and so neither the configuration's fault nor for ever: a shim that is started again in an
/// incident has to come up.
fn is_full(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    matches!(
        error.kind(),
        StorageFull | QuotaExceeded | ReadOnlyFilesystem
    )
}

/// Whether a file can be created in a directory: nothing short of trying knows about read-only mounts and access lists.
fn probe(directory: &Path) -> std::io::Result<()> {
    let file = directory.join(format!(".scope-shim-check-{}", std::process::id()));
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&file)?;
    fs::remove_file(file)
}

/// Settings in columns.
struct Table {
    key: usize,
    value: usize,
    style: Style,
}

impl Table {
    fn new<'a>(settings: impl Iterator<Item = &'a Setting> + Clone, style: Style) -> Self {
        let keys = settings.clone().map(|setting| setting.key.chars().count());
        let values = settings.map(|setting| setting.value.chars().count());
        Self {
            key: keys.max().unwrap_or(0),
            value: values.filter(|width| *width <= WIDEST).max().unwrap_or(0),
            style,
        }
    }

    fn rows<'a>(&self, text: &mut String, settings: impl Iterator<Item = &'a Setting>) {
        let (key, value) = (self.key, self.value);
        for setting in settings {
            let origin = self.style.faint(&setting.origin);
            let _ = writeln!(
                text,
                "{:key$}  {:value$}  {origin}",
                setting.key, setting.value
            );
        }
    }
}

/// How long `check` waits for the gateway's port.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long it waits to see whether a plain port would rather speak TLS: a gateway tells at once.
const CURIOSITY: Duration = Duration::from_millis(500);
/// A value wider than this does not widen its column, in characters.
const WIDEST: usize = 44;
