//! The command line that this host would run: the `openclaw` on the `PATH`, as npm installs it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::config::Environment;
use crate::profile::Version;

/// Its version. It is not started: its package says it.
pub(super) fn version(environment: &Environment) -> Option<Version> {
    let path = environment.get("PATH")?;
    let program = std::env::split_paths(path)
        .map(|directory| directory.join("openclaw"))
        .find(|program| program.is_file())?;
    let program = program.canonicalize().ok()?;
    let package = program.parent().and_then(package_of)?;
    let package: Value = serde_json::from_slice(&fs::read(package).ok()?).ok()?;
    let is_openclaw = package.get("name").and_then(Value::as_str) == Some("openclaw");
    let version = package.get("version").and_then(Value::as_str);
    Version::parse(version.filter(|_| is_openclaw)?)
}

fn package_of(directory: &Path) -> Option<PathBuf> {
    let mut candidates = directory
        .ancestors()
        .take(DEEPEST)
        .map(|directory| directory.join("package.json"));
    candidates.find(|file| file.is_file())
}

/// The program lies in its package's own directory, or one or two below.
const DEEPEST: usize = 3;

#[cfg(all(test, unix))]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use super::*;

    #[test]
    fn the_package_behind_the_link_tells_its_version() {
        let root = tempfile::tempdir().unwrap();
        let package = root.path().join("lib/node_modules/openclaw");
        let bin = root.path().join("bin");
        fs::create_dir_all(&package).unwrap();
        fs::create_dir_all(&bin).unwrap();
        fs::write(package.join("openclaw.mjs"), "").unwrap();
        let manifest = r#"{"name": "openclaw", "version": "2026.4.21"}"#;
        fs::write(package.join("package.json"), manifest).unwrap();
        let environment = Environment::from_iter([("PATH", bin.display().to_string())]);
        assert_eq!(version(&environment), None);
        std::os::unix::fs::symlink(package.join("openclaw.mjs"), bin.join("openclaw")).unwrap();
        assert_eq!(version(&environment), Some(Version::v2026(4, 21)));
        fs::write(
            package.join("package.json"),
            r#"{"name": "x", "version": "2026.4.21"}"#,
        )
        .unwrap();
        assert_eq!(version(&environment), None);
    }
}
