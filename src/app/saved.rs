//! A mode that was switched at run time, kept for the next start: `mode.json` in the data directory.
//!
//! It holds for as long as the configuration still says what it said when the mode was switched: whoever edits the
//! configuration later has the last word.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tracing::{error, info, warn};

use crate::clock;
use crate::config::{Config, Mode, Origin};
use crate::private;

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Saved {
    mode: String,
    /// What the configuration said then.
    over: String,
    /// When, in milliseconds since the epoch.
    at_ms: i64,
    /// Who, as far as they said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    /// Whether no shim ran: what one is started with beside its file, nobody knew then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    unseen: bool,
}

impl Saved {
    /// Whether the configuration has been edited since, as far as anybody can tell.
    fn is_overruled(&self, config: &Config) -> bool {
        let by_file = matches!(config.origin("mode"), Origin::File { .. } | Origin::Default);
        self.over != config.mode.as_str() && (by_file || !self.unseen)
    }
}

/// The mode that a start begins in, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The mode.
    pub mode: Mode,
    /// Who says so.
    pub source: Source,
}

/// Who says which mode holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The configuration.
    Configuration,
    /// Somebody switched it at run time.
    Switched {
        /// What the configuration says.
        over: Mode,
        /// When, in milliseconds since the epoch.
        at_ms: i64,
        /// Who, as far as they said.
        by: Option<String>,
    },
    /// The configuration, which was edited since somebody had switched it.
    Edited {
        /// What it had been switched to.
        switched: String,
    },
    /// The configuration, because the file cannot be used.
    Unusable {
        /// The file.
        file: PathBuf,
        /// Why.
        why: String,
    },
}

/// Where the mode of a gateway with this data directory is kept.
#[must_use]
pub fn file(data: &Path) -> PathBuf {
    data.join(FILE)
}

/// The mode that holds by configuration and file. Changes nothing.
#[must_use]
pub fn resolve(config: &Config) -> Resolved {
    let (mode, source) = match read(&config.data) {
        Ok(None) => (config.mode, Source::Configuration),
        Err(why) => {
            let file = file(&config.data);
            (config.mode, Source::Unusable { file, why })
        }
        Ok(Some((mode, saved))) if saved.is_overruled(config) => {
            let switched = mode.as_str().to_owned();
            (config.mode, Source::Edited { switched })
        }
        Ok(Some((mode, _))) if mode == config.mode => (mode, Source::Configuration),
        Ok(Some((mode, saved))) => {
            let source = Source::Switched {
                over: config.mode,
                at_ms: saved.at_ms,
                by: saved.by,
            };
            (mode, source)
        }
    };
    Resolved { mode, source }
}

impl Resolved {
    /// Where it comes from, as a clause for "the mode is on, …".
    #[must_use]
    pub fn clause(&self) -> String {
        match &self.source {
            Source::Configuration => "as the configuration says".to_owned(),
            Source::Switched { over, at_ms, by } => format!(
                "switched by {} at {}; the configuration says {}",
                by.as_deref().map_or_else(
                    || "somebody".to_owned(),
                    |by| crate::text::brief(by, LONGEST_NAME)
                ),
                clock::utc(*at_ms),
                over.as_str()
            ),
            Source::Edited { switched } => {
                format!("as the configuration says: it was edited after a switch to {switched}")
            }
            Source::Unusable { file, why } => format!(
                "as the configuration says: {} cannot be used: {}",
                file.display(),
                why.escape_debug()
            ),
        }
    }
}

/// The mode to begin in, told to the log: a switch outlives a restart, but not an edit of the configuration.
pub(super) fn at_start(config: &Config) -> Mode {
    let resolved = resolve(config);
    let mode = resolved.mode.as_str();
    match &resolved.source {
        Source::Configuration => {}
        Source::Switched { by, .. } => {
            warn!(gateway = %config.name, "the mode is {mode}, {}", resolved.clause());
            settle(config, resolved.mode, by.as_deref());
        }
        Source::Unusable { .. } => {
            error!(gateway = %config.name, "the mode is {mode}, {}", resolved.clause());
        }
        Source::Edited { .. } => {
            info!(gateway = %config.name, "the mode is {mode}, {}", resolved.clause());
            forget_or_warn(&config.data);
        }
    }
    resolved.mode
}

