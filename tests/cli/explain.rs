use std::fs;

use scope_shim::delegate::Delegate;
use scope_shim::handshake::message::Claims;
use serde_json::{Value, json};

use crate::Shim;

const GOOD: &str =
    "{gateway: {port: 19001, auth: {token: 's3cret'}, trustedProxies: ['127.0.0.2']}}";

/// A device whose id is easy to read. Nobody checks its proof here.
const KEY: &str = "CZdqNRrbZJFMEgx6GPo2F6dYCHeHOadWIu91bAp6D-E";

/// A machine whose gateway has paired `devices` and whose shim has a device of its own.
fn machine(arguments: &[&str], devices: &[(&str, &str, &[&str])]) -> Shim {
    let shim = Shim::new(arguments).gateway(GOOD);
    let data = shim.home.path().join(".local/share/scope-shim");
    let own = Delegate::load_or_create(&data).unwrap().device_id();
    let every: Vec<&str> = scope_shim::scope::ALL.to_vec();
    let mut paired = json!({ own.as_str(): record(own.as_str(), KEY, &every) });
    for (id, key, scopes) in devices {
        paired[*id] = record(id, key, scopes);
    }
    let state = shim.home.path().join(".openclaw/devices");
    fs::create_dir_all(&state).unwrap();
    fs::write(state.join("paired.json"), paired.to_string()).unwrap();
    shim
}

fn record(id: &str, key: &str, scopes: &[&str]) -> Value {
    json!({
        "deviceId": id, "publicKey": key, "platform": "linux", "clientId": "cli", "clientMode": "cli",
        "role": "operator", "roles": ["operator"], "scopes": scopes, "approvedScopes": scopes,
        "tokens": {"operator": {"token": "tok-1", "role": "operator", "scopes": scopes}},
    })
}

const LEGACY: &[&str] = &["operator.admin", "operator.approvals", "operator.pairing"];
const ID: &str = "77bce8ca31bc0000000000000000000000000000000000000000000000000000";

const REPORT_23006: [&str; 7] = [
    "explain",
    "--device",
    "77bc",
    "--scopes",
    "operator.read",
    "--gateway-version",
    "2026.2.19",
];

#[test]
fn report_23006_is_walked_step_by_step() {
    let mut shim = machine(&REPORT_23006, &[(ID, KEY, LEGACY)]);
    insta::assert_snapshot!(shim.run());
}

#[test]
fn report_46422_is_walked_step_by_step() {
    let mut shim = machine(
        &[
            "explain",
            "--scopes",
            "operator.read",
            "--client",
            "cli/probe",
            "--gateway-version",
            "2026.3.13",
        ],
        &[],
    );
    insta::assert_snapshot!(shim.run());
}

#[test]
fn what_is_not_healed_says_what_stands_in_the_way() {
    for (name, arguments) in [
        (
            "more_than_approved",
            &[
                "--device",
                "77bc",
                "--scopes",
                "operator.read,operator.write",
                "--gateway-version",
                "2026.4.21",
            ][..],
        ),
        (
            "capped",
            &[
                "--device",
                "77bc",
                "--scopes",
                "operator.read,operator.write",
                "--cap",
                "operator.write",
                "--remote",
            ],
        ),
        (
            "a_device_token",
            &[
                "--device",
                "77bc",
                "--scopes",
                "operator.pairing",
                "--device-token",
                "--gateway-version",
                "2026.9.6",
                "--platform",
                "darwin",
            ],
        ),
        (
            "a_web_page",
            &[
                "--scopes",
                "operator.read",
                "--origin",
                "http://192.0.2.1",
                "--gateway-version",
                "2026.9.6",
            ],
        ),
    ] {
        let approved: &[&str] = match name {
            "a_device_token" => LEGACY,
            _ => &["operator.read"],
        };
        let arguments = [&["explain"], arguments].concat();
        let mut shim = machine(&arguments, &[(ID, KEY, approved)]);
        insta::assert_snapshot!(name, shim.run());
    }
}

#[test]
fn the_same_as_json() {
    let as_json = [&REPORT_23006[..], &["--json"]].concat();
    let mut shim = machine(&as_json, &[(ID, KEY, LEGACY)]);
    insta::assert_snapshot!(shim.run());
}

