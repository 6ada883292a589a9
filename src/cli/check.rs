//! `scope-shim check`: what the configuration amounts to, and whether this machine goes along with it.

use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Style;
use crate::config::{Config, Finding, Gateway, Origin, Problem, Problems};
use crate::dial::{DialError, Dialer, Side};

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

/// Tries what the configuration names: directories, addresses, the gateway's port. Changes nothing.
#[must_use]
pub fn inspect(config: &Config) -> Report {
    let mut report = Report {
        findings: config.findings.clone(),
        ..Report::default()
    };
    report.data(config);
    report.state(config);
    report.listen(config);
    report.tls(config);
    report.sources(config);
    report.gateway(config);
    report
}

impl Report {
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
            Err(error) => self.problems.push(Problem {
                origin: origin(config, "data"),
                message: format!(
                    "`data`: expected a directory that can be written, but {}: {error}",
                    existing.display()
                ),
                hint: Some("give --data DIR, a directory of the user who runs the shim".to_owned()),
            }),
        }
    }

    fn state(&mut self, config: &Config) {
        let Some(state) = &config.gateway.state else {
            return;
        };
        match fs::read_dir(state) {
            // Loading has said already that there is nothing.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Ok(_) => self.well.push(format!(
                "the gateway's state directory {} can be read",
                state.display()
            )),
            Err(error) => self.findings.push(Finding::new(
                "state-unreadable",
                format!("the gateway's state directory {}: {error}", state.display()),
                "run the shim as the gateway's user, or give --gateway-state DIR",
            )),
        }
    }

    fn listen(&mut self, config: &Config) {
        let listen = config.listen;
        match TcpListener::bind(listen) {
            Ok(_) => self.well.push(format!("{listen} is free to listen on")),
            Err(error) => self.findings.push(Finding::new(
                "listen-unavailable",
                format!("{listen} cannot be listened on now: {error}"),
                "nothing to do if the shim runs already; otherwise give --listen ADDRESS:PORT",
            )),
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
                    "source-unavailable",
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
                "gateway-tls",
                format!("the gateway at {url} {doubt}"),
                "correct [gateway] of the configuration; no session comes about before",
            )),
            Err(DialError::Tls(error)) => self.findings.push(Finding::new(
                "gateway-tls",
                format!("no TLS with the gateway at {url}: {error}"),
                "correct [gateway] of the configuration; no session comes about before",
            )),
            Err(error) => self.findings.push(Finding::new(
                "gateway-silent",
                format!("nothing answers at {url}: {error}"),
                "start the gateway, or give its address as --gateway; the shim waits for it",
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
    pub fn render(&self, config: &Config, style: Style) -> String {
        let mut text = String::new();
        let file = config.file.as_ref().map_or_else(
            || "no file, defaults only".to_owned(),
            |file| file.display().to_string(),
        );
        let _ = writeln!(text, "configuration: {file}\n");
        let settings = &config.settings;
        let key_width = settings
            .iter()
            .map(|s| s.key.chars().count())
            .max()
            .unwrap_or(0);
        let widths = settings.iter().map(|s| s.value.chars().count());
        let value_width = widths.filter(|width| *width <= WIDEST).max().unwrap_or(0);
        for setting in settings {
            let origin = style.faint(&setting.origin);
            let _ = writeln!(
                text,
                "{:key_width$}  {:value_width$}  {origin}",
                setting.key, setting.value
            );
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

/// Whether a file can be created in a directory: nothing short of trying knows about read-only mounts and access lists.
fn probe(directory: &Path) -> std::io::Result<()> {
    let file = directory.join(format!(".scope-shim-check-{}", std::process::id()));
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&file)?;
    fs::remove_file(file)
}

fn origin(config: &Config, key: &str) -> Origin {
    let setting = config.settings.iter().find(|setting| setting.key == key);
    setting.map_or(Origin::Default, |setting| setting.origin.clone())
}

/// How long `check` waits for the gateway's port.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long it waits to see whether a plain port would rather speak TLS: a gateway tells at once.
const CURIOSITY: Duration = Duration::from_millis(500);
/// A value wider than this does not widen its column, in characters.
const WIDEST: usize = 44;
