//! One table of what gateways do with handshakes, to be run against any gateway.
//!
//! Each step has an outcome per generation of gateways, in the words of the behaviour notes: `ok rwAap`
//! for a session that may read, write, administer, approve and pair; `PAIRING_REQUIRED/not-paired` and
//! the like for a refusal. The simulated gateway is held to the table by fast tests, the table is held
//! to real gateways by running it there, and what a proxy changes shows by running it through one.

mod catalogue;
mod deviceless;
mod locality;
mod management;
mod pairing;
mod proof;
mod schema;
mod steps;
mod tokens;
mod upgrades;

use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use crate::support::client::{Connect, FULL, Session};
use crate::support::device::TestDevice;
use steps::{keep, scenario, short};

/// How the gateway has to be configured for a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setup {
    /// `trustedProxies: ["127.0.0.2", "::1"]`, `controlUi.allowedOrigins: ["https://ui.example"]`.
    Standard,
    /// No trusted proxies.
    NoProxies,
    /// `trustedProxies: ["127.0.0.1", "::1"]`: the very address local clients come from.
    SelfTrusted,
}

impl Setup {
    pub const ALL: [Self; 3] = [Self::Standard, Self::NoProxies, Self::SelfTrusted];

    pub fn name(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::NoProxies => "no-proxies",
            Self::SelfTrusted => "self-trusted",
        }
    }

    pub fn trusted_proxies(self) -> &'static [&'static str] {
        match self {
            Self::Standard => &["127.0.0.2", "::1"],
            Self::NoProxies => &[],
            Self::SelfTrusted => &["127.0.0.1", "::1"],
        }
    }

    pub fn allowed_origins(self) -> &'static [&'static str] {
        match self {
            Self::Standard => &["https://ui.example"],
            _ => &[],
        }
    }
}

/// A gateway to run the table against, directly or through something.
pub trait Target {
    /// The published version, which picks the expectations; versions without any are only reported.
    fn version(&self) -> &str;
    fn addr(&self) -> SocketAddr;
    /// The shared token.
    fn token(&self) -> &str;
    fn setup(&self) -> Setup;
}

/// A named sequence of steps with devices of its own.
pub struct Scenario {
    pub name: &'static str,
    pub setup: Setup,
    pub steps: Vec<Step>,
}

/// One thing that is done, and what comes of it in each generation.
pub struct Step {
    pub what: &'static str,
    act: Act,
    expected: [&'static str; 4],
}

type Act = Box<dyn for<'a> Fn(&'a mut Stage) -> Pin<Box<dyn Future<Output = String> + 'a>>>;

/// What a scenario did on one target.
#[derive(Debug)]
pub struct ScenarioResult {
    pub name: &'static str,
    pub steps: Vec<StepResult>,
}

#[derive(Debug)]
pub struct StepResult {
    pub what: &'static str,
    pub got: String,
    /// None for a version the table says nothing about.
    pub expected: Option<&'static str>,
}

impl StepResult {
    pub fn passed(&self) -> bool {
        self.expected.is_none_or(|expected| expected == self.got)
    }
}

/// Every scenario, in the order of the behaviour notes.
pub fn table() -> Vec<Scenario> {
    [
        schema::scenarios(),
        proof::scenarios(),
        deviceless::scenarios(),
        pairing::scenarios(),
        upgrades::scenarios(),
        tokens::scenarios(),
        catalogue::scenarios(),
        locality::scenarios(),
        management::scenarios(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Runs the scenarios that fit the target's setup.
pub async fn run(target: &dyn Target) -> Vec<ScenarioResult> {
    let generation = GENERATIONS
        .iter()
        .position(|version| *version == target.version());
    let mut results = Vec::new();
    for scenario in table()
        .into_iter()
        .filter(|scenario| scenario.setup == target.setup())
    {
        let mut stage = Stage {
            addr: target.addr(),
            token: target.token().to_owned(),
            devices: Mutex::default(),
            sessions: HashMap::new(),
            notes: HashMap::new(),
        };
        let mut steps = Vec::new();
        for step in &scenario.steps {
            let got = (step.act)(&mut stage).await;
            let expected = generation.map(|generation| step.expected[generation]);
            steps.push(StepResult {
                what: step.what,
                got,
                expected,
            });
        }
        results.push(ScenarioResult {
            name: scenario.name,
            steps,
        });
    }
    results
}

/// What differs from the table, one line a step; empty if nothing does.
pub fn differences(results: &[ScenarioResult]) -> String {
    let mut out = String::new();
    for result in results {
        for step in result.steps.iter().filter(|step| !step.passed()) {
            let expected = step.expected.unwrap_or_default();
            let line = format!(
                "{} | {}\n  expected {expected}\n  got      {}\n",
                result.name, step.what, step.got
            );
            out.push_str(&line);
        }
    }
    out
}

/// Where a scenario plays: its devices, sessions and notes.
pub struct Stage {
    addr: SocketAddr,
    token: String,
    devices: Mutex<HashMap<&'static str, TestDevice>>,
    sessions: HashMap<&'static str, Session>,
    notes: HashMap<&'static str, String>,
}

impl Stage {
    /// The scenario's device of this name.
    pub fn device(&self, name: &'static str) -> TestDevice {
        let mut devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
        devices.entry(name).or_insert_with(TestDevice::new).clone()
    }

    /// A handshake with the shared token and no device.
    pub fn anonymous(&self) -> Connect {
        Connect::to(self.addr).token(&self.token)
    }

    /// A handshake with the shared token and a device.
    pub fn client(&self, name: &'static str) -> Connect {
        self.anonymous().device(&self.device(name))
    }

    /// The shared token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Something a former step wrote down.
    pub fn note(&self, name: &str) -> &str {
        self.notes.get(name).map_or("", String::as_str)
    }

    /// A session that may do everything, by a local device of its own.
    pub async fn admin(&mut self) -> &mut Session {
        if !self.sessions.contains_key("admin") {
            let outcome = self.client("admin").scopes(FULL).run().await;
            self.sessions.insert("admin", outcome.admitted());
        }
        self.sessions.get_mut("admin").unwrap()
    }

    /// The requests that wait for an answer for this device.
    pub async fn pending(&mut self, name: &'static str) -> Vec<Value> {
        self.listed("pending", name).await
    }

    async fn listed(&mut self, list: &str, name: &'static str) -> Vec<Value> {
        let id = self.device(name).id();
        let listed = self
            .admin()
            .await
            .call("device.pair.list", json!({}))
            .await
            .unwrap();
        let rows = listed[list].as_array().into_iter().flatten();
        rows.filter(|row| row["deviceId"] == id.as_str())
            .cloned()
            .collect()
    }
}

/// The same in every generation.
const fn all(expected: &'static str) -> [&'static str; 4] {
    [expected; 4]
}

/// The versions the table's four columns were measured on.
const GENERATIONS: [&str; 4] = ["2026.2.19", "2026.3.13", "2026.4.21", "2026.9.6"];