#[test]
fn a_device_that_is_not_there_or_not_clear_names_those_that_are() {
    let other = ID.replace("77bce8", "77aaaa");
    let devices: &[(&str, &str, &[&str])] = &[(ID, KEY, LEGACY), (&other, KEY, LEGACY)];
    for (name, prefix) in [("no_such_device", "99"), ("ambiguous_device", "77")] {
        let mut shim = machine(
            &["explain", "--device", prefix, "--scopes", "operator.read"],
            devices,
        );
        let output = shim.run();
        let data = shim.home.path().join(".local/share/scope-shim");
        let own = Delegate::load_or_create(&data).unwrap().device_id().short();
        let output = output.replace(&own, "[OWN]");
        assert!(output.starts_with("exit: 1\n"), "{output}");
        // Sorted by id, and the shim's own is another one every time.
        assert!(
            output.contains("77aaaaca31bc (cli), 77bce8ca31bc (cli)") || name == "no_such_device",
            "{output}"
        );
        assert!(output.contains("77bce8ca31bc (cli)"), "{output}");
    }
}

/// A connect request of a device, signed as a client of 2026.3 signs it, and the device's id and key.
fn signed(scopes: &[&str], tamper: impl FnOnce(&mut Value)) -> (Value, String, String) {
    let home = tempfile::tempdir().unwrap();
    let device = Delegate::load_or_create(home.path()).unwrap();
    let mut claims = Claims {
        role: "operator".into(),
        scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
        client_id: "cli".into(),
        client_mode: "cli".into(),
        platform: "linux".into(),
        ..Claims::default()
    };
    claims.auth.token = Some("s3cret".into());
    let proof = device.prove(&claims, "n0nce", 1_795_366_284_000);
    let (id, key) = (proof.id.clone(), proof.public_key.clone());
    let mut message = json!({"type": "req", "id": "1", "method": "connect", "params": {
        "minProtocol": 3, "maxProtocol": 3, "role": "operator", "scopes": scopes,
        "client": {"id": "cli", "version": "2026.2.19", "platform": "linux", "mode": "cli"},
        "auth": {"token": "s3cret"},
        "device": {"id": proof.id, "publicKey": proof.public_key, "signature": proof.signature,
            "signedAt": proof.signed_at_ms, "nonce": proof.nonce}}});
    tamper(&mut message);
    (message, id, key)
}

#[test]
fn a_saved_handshake_is_held_against_its_own_nonce_and_time_and_never_echoed() {
    for (name, tamper) in [
        ("a_saved_handshake", (|_| ()) as fn(&mut Value)),
        ("a_tampered_handshake", |message| {
            message["params"]["scopes"] = json!(["operator.admin"])
        }),
    ] {
        let (message, id, key) = signed(&["operator.read"], tamper);
        let arguments = ["explain", "--gateway-version", "2026.2.19", "--handshake"];
        let mut shim = machine(&arguments, &[(&id, &key, LEGACY)]);
        let file = shim.home.path().join("connect.json");
        fs::write(&file, message.to_string()).unwrap();
        shim.command.arg(&file);
        let output = shim.run();
        for secret in [
            "s3cret",
            "n0nce",
            message["params"]["device"]["signature"].as_str().unwrap(),
        ] {
            assert!(!output.contains(secret), "{secret}: {output}");
        }
        let output = output
            .replace(&id, "[DEVICE]")
            .replace(&id[..12], "[DEVICE]");
        insta::assert_snapshot!(name, output);
    }
}

