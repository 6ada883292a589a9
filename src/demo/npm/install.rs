//! Brings a gateway into the cache with npm.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::process::Group;
use super::{Cache, Error, Version, node};

/// A gateway in the cache, ready to run.
#[derive(Clone, Debug)]
pub struct Installed {
    /// Which one.
    pub version: Version,
    /// The directory with the `node` it runs on.
    pub node: PathBuf,
    /// The directory above its `node_modules`.
    pub directory: PathBuf,
}

impl Installed {
    /// The script that is both the gateway and its command line.
    #[must_use]
    pub fn script(&self) -> PathBuf {
        self.package().join("openclaw.mjs")
    }

    /// The directory of the `openclaw` package, from which its own dependencies resolve.
    #[must_use]
    pub fn package(&self) -> PathBuf {
        self.directory.join("node_modules").join("openclaw")
    }
}

/// Makes sure that `version`, and the Node it runs on, are in the cache.
///
/// Says what it does through `progress`, a line at a time; npm's own output goes to a file beside the package.
///
/// # Errors
/// When there is no npm, no network, no such version, or no fitting Node. The message says what to do.
pub fn install(
    cache: &Cache,
    version: &Version,
    progress: &mut dyn FnMut(&str),
) -> Result<Installed, Error> {
    let node = node::provide(cache, version, progress)?;
    let slot = cache.gateway(version);
    let manifest = manifest(version);
    slot.fill(&manifest.to_string(), progress, |draft, progress| {
        let what = format!("openclaw {version}");
        Npm {
            directory: draft,
            node: Some(&node),
            log: slot.log(),
            what: &what,
        }
        .install(&manifest, progress)
        .map_err(|error| unknown_version(error, version))
    })?;
    Ok(Installed {
        version: version.clone(),
        node,
        directory: slot.place().to_owned(),
    })
}

/// The package that depends on the gateway, and on what its optional dependencies would have brought.
fn manifest(version: &Version) -> Value {
    let mut dependencies = json!({ "openclaw": version.to_string() });
    if version.is_at_least(2026, 2, 21) && !version.is_at_least(2026, 3, 0) {
        dependencies[DAVEY] = json!("*");
    }
    if version.is_at_least(2026, 3, 24) && !version.is_at_least(2026, 4, 0) {
        dependencies["axios"] = json!("*");
    }
    // Every other version brings along what drives a browser; who shows the Control UI in one needs it.
    if version.is_at_least(2026, 4, 0) && !version.is_at_least(2026, 5, 0) {
        dependencies["playwright-core"] = json!("*");
    }
    // A git dependency of a channel that is not used here: npm would need git and a GitHub login for it.
    let mut overrides = json!({ "libsignal": "npm:is-number@7.0.0" });
    if !version.is_at_least(2026, 6, 0) {
        overrides["linkedom"] = json!("0.18.12");
    }
    json!({ "name": "gateway", "private": true, "dependencies": dependencies, "overrides": overrides })
}

/// The audio encryption that 2026.2.21 to 2026.2.26 load at start, whether they use it or not.
const DAVEY: &str = match (
    std::env::consts::OS.as_bytes(),
    std::env::consts::ARCH.as_bytes(),
) {
    (b"macos", b"aarch64") => "@snazzah/davey-darwin-arm64",
    (b"macos", _) => "@snazzah/davey-darwin-x64",
    (_, b"aarch64") => "@snazzah/davey-linux-arm64-gnu",
    _ => "@snazzah/davey-linux-x64-gnu",
};

/// One run of npm in a directory.
pub(super) struct Npm<'a> {
    pub(super) directory: &'a Path,
    pub(super) node: Option<&'a Path>,
    pub(super) log: &'a Path,
    pub(super) what: &'a str,
}

