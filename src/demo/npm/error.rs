//! What can go wrong between "this version, please" and a gateway that answers, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Version;

/// Why a real gateway could not be installed, started or asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is not a version of the gateway.
    #[error("`{0}` is not a gateway version: give one like 2026.2.19")]
    VersionUnreadable(String),

    /// There is no npm to install with.
    #[error(
        "npm is not installed: install Node.js with npm (Debian: `apt-get install npm`) and try again"
    )]
    NpmMissing,

    /// npm could not reach its registry.
    #[error("npm cannot reach its registry ({line}): check the network, or `npm config get registry`; npm's output is in {}", log.display())]
    NoNetwork {
        /// The line in which npm said so.
        line: String,
        /// Where the rest of its output is.
        log: PathBuf,
    },

    /// The registry has no such version.
    #[error(
        "the registry has no openclaw {version}: `npm view openclaw versions` lists what there is"
    )]
    VersionUnknown {
        /// The version asked for.
        version: Version,
    },

    /// npm failed for a reason of its own.
    #[error("npm could not install {what} ({line}); its output is in {}", log.display())]
    NpmFailed {
        /// What was being installed.
        what: String,
        /// The most telling line of npm's output.
        line: String,
        /// Where the rest of its output is.
        log: PathBuf,
    },

    /// npm did not come to an end.
    #[error("npm was still installing {what} after {} s and was stopped; its output is in {}", after.as_secs(), log.display())]
    NpmTooSlow {
        /// What was being installed.
        what: String,
        /// How long it was given.
        after: Duration,
        /// Where its output is.
        log: PathBuf,
    },

    /// The Node on the path is not one this gateway runs on.
    #[error(
        "openclaw {version} needs Node {needed} and there is {found}: install Node {needed} and put it first on PATH"
    )]
    NodeUnsuitable {
        /// The gateway's version.
        version: Version,
        /// The major version of Node it needs.
        needed: u16,
        /// What was found instead.
        found: String,
    },

    /// The gateway ended, or never answered.
    #[error("openclaw {version} did not start: {why}; its log is {}", log.display())]
    GatewayDidNotStart {
        /// The gateway's version.
        version: Version,
        /// What happened, with the gateway's own last words.
        why: String,
        /// Where its log is.
        log: PathBuf,
    },

    /// The platform has no place for a cache.
    #[error("no cache directory ({0}): set SCOPE_SHIM_CACHE to one")]
    NoCacheDirectory(String),

    /// A file or a process could not be handled.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was being done, as a verb.
        action: &'static str,
        /// With which file or program.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl Error {
    /// Whether the machine lacks something (npm, a network, a fitting Node) rather than the gateway being broken.
    ///
    /// The tests skip on these, loudly, instead of failing.
    #[must_use]
    pub fn is_missing_prerequisite(&self) -> bool {
        matches!(
            self,
            Self::NpmMissing
                | Self::NoNetwork { .. }
                | Self::NodeUnsuitable { .. }
                | Self::NoCacheDirectory(_)
        )
    }

    /// For `map_err`: names the file beside the reason.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}
