//! A command of the program that asks the gateway once, as an operator meets it.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use scope_shim::clock;
use scope_shim::demo::simulated::{Options, Profile, SimulatedGateway};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use crate::stage::TOKEN;
use crate::support::client::{Connect, LEGACY, READ};
use crate::support::device::TestDevice;

/// A simulated gateway, and a home for the program; no shim runs.
pub struct Bench {
    pub gateway: SimulatedGateway,
    pub dir: TempDir,
}

impl Bench {
    pub async fn new(profile: Profile) -> Self {
        Self::with(profile, |_| {}).await
    }

    pub async fn with(profile: Profile, adjust: impl FnOnce(&mut Options)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut options = Options {
            profile,
            state_dir: dir.path().join("state"),
            trusted_proxies: vec!["127.0.0.2".into()],
            ..Options::default()
        };
        adjust(&mut options);
        let gateway = SimulatedGateway::start(options).await.unwrap();
        Self { gateway, dir }
    }

    pub fn direct(&self) -> Connect {
        Connect::to(self.gateway.addr()).token(TOKEN)
    }

    /// A legacy device that is newly paired and wants to read: what the gateway alone would refuse.
    pub fn reader(&self, shim: SocketAddr) -> Connect {
        Connect::to(shim)
            .token(TOKEN)
            .device(&self.paired(LEGACY))
            .scopes(&[READ])
    }

    pub fn paired(&self, scopes: &[&str]) -> TestDevice {
        let device = TestDevice::new();
        self.pair(&device, scopes);
        device
    }

    pub fn pair(&self, device: &TestDevice, scopes: &[&str]) -> String {
        self.gateway
            .pair(&device.id(), &device.public_key(), scopes, Some("linux"))
            .unwrap()
    }

    /// What the store holds of a device.
    pub fn record(&self, device: &TestDevice) -> Value {
        self.gateway.paired().unwrap()[device.id().as_str()].clone()
    }

    /// The ids of what waits.
    pub fn pending(&self) -> Vec<String> {
        let pending = self.gateway.pending().unwrap();
        pending.as_object().unwrap().keys().cloned().collect()
    }

    /// Has a device ask for scopes that it will not get yet, and returns its request's id.
    pub async fn ask(&self, connect: Connect) -> String {
        let before = self.pending();
        let outcome = connect.run().await;
        assert!(outcome.session.is_none(), "{outcome:?}");
        // Requests are listed in the order of their times, which are in milliseconds.
        let asked = clock::now_ms();
        while clock::now_ms() == asked {
            tokio::task::yield_now().await;
        }
        let mut after = self.pending();
        after.retain(|id| !before.contains(id));
        after.pop().unwrap()
    }

    /// Runs the program: exit code and both streams.
    pub async fn run(&self, arguments: &[&str]) -> String {
        self.run_with(TOKEN, arguments).await
    }

    pub async fn run_with(&self, token: &str, arguments: &[&str]) -> String {
        let gateway = format!("ws://{}", self.gateway.addr());
        run(self.dir.path(), &gateway, token, arguments).await
    }

    /// The program's whole output without what differs from run to run: requests and devices are numbered in the
    /// order in which they are shown.
    pub async fn shown(&self, arguments: &[&str]) -> String {
        self.tidy(&self.run(arguments).await)
    }

    pub fn tidy(&self, output: &str) -> String {
        let mut text = output
            .replace(&self.dir.path().display().to_string(), "[DIR]")
            .replace(&self.gateway.addr().to_string(), "[GATEWAY]");
        text = text.replace(", just now", ", [AGE] ago");
        for seconds in 0..60 {
            text = text.replace(&format!(", {seconds} s ago"), ", [AGE] ago");
        }
        number(&mut text, "REQUEST", 36, |c| {
            c.is_ascii_hexdigit() || c == '-'
        });
        number(&mut text, "DEVICE", 64, |c| c.is_ascii_hexdigit());
        number(&mut text, "DEVICE", 12, |c| c.is_ascii_hexdigit());
        text.lines()
            .map(|line| match line.split_once("AtMs\": ") {
                Some((name, _)) => format!("{name}AtMs\": [TIME],\n"),
                None => format!("{line}\n"),
            })
            .collect()
    }

    /// What the audit log says.
    pub fn audit(&self) -> Vec<Value> {
        let text =
            std::fs::read_to_string(self.dir.path().join("data/audit.jsonl")).unwrap_or_default();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

/// Runs the program in a home of its own, with the variables that tell it where everything is.
pub async fn run(dir: &Path, gateway: &str, token: &str, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_scope-shim"))
        .args(arguments)
        .env_clear()
        .env("HOME", dir)
        .env("SCOPE_SHIM_GATEWAY_URL", gateway)
        .env("SCOPE_SHIM_GATEWAY_TOKEN", token)
        .env("SCOPE_SHIM_GATEWAY_STATE", dir.join("state"))
        .env("SCOPE_SHIM_DATA", dir.join("data"))
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let code = output.status.code().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    format!(
        "exit: {code}\n{}{}",
        text(output.stdout),
        text(output.stderr)
    )
}

/// Numbers the words of this length and of these characters.
fn number(text: &mut String, name: &str, length: usize, of: impl Fn(char) -> bool) {
    let mut found: Vec<String> = Vec::new();
    for word in text.split(|c| !of(c)) {
        if word.len() == length && !found.iter().any(|known| known == word) {
            found.push(word.to_owned());
        }
    }
    for (index, word) in found.iter().enumerate() {
        *text = text.replace(word, &format!("[{name} {}]", index + 1));
    }
}