impl Npm<'_> {
    /// Installs what `manifest` depends on, leaving out install scripts and optional dependencies: neither is
    /// needed to run a gateway, and both compile or download for minutes.
    pub(super) fn install(
        &self,
        manifest: &Value,
        progress: &mut dyn FnMut(&str),
    ) -> Result<(), Error> {
        let file = self.directory.join("package.json");
        fs::write(&file, manifest.to_string()).map_err(Error::io("write", &file))?;
        progress(&format!(
            "{}: installing with npm (a minute or two; its output is in {})",
            self.what,
            self.log.display()
        ));

        let mut npm = Group::spawn(&mut self.command()?).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Error::NpmMissing,
            _ => Error::Io {
                action: "run",
                path: "npm".into(),
                source: error,
            },
        })?;
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = npm.wait(BETWEEN_REPORTS) {
                break status;
            }
            if begun.elapsed() > TIME_LIMIT {
                return Err(Error::NpmTooSlow {
                    what: self.what.to_owned(),
                    after: begun.elapsed(),
                    log: self.log.to_owned(),
                });
            }
            progress(&format!(
                "{}: still installing after {} s",
                self.what,
                begun.elapsed().as_secs()
            ));
        };
        if !status.success() {
            return Err(self.blame());
        }
        progress(&format!(
            "{}: installed in {} s",
            self.what,
            begun.elapsed().as_secs()
        ));
        Ok(())
    }

    fn command(&self) -> Result<Command, Error> {
        let log = File::create(self.log).map_err(Error::io("create", self.log))?;
        let same_log = log.try_clone().map_err(Error::io("share", self.log))?;
        let mut command = Command::new("npm");
        command
            .args([
                "install",
                "--ignore-scripts",
                "--omit=optional",
                "--no-audit",
                "--no-fund",
                "--no-package-lock",
            ])
            .args([
                "--fetch-retry-mintimeout=2000",
                "--fetch-retry-maxtimeout=10000",
            ])
            .current_dir(self.directory)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(same_log);
        if let Some(node) = self.node {
            command.env("PATH", first_on_path(node));
        }
        Ok(command)
    }

    /// What npm's output says went wrong.
    fn blame(&self) -> Error {
        let output = fs::read_to_string(self.log).unwrap_or_default();
        let line = telling_line(&output);
        let log = self.log.to_owned();
        if NETWORK_ERRORS.iter().any(|code| output.contains(code)) {
            Error::NoNetwork { line, log }
        } else {
            Error::NpmFailed {
                what: self.what.to_owned(),
                line,
                log,
            }
        }
    }
}

/// npm's first complaint in words. The codes before it say less, and the lines after it are advice.
fn telling_line(output: &str) -> String {
    let mut complaints = output
        .lines()
        .filter_map(|line| line.strip_prefix("npm error "));
    let is_code = |line: &str| CODES.iter().any(|code| line.starts_with(code));
    complaints
        .find(|line| !is_code(line))
        .or_else(|| output.lines().last())
        .unwrap_or("it said nothing")
        .trim()
        .to_owned()
}

const CODES: [&str; 3] = ["code ", "errno ", "syscall "];

fn unknown_version(error: Error, version: &Version) -> Error {
    match error {
        Error::NpmFailed { line, .. }
            if line.contains("No matching version found for openclaw@") =>
        {
            Error::VersionUnknown {
                version: version.clone(),
            }
        }
        other => other,
    }
}

/// The search path with `directory` in front.
pub(super) fn first_on_path(directory: &Path) -> std::ffi::OsString {
    let mut path = directory.as_os_str().to_owned();
    if let Some(rest) = std::env::var_os("PATH") {
        path.push(":");
        path.push(rest);
    }
    path
}

const NETWORK_ERRORS: [&str; 7] = [
    "ENOTFOUND",
    "EAI_AGAIN",
    "ETIMEDOUT",
    "ECONNREFUSED",
    "ECONNRESET",
    "ENETUNREACH",
    "ERR_SOCKET_TIMEOUT",
];

const BETWEEN_REPORTS: Duration = Duration::from_secs(15);

const TIME_LIMIT: Duration = Duration::from_secs(15 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    type Tested = Result<(), Box<dyn std::error::Error>>;

    #[test]
    fn what_the_optional_dependencies_would_bring_is_asked_for_where_it_is_needed() -> Tested {
        let of = |text: &str| text.parse().map(|version| manifest(&version));
        assert_eq!(
            of("2026.2.19")?["dependencies"],
            json!({ "openclaw": "2026.2.19" })
        );
        assert_eq!(of("2026.2.26")?["dependencies"][DAVEY], json!("*"));
        assert_eq!(of("2026.3.24")?["dependencies"]["axios"], json!("*"));
        assert_eq!(
            of("2026.4.21")?["dependencies"]["playwright-core"],
            json!("*")
        );
        assert_eq!(
            of("2026.9.6")?["overrides"],
            json!({ "libsignal": "npm:is-number@7.0.0" })
        );
        Ok(())
    }

    #[test]
    fn npm_failures_are_told_apart() -> Tested {
        let directory = tempfile::tempdir()?;
        let log = directory.path().join("log");
        let blame = |output: &str| -> Result<Error, Box<dyn std::error::Error>> {
            fs::write(&log, output)?;
            let npm = Npm {
                directory: directory.path(),
                node: None,
                log: &log,
                what: "openclaw 2026.2.99",
            };
            Ok(unknown_version(npm.blame(), &"2026.2.99".parse()?))
        };
        let offline = "npm error code EAI_AGAIN\nnpm error request to https://registry failed\nnpm error network advice";
        assert!(
            matches!(blame(offline)?, Error::NoNetwork { line, .. } if line == "request to https://registry failed")
        );
        let unknown = "npm error code ETARGET\nnpm error notarget No matching version found for openclaw@2026.2.99.";
        assert!(matches!(blame(unknown)?, Error::VersionUnknown { .. }));
        assert!(matches!(
            blame("npm error code ENOSPC\nnpm error nospc full")?,
            Error::NpmFailed { .. }
        ));
        Ok(())
    }
}
