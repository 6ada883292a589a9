//! Programs of the distribution that some tests need: those of this machine or, where a CI job runs as root, installed.

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::process::geteuid;
use scope_shim::demo::npm::process::run_to_end;

/// The first of these programs that is there, after `package` was installed if none was and this is the place to do so.
pub(crate) fn provide(names: &[&str], package: &str) -> Option<PathBuf> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let there = || names.iter().find_map(|name| find(name));
    there().or_else(|| {
        let may_install = std::env::var_os("CI").is_some() && geteuid().is_root();
        may_install.then(|| install(package))?;
        there()
    })
}

fn install(package: &str) {
    println!("installing {package} with apt-get");
    let script = format!("apt-get update && apt-get install -y --no-install-recommends {package}");
    let mut command = Command::new("sh");
    command.args(["-c", &script]);
    if let Err(error) = run_to_end(&mut command, &std::env::temp_dir(), TIME_TO_INSTALL) {
        println!("apt-get cannot be run: {error}");
    }
}

fn find(name: &str) -> Option<PathBuf> {
    let directories = std::env::var_os("PATH")?;
    let mut directories: Vec<_> = std::env::split_paths(&directories).collect();
    directories.extend(["/usr/sbin".into(), "/sbin".into()]);
    let files = directories.into_iter().map(|at| at.join(name));
    files.into_iter().find(|file| file.is_file())
}

const TIME_TO_INSTALL: Duration = Duration::from_secs(600);
