//! `doctor` and `devices` on state directories of every kind, with the gateway down and up.

#[path = "../support/schema.rs"]
mod schema;
mod state;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use scope_shim::demo::simulated::{Options, Profile, SimulatedGateway};
use serde_json::Value;

use crate::Shim;
use state::{SECRETS, State};

/// Nothing listens on ports 1 and 2, for the gateway and the shim.
fn shim(arguments: &[&str], state: impl Fn(&State)) -> Shim {
    let mut all = vec!["--listen", "127.0.0.1:2"];
    all.splice(0..0, arguments.iter().copied());
    let shim = Shim::new(&all);
    state(&State::below(shim.home.path()));
    let temporary = shim.home.path().display().to_string();
    shim.with("TMPDIR", &temporary)
}

/// Exit code and output as they are, columns included.
fn output(shim: &mut Shim) -> (i32, String) {
    let output = shim.command.output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    let text = String::from_utf8(output.stdout).unwrap() + &errors;
    let text = text.replace(&shim.home.path().display().to_string(), "[HOME]");
    (output.status.code().unwrap(), text)
}

fn report(state: impl Fn(&State)) -> String {
    let (code, text) = output(&mut shim(&["doctor"], state));
    format!("exit: {code}\n{text}")
}

#[test]
fn a_legacy_gateway_of_2026_2_19_that_is_down() {
    insta::assert_snapshot!(report(State::legacy));
}

#[test]
fn a_command_line_that_2026_4_21_pinned_and_nobody_who_may_approve() {
    insta::assert_snapshot!(report(State::pinned));
}

#[test]
fn a_database_of_2026_8_2_with_silent_grants_and_a_stale_token() {
    insta::assert_snapshot!(report(|state| state.database("2026.8.2")));
}

#[test]
fn a_gateway_that_was_put_back_behind_its_own_migration() {
    insta::assert_snapshot!(report(State::put_back));
}

#[test]
fn nothing_to_look_at_is_a_failure_of_its_own() {
    let (code, text) = output(&mut shim(
        &["doctor", "--gateway", "ws://127.0.0.1:1"],
        |_| {},
    ));
    assert_eq!(code, 1, "{text}");
    insta::assert_snapshot!(text);
}

#[test]
fn a_bad_configuration_is_refused_as_everywhere() {
    for command in ["doctor", "devices"] {
        let (code, text) = output(&mut shim(&[command, "--mode", "of"], State::legacy));
        assert_eq!(code, 78, "{text}");
    }
}

#[test]
fn the_devices_alone() {
    let (code, text) = output(&mut shim(&["devices"], State::legacy));
    assert_eq!(code, 0, "{text}");
    insta::assert_snapshot!(text);
    let (code, text) = output(&mut shim(&["devices"], |_| {}));
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("the pairing store cannot be read"), "{text}");
}

type Make = fn(&State);

/// Every kind of state, by name.
const STATES: [(&str, Make); 4] = [
    ("legacy", State::legacy),
    ("pinned", State::pinned),
    ("database", |state| state.database("2026.9.6")),
    ("put back", State::put_back),
];

#[test]
fn the_json_is_what_its_schema_says() {
    for (name, state) in STATES {
        for command in ["doctor", "devices"] {
            let (_, text) = output(&mut shim(&[command, "--json"], state));
            let document: Value = serde_json::from_str(&text).unwrap();
            let wrong = schema::violations(SCHEMA, command, &document);
            assert_eq!(wrong, Vec::<String>::new(), "{command} of {name}");
        }
    }
    let (_, text) = output(&mut shim(
        &["doctor", "--json", "--gateway", "ws://127.0.0.1:1"],
        |_| {},
    ));
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        schema::violations(SCHEMA, "doctor", &document),
        Vec::<String>::new()
    );
}

