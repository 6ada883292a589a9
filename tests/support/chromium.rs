//! A Chromium for the tests that need one.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use rustix::process::geteuid;
use scope_shim::demo::npm::process::run_to_end;

/// A Chromium: the one on this machine or, where a CI job runs as root, the one the distribution has.
pub(crate) fn chromium() -> Option<&'static Path> {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let on_this_machine = || NAMES.iter().find_map(|name| on_path(name));
        on_this_machine().or_else(|| {
            let may_install = std::env::var_os("CI").is_some() && geteuid().is_root();
            may_install.then(install).and_then(|()| on_this_machine())
        })
    });
    found.as_deref()
}

fn install() {
    println!("installing Chromium with apt-get");
    let mut command = Command::new("sh");
    command.args([
        "-c",
        "apt-get update && apt-get install -y --no-install-recommends chromium",
    ]);
    if let Err(error) = run_to_end(&mut command, &std::env::temp_dir(), TIME_TO_INSTALL) {
        println!("apt-get cannot be run: {error}");
    }
}

fn on_path(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
}

const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

const TIME_TO_INSTALL: Duration = Duration::from_secs(600);
