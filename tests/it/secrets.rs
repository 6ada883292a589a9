use std::path::Path;
use std::process::Stdio;

use scope_shim::demo::simulated::{Connect as Handshake, Options, Profile, SimulatedGateway};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use crate::support::client::{Connect, LEGACY, READ};
use crate::support::device::TestDevice;

const SHARED: &str = "a-shared-token-that-nobody-may-see";

/// Everything the program writes while sessions of every kind go through, at the most talkative level.
#[tokio::test]
async fn no_secret_is_ever_written_to_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let options = Options {
        profile: Profile::Literal,
        state_dir: state.clone(),
        token: Some(SHARED.to_owned()),
        ..Options::default()
    };
    let gateway = SimulatedGateway::start(options).await.unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_scope-shim"))
        .args(["run", "--listen", "127.0.0.1:0", "--gateway"])
        .arg(format!("ws://{}", gateway.addr()))
        .arg("--gateway-state")
        .arg(&state)
        .arg("--data")
        .arg(dir.path().join("data"))
        .env("RUST_LOG", "trace")
        .env("HOME", dir.path())
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(program.stderr.take().unwrap()).lines();
    let mut log = String::new();
    let shim = loop {
        let line = lines
            .next_line()
            .await
            .unwrap()
            .expect("the program goes on");
        log.push_str(&line);
        let address = line
            .split("listening on ")
            .nth(1)
            .and_then(|rest| rest.split_whitespace().next());
        if let Some(address) = address {
            break address.parse().unwrap();
        }
    };
    let device = TestDevice::new();
    let own_token = gateway
        .pair(&device.id(), &device.public_key(), LEGACY, Some("linux"))
        .unwrap();
    let connect = Connect::to(shim)
        .token(SHARED)
        .device(&device)
        .scopes(&[READ]);
    assert_eq!(
        connect.clone().run().await.label().await,
        "ok r",
        "rewritten"
    );
    connect.clone().scopes(LEGACY).run().await.admitted();
    connect.clone().token(&own_token).run().await.admitted();
    connect
        .clone()
        .token("a wrong token of somebody")
        .run()
        .await;
    connect
        .clone()
        .tampered(|params| params["device"]["signature"] = "forged-signature".into())
        .run()
        .await;
    Connect::to(shim)
        .token(SHARED)
        .client("cli", "probe")
        .scopes(&[READ])
        .run()
        .await
        .admitted();
    let told = everything_else(&gateway, dir.path(), program.id().unwrap()).await;
    program.start_kill().unwrap();
    while let Some(line) = lines.next_line().await.unwrap() {
        log.push_str(&line);
    }
    assert!(
        log.contains("decision=rewrite"),
        "the log has the sessions:\n{log}"
    );
    for secret in secrets(&gateway, &dir, &own_token) {
        assert!(!log.contains(&secret), "{secret} is in the log:\n{log}");
        for (what, text) in &told {
            assert!(!text.contains(&secret), "{secret} is in {what}:\n{text}");
        }
    }
}

/// What the program tells and keeps elsewhere, by where: its commands, its admin socket, its files but those that are
/// there for a secret, and its command line, which every user may read.
async fn everything_else(
    gateway: &SimulatedGateway,
    dir: &Path,
    pid: u32,
) -> Vec<(String, String)> {
    let mut told = Vec::new();
    let (state, data) = (dir.join("state"), dir.join("data"));
    for command in [
        &["status"][..],
        &["status", "--json"],
        &["explain"],
        &["explain", "--json"],
        &["doctor"],
        &["doctor", "--json"],
        &["devices", "--json"],
        &["check"],
        &["mode"],
        &["approve"],
        &["repair"],
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_scope-shim"))
            .args(command)
            .arg("--gateway")
            .arg(format!("ws://{}", gateway.addr()))
            .arg("--gateway-state")
            .arg(&state)
            .arg("--data")
            .arg(&data)
            .env("HOME", dir)
            .stdin(Stdio::null())
            .output()
            .await
            .unwrap();
        let both = [output.stdout, output.stderr].concat();
        assert!(!both.is_empty(), "{command:?}");
        told.push((command.join(" "), String::from_utf8(both).unwrap()));
    }
    for path in ["/status", "/metrics", "/ready"] {
        let answer = crate::program::fetch(&data.join("admin.sock"), path).await;
        told.push((path.to_owned(), answer));
    }
    for entry in std::fs::read_dir(&data).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        let is_secret = ["delegate.key", "admin.token", "metrics.token"].contains(&name.as_str());
        if entry.file_type().unwrap().is_file() && !is_secret {
            let text = std::fs::read(entry.path()).unwrap();
            told.push((name, String::from_utf8_lossy(&text).into_owned()));
        }
    }
    assert!(told.iter().any(|(name, _)| name == "sessions.jsonl"));
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    told.push((
        "argv".to_owned(),
        String::from_utf8_lossy(&line).into_owned(),
    ));
    told
}

/// Tokens, nonces, signatures and keys that this run has seen.
fn secrets(gateway: &SimulatedGateway, dir: &tempfile::TempDir, own_token: &str) -> Vec<String> {
    let mut secrets = vec![
        SHARED.to_owned(),
        own_token.to_owned(),
        "a wrong token of somebody".to_owned(),
        "forged-signature".to_owned(),
    ];
    let key = std::fs::read_to_string(dir.path().join("data/delegate.key")).unwrap();
    secrets.extend(key.lines().nth(1).map(str::to_owned));
    for record in gateway.paired().unwrap().as_object().unwrap().values() {
        secrets.extend(
            record["tokens"]["operator"]["token"]
                .as_str()
                .map(str::to_owned),
        );
    }
    let spoken = |connect: &Handshake| !connect.frame.is_empty();
    for connect in gateway.connects().into_iter().filter(spoken) {
        let message: Value = serde_json::from_slice(&connect.frame).unwrap();
        let device = &message["params"]["device"];
        for field in ["signature", "nonce"] {
            secrets.extend(device[field].as_str().map(str::to_owned));
        }
    }
    assert!(secrets.len() > 12, "there was something to look for");
    secrets
}
