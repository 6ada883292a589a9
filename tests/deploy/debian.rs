use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use scope_shim::demo::simulated::{Options, Profile, SimulatedGateway};
use tempfile::TempDir;

use crate::tools::{PROGRAM, file, finish, is_root, run, skip, tool};

/// The package, built once for all tests.
fn package() -> Option<&'static Path> {
    static BUILT: OnceLock<Option<(TempDir, PathBuf)>> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        tool("dpkg-deb", "dpkg")?;
        tool("strip", "binutils")?;
        let directory = tempfile::tempdir().unwrap();
        let mut build = Command::new(file("deploy/debian/build.sh"));
        // A program with its debugging aids is large, and nobody keeps this package.
        build.env("DPKG_DEB_COMPRESSOR_TYPE", "gzip");
        build.env("DPKG_DEB_COMPRESSOR_LEVEL", "1");
        run(build.arg(PROGRAM).arg(directory.path()));
        let packages = fs::read_dir(directory.path()).unwrap();
        let mut packages = packages.map(|entry| entry.unwrap().path());
        let package = packages.find(|path| path.display().to_string().ends_with(".deb"))?;
        Some((directory, package))
    });
    built.as_ref().map(|(_, package)| package.as_path())
}

#[test]
fn the_package_has_no_fault_that_lintian_knows() {
    let Some(package) = package() else { return };
    if tool("lintian", "lintian").is_none() {
        return;
    }
    let mut lintian = Command::new("lintian");
    lintian.args(["--allow-root", "--tag-display-limit", "0"]);
    let said = finish(lintian.arg(package));
    assert_eq!(String::from_utf8_lossy(&said.stdout), "");
}

#[test]
fn the_package_brings_what_it_promises_and_starts_nothing() {
    let Some(package) = package() else { return };
    let listed = run(Command::new("dpkg-deb").arg("--contents").arg(package));
    for path in [
        "./usr/bin/scope-shim",
        "./lib/systemd/system/scope-shim.service",
        "./lib/systemd/system/scope-shim.socket",
        "./lib/systemd/system/scope-shim-intercept.service",
        "./usr/lib/sysusers.d/scope-shim.conf",
        "./etc/scope-shim/scope-shim.toml",
        "./usr/share/bash-completion/completions/scope-shim",
        "./usr/share/man/man1/scope-shim-unpair.1.gz",
        "./usr/share/doc/scope-shim/copyright",
    ] {
        assert!(listed.lines().any(|line| line.ends_with(path)), "{path}");
    }
    assert!(!listed.contains(".wants/"), "enabling is the operator's");
    let field = |name| {
        run(Command::new("dpkg-deb")
            .arg("--field")
            .arg(package)
            .arg(name))
    };
    assert_eq!(field("Version").trim(), env!("CARGO_PKG_VERSION"));
    assert!(
        !fs::read_to_string(file("deploy/debian/postinst"))
            .unwrap()
            .contains("enable")
    );
}

/// Under the unit's whole sandbox, with a systemd of its own, from the package to its last file.
#[test]
fn the_package_is_installed_started_unpaired_and_purged() {
    let dir = tempfile::tempdir().unwrap();
    if !cfg!(target_os = "linux") || !is_root() {
        return skip("only root may lay a machine over this one");
    }
    let Some(package) = package() else { return };
    if tool("systemd-nspawn", "systemd-container").is_none() {
        return;
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let gateway = runtime
        .block_on(SimulatedGateway::start(Options {
            profile: Profile::Literal,
            state_dir: dir.path().join("state"),
            ..Options::default()
        }))
        .unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = free.local_addr().unwrap().port();
    drop(free);
    let mut trial = Command::new("unshare");
    trial.args(["--mount", "--propagation", "private"]);
    trial.arg(file("tests/deploy/trial.sh")).arg(package);
    trial.arg(gateway.addr().port().to_string());
    trial.arg(listen.to_string());
    trial.arg(gateway.token().unwrap());
    run(trial.arg(dir.path()));
    let out = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
    let said = out("said");
    let states: Vec<&str> = said
        .lines()
        .filter(|line| matches!(*line, "active" | "inactive" | "failed"))
        .collect();
    assert_eq!(
        states,
        [
            "inactive", "inactive", "active", "active", "active", "active"
        ],
        "nothing runs before it is started, and it outlives a reload and unpair\n{said}"
    );
    for proof in [
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
        "CapEff:\t0000000000000000",
        "\nunpaired: ",
        "\nResult=success\n",
    ] {
        assert!(said.contains(proof), "{proof}\n{said}");
    }
    assert_eq!(gateway.paired().unwrap(), serde_json::json!({}));
    assert!(out("install").contains("not started"));
    assert!(!out("purge").contains("may still be paired"));
    // What the administrator added himself, and what Debian keeps of every package.
    let left: Vec<String> = out("left")
        .lines()
        .filter(|path| !path.starts_with("./etc/systemd/system/scope-shim.socket.d"))
        .filter(|path| !path.starts_with("./var/lib/dpkg/") && !path.starts_with("./var/log/"))
        .map(str::to_owned)
        .collect();
    assert_eq!(left, [""; 0]);
}