#[test]
fn a_file_that_is_no_handshake_is_not_repeated() {
    let mut shim = machine(&["explain", "--handshake"], &[]);
    let file = shim.home.path().join("secrets.txt");
    fs::write(&file, "token: s3cret").unwrap();
    shim.command.arg(&file);
    insta::assert_snapshot!(shim.run(), @r"
    exit: 1
    ----- stdout -----
    ----- stderr -----
    error: [HOME]/secrets.txt: neither a connect request nor the trace of a session: the first message is not JSON
    ");
}

/// A session as a shim has kept it.
fn kept(session: &str) -> String {
    json!({
        "session": session, "atMs": 1_795_366_284_000_i64, "ms": 25, "mode": "on", "address": "203.0.113.9",
        "origin": {"directLocal": false, "page": null},
        "claims": {"clientId": "cli", "clientMode": "probe", "clientVersion": "2026.3.13", "platform": "linux",
            "deviceFamily": null, "role": "operator", "scopes": ["operator.read"], "device": null, "credentials": ["token"]},
        "record": null,
        "gateway": {"name": "OpenClaw 2026.3.13", "version": "2026.3.13", "early": false, "compares": "implied", "knownFrom": null},
        "cap": null, "delegate": ["operator.admin"],
        "steps": [{"question": "role", "answer": "yes", "because": ["its role is \"operator\""]},
            {"question": "decision", "answer": "pass", "because": ["it has no device and is not a direct local client with the shared secret"]}],
        "decision": "pass", "why": "it has no device and is not a direct local client with the shared secret",
        "answer": "hello-ok",
        "finding": {"code": "device-less", "sentence": "it has no device, so the gateway took them away", "fix": null},
        "outcome": "degraded",
    })
    .to_string()
}

fn with_sessions(arguments: &[&str]) -> Shim {
    let shim = Shim::new(arguments).gateway(GOOD);
    let data = shim.home.path().join(".local/share/scope-shim");
    fs::create_dir_all(&data).unwrap();
    let lines = [
        kept("0s8e4b1x"),
        "half a li".into(),
        kept("0s8e4b1y"),
        kept("0s9zzzzz"),
    ];
    fs::write(data.join("sessions.jsonl"), lines.join("\n")).unwrap();
    shim
}

#[test]
fn a_session_is_shown_by_its_name_or_the_beginning_of_it() {
    let whole = with_sessions(&["explain", "0s8e4b1x"]).run();
    insta::assert_snapshot!("a_session", whole);
    let beginning = with_sessions(&["explain", "0S9"]).run();
    assert_eq!(beginning, whole.replace("0s8e4b1x", "0s9zzzzz"));
}

#[test]
fn sessions_are_listed_and_an_unknown_one_names_its_neighbours() {
    for (name, arguments) in [
        ("sessions", &["explain"][..]),
        ("unknown_session", &["explain", "0s8e4b10"]),
        ("ambiguous_session", &["explain", "0s8"]),
    ] {
        insta::assert_snapshot!(name, with_sessions(arguments).run());
    }
    insta::assert_snapshot!(
        "no_sessions",
        Shim::new(&["explain", "0s8e4b1x"]).gateway(GOOD).run()
    );
}

#[test]
fn what_json_prints_of_a_session_can_be_explained_again() {
    let printed = with_sessions(&["explain", "0s8e4b1x", "--json"]).run();
    let text = printed.split("----- stdout -----\n").nth(1).unwrap();
    let text = text.split("----- stderr -----").next().unwrap();
    let mut shim = with_sessions(&["explain", "--handshake"]);
    let file = shim.home.path().join("trace.json");
    fs::write(&file, text).unwrap();
    shim.command.arg(&file);
    assert_eq!(shim.run(), with_sessions(&["explain", "0s8e4b1x"]).run());
}

#[test]
fn a_session_tells_which_of_several_gateways_had_it() {
    let mut shim = Shim::new(&["explain", "0s8e4b1x"]);
    let home = shim.home.path();
    let file = home.join("scope-shim.toml");
    let text = "data = 'data'\n[[gateway]]\nname = 'a'\nurl = 'ws://127.0.0.1:1'\nhosts = ['a.example']\n\
                [[gateway]]\nname = 'b'\nurl = 'ws://127.0.0.1:2'\n";
    fs::write(&file, text).unwrap();
    fs::create_dir_all(home.join("data/b")).unwrap();
    fs::write(home.join("data/b/sessions.jsonl"), kept("0s8e4b1x")).unwrap();
    let file = file.display().to_string();
    shim = shim.with("SCOPE_SHIM_CONFIG", &file);
    let shown = shim.run();
    assert!(shown.contains("session 0s8e4b1x"), "{shown}");
}