#[test]
fn no_secret_is_ever_shown() {
    for (name, state) in STATES {
        for arguments in [
            &["doctor"][..],
            &["doctor", "--json"],
            &["devices"],
            &["devices", "--json"],
        ] {
            let mut shim = shim(arguments, state).with("OPENCLAW_GATEWAY_TOKEN", SECRETS[1]);
            let (_, text) = output(&mut shim);
            for secret in SECRETS {
                assert!(!text.contains(secret), "{name} {arguments:?}: {text}");
            }
        }
    }
}

#[test]
fn a_hostile_name_does_not_reach_the_terminal() {
    for (_, state) in STATES {
        for arguments in [&["doctor"], &["devices"]] {
            let (_, text) = output(&mut shim(arguments, state));
            let unsafe_ones: Vec<char> = text
                .chars()
                .filter(|letter| {
                    *letter != '\n' && (letter.is_control() || "\u{202e}\u{200b}".contains(*letter))
                })
                .collect();
            assert_eq!(unsafe_ones, Vec::<char>::new(), "{text}");
            assert!(
                text.lines().all(|line| line.chars().count() <= 100),
                "{text}"
            );
        }
    }
}

#[test]
fn looking_changes_nothing() {
    for (name, state) in STATES {
        for command in ["doctor", "devices"] {
            let mut shim = shim(&[command], state);
            let before = everything(shim.home.path());
            output(&mut shim);
            assert_eq!(before, everything(shim.home.path()), "{command} of {name}");
        }
    }
}

/// Every file below a directory, with its time and contents.
fn everything(directory: &Path) -> BTreeMap<PathBuf, (SystemTime, Vec<u8>)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(everything(&path));
        } else {
            let modified = path.metadata().unwrap().modified().unwrap();
            found.insert(path.clone(), (modified, fs::read(&path).unwrap()));
        }
    }
    found
}

/// A report on a simulated gateway that runs, which must not have heard of it.
async fn report_on(profile: Profile) -> (i32, String) {
    let directory = tempfile::tempdir().unwrap();
    let options = Options {
        profile,
        state_dir: directory.path().join("state"),
        host_device: true,
        ..Options::default()
    };
    let gateway = SimulatedGateway::start(options).await.unwrap();
    let state = gateway.state_dir().display().to_string();
    let port = gateway.addr().port().to_string();
    let run = move || {
        let arguments = ["doctor", "--gateway-state", &state];
        let (code, text) = output(&mut shim(&arguments, |_| {}));
        (
            code,
            text.replace(&state, "[STATE]").replace(&port, "[PORT]"),
        )
    };
    let report = tokio::task::spawn_blocking(run).await.unwrap();
    assert_eq!(gateway.paired().unwrap(), serde_json::json!({}));
    assert_eq!(gateway.pending().unwrap(), serde_json::json!({}));
    assert!(
        gateway
            .connects()
            .iter()
            .all(|connect| connect.frame.is_empty()),
        "no handshake was begun"
    );
    report
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_runs_tells_its_version_and_hears_of_nothing() {
    let table = [
        (
            Profile::Literal,
            "OpenClaw 2026.2.20 or earlier, by what is seen of it",
            0,
        ),
        (
            Profile::Clearing,
            "OpenClaw 2026.3.13, as the gateway itself says",
            3,
        ),
        (
            Profile::Pending,
            "OpenClaw 2026.4.21, as the gateway itself says",
            0,
        ),
        (
            Profile::Latest,
            "OpenClaw 2026.9.6, as the gateway itself says",
            3,
        ),
    ];
    for (profile, version, expected) in table {
        let (code, text) = report_on(profile).await;
        assert_eq!(code, expected, "{text}");
        assert!(text.contains(version), "{text}");
        assert!(text.contains("WebSocket challenge in"), "{text}");
        let is_clean = text.contains("Nothing found.");
        assert_eq!(is_clean, expected == 0, "{text}");
    }
}

const SCHEMA: &str = include_str!("../../config/doctor.schema.json");
