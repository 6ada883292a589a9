use std::fs;
use std::process::Command;

use crate::tools::{PROGRAM, file, finish, run, tool};

const UNITS: [&str; 4] = [
    "deploy/systemd/scope-shim.service",
    "deploy/systemd/scope-shim.socket",
    "deploy/systemd/user/scope-shim.service",
    "deploy/systemd/user/scope-shim.socket",
];

/// The units say where the program will be; here it is elsewhere.
#[test]
fn the_units_are_units() {
    if tool("systemd-analyze", "systemd").is_none() {
        return;
    }
    for pair in UNITS.chunks(2) {
        let dir = tempfile::tempdir().unwrap();
        let mut verify = Command::new("systemd-analyze");
        verify.args(["verify", "--man=no"]);
        for unit in pair {
            let content = fs::read_to_string(file(unit)).unwrap();
            let content = content
                .replace("/usr/bin/scope-shim", PROGRAM)
                .replace("%h/.local/bin/scope-shim", PROGRAM);
            let copy = dir.path().join(file(unit).file_name().unwrap());
            fs::write(&copy, content).unwrap();
            verify.arg(copy);
        }
        let verified = finish(&mut verify);
        let said = String::from_utf8_lossy(&verified.stderr);
        assert!(verified.status.success() && said.is_empty(), "{said}");
    }
}

#[test]
fn the_system_unit_is_exposed_to_one_and_a_half_at_the_most() {
    if tool("systemd-analyze", "systemd").is_none() {
        return;
    }
    let mut rate = Command::new("systemd-analyze");
    rate.args(["security", "--offline=yes", "--threshold=15", "--no-pager"]);
    let said = run(rate.arg(file("deploy/systemd/scope-shim.service")));
    assert!(said.contains("Overall exposure level"), "{said}");
}

/// A port that is held open by systemd has to be the one that the program would take.
#[test]
fn the_socket_holds_the_default_port() {
    for unit in [
        "deploy/systemd/scope-shim.socket",
        "deploy/systemd/user/scope-shim.socket",
    ] {
        let content = fs::read_to_string(file(unit)).unwrap();
        assert!(
            content.contains("\nListenStream=127.0.0.1:18780\n"),
            "{unit}"
        );
    }
    let commented = fs::read_to_string(file("config/scope-shim.toml")).unwrap();
    assert!(commented.contains("#listen = \"127.0.0.1:18780\""));
}
