//! A Chromium for the tests that need one.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::packages;

/// A Chromium: the one on this machine or, where a CI job runs as root, the one the distribution has.
pub(crate) fn chromium() -> Option<&'static Path> {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    FOUND
        .get_or_init(|| packages::provide(&NAMES, "chromium"))
        .as_deref()
}

const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];
