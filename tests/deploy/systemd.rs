use std::fs;
use std::process::Command;

use crate::tools::{PROGRAM, file, finish, run, text, tool};

/// Those of one service manager refer to each other.
const UNITS: [&[&str]; 2] = [
    &[
        "deploy/systemd/scope-shim.service",
        "deploy/systemd/scope-shim.socket",
        "deploy/systemd/scope-shim-intercept.service",
    ],
    &[
        "deploy/systemd/user/scope-shim.service",
        "deploy/systemd/user/scope-shim.socket",
    ],
];

/// The units say where the program will be; here it is elsewhere.
#[test]
fn the_units_are_units() {
    if tool("systemd-analyze", "systemd").is_none() {
        return;
    }
    for units in UNITS {
        let dir = tempfile::tempdir().unwrap();
        let mut verify = Command::new("systemd-analyze");
        verify.args(["verify", "--man=no"]);
        for unit in units {
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
fn the_system_units_are_exposed_no_more_than_they_have_to_be() {
    if tool("systemd-analyze", "systemd").is_none() {
        return;
    }
    for (unit, tenths) in [
        ("deploy/systemd/scope-shim.service", 15),
        // Root, who changes the rules of the network.
        ("deploy/systemd/scope-shim-intercept.service", 30),
    ] {
        let mut rate = Command::new("systemd-analyze");
        rate.args(["security", "--offline=yes", "--no-pager"]);
        let said = run(rate.arg(format!("--threshold={tenths}")).arg(file(unit)));
        assert!(said.contains("Overall exposure level"), "{said}");
    }
}

/// The commands in the head put each thing where the unit looks for it, what another needs before the other.
#[test]
fn the_head_of_the_system_unit_installs_what_the_units_run() {
    let unit = text("deploy/systemd/scope-shim.service");
    let steps: Vec<&str> = unit
        .lines()
        .filter_map(|line| line.strip_prefix("#   "))
        .collect();
    let in_order = [
        "target/release/scope-shim /usr/bin/",
        "systemd-sysusers scope-shim.conf",
        "/etc/scope-shim/scope-shim.toml",
        "-g scope-shim /dev/null /etc/scope-shim/gateway.token",
        "scope-shim.service deploy/systemd/scope-shim.socket /etc/systemd/system/",
        "systemctl daemon-reload && systemctl enable --now",
    ];
    assert_eq!(steps.len(), in_order.len(), "{steps:?}");
    for (step, part) in steps.iter().zip(in_order) {
        assert!(step.contains(part), "{step}: {part}");
        for source in step.split(' ').filter(|word| word.starts_with("deploy/")) {
            assert!(file(source).exists(), "{step}: {source}");
        }
    }
    for unit in UNITS[0] {
        for line in text(unit).lines() {
            let Some((setting, command)) = line.split_once('=') else {
                continue;
            };
            if setting.starts_with("Exec") && command.contains("scope-shim") {
                let command = command.trim_start_matches('-');
                assert!(
                    command.starts_with("/usr/bin/scope-shim "),
                    "{unit}: {line}"
                );
            }
        }
    }
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