/// What was switched while no shim ran is held against what this one was started with from now on.
fn settle(config: &Config, mode: Mode, by: Option<&str>) {
    let unseen = matches!(read(&config.data), Ok(Some((_, saved))) if saved.unseen);
    if unseen && let Err(error) = keep_as(config, mode, by) {
        warn!("cannot write {}: {error}", file(&config.data).display());
    }
}

/// Keeps the mode for the next start; where the configuration says the same, nothing has to be kept.
///
/// # Errors
///
/// When the directory cannot be written; what was kept before still is.
pub fn keep(config: &Config, mode: Mode) -> io::Result<()> {
    keep_as(config, mode, None)
}

/// The same, with who wants it so.
///
/// # Errors
///
/// As [`keep`].
pub fn keep_as(config: &Config, mode: Mode, by: Option<&str>) -> io::Result<()> {
    if mode == config.mode {
        return forget(&config.data);
    }
    write(config, mode, by, false)
}

/// The same where no shim runs. The next one may be started with another mode than this configuration has, by a flag or a
/// variable: that is no edit.
///
/// # Errors
///
/// As [`keep`].
pub fn keep_unseen(config: &Config, mode: Mode, by: &str) -> io::Result<()> {
    write(config, mode, Some(by), true)
}

fn write(config: &Config, mode: Mode, by: Option<&str>, unseen: bool) -> io::Result<()> {
    let saved = Saved {
        mode: mode.as_str().to_owned(),
        over: config.mode.as_str().to_owned(),
        at_ms: clock::now_ms(),
        by: by.map(str::to_owned),
        unseen,
    };
    private::directory(&config.data)?;
    let path = file(&config.data);
    let draft = path.with_extension(format!("{}.draft", std::process::id()));
    let written = private::write(&draft, &serde_json::to_vec(&saved)?)
        .and_then(|()| fs::rename(&draft, &path))
        .and_then(|()| private::settle(&config.data));
    if written.is_err() {
        let _ = fs::remove_file(&draft);
    }
    written
}

/// Lets the configuration have its way at the next start.
///
/// # Errors
///
/// When the file is there and cannot be removed.
pub fn forget(data: &Path) -> io::Result<()> {
    match fs::remove_file(file(data)) {
        Ok(()) => private::settle(data),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// The same, for who has nobody to answer to but the log.
pub(super) fn forget_or_warn(data: &Path) {
    if let Err(error) = forget(data) {
        warn!("cannot remove {}: {error}", file(data).display());
    }
}

fn read(data: &Path) -> Result<Option<(Mode, Saved)>, String> {
    let text = match fs::read_to_string(file(data)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let saved: Saved = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    let mode = Mode::parse(&saved.mode).ok_or("it names no mode")?;
    Ok(Some((mode, saved)))
}

const FILE: &str = "mode.json";
/// In characters.
const LONGEST_NAME: usize = 80;

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;
    use crate::config::{Environment, Flag};

    /// The configuration of a service in this home: its file's mode, and that of a flag beside it.
    fn service(home: &Path, file: Option<&str>, flag: Option<&str>) -> Config {
        let path = home.join("shim.toml");
        let text = file.map_or_else(String::new, |mode| format!("mode = {mode:?}\n"));
        fs::write(&path, text).unwrap();
        let flags: Vec<Flag> = flag
            .map(|mode| Flag {
                key: "mode",
                name: "--mode",
                value: mode.to_owned(),
            })
            .into_iter()
            .collect();
        let environment = Environment::from_iter([("HOME", home.to_str().unwrap())]);
        Config::load(Some(&path), &flags, &environment).unwrap()
    }

    #[test]
    fn a_switch_while_no_shim_ran_holds_for_one_that_is_started_with_a_mode_of_its_own() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path();
        keep_unseen(&service(home, None, None), Mode::Off, "somebody").unwrap();
        let started = service(home, None, Some("observe"));
        assert_eq!(at_start(&started), Mode::Off);
        assert_eq!(at_start(&started), Mode::Off, "nor is it forgotten");
        let edited = service(home, None, Some("on"));
        assert_eq!(at_start(&edited), Mode::On, "who edits has the last word");
        assert_eq!(resolve(&edited).source, Source::Configuration);
    }

    #[test]
    fn a_file_that_was_edited_since_has_the_last_word() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path();
        keep_unseen(&service(home, None, None), Mode::Off, "somebody").unwrap();
        let edited = service(home, Some("observe"), None);
        assert_eq!(at_start(&edited), Mode::Observe);
    }
}
