//! The shim's configuration: what flags, variables and the file said, resolved once before a port is opened.
//!
//! A flag wins over a variable, a variable over the file, the file over what the gateway's own files tell, and that
//! over the default. Every problem is found before anything is refused, so that an operator corrects a file once.

mod admin;
mod doubt;
mod environment;
mod fleet;
mod host;
mod load;
mod named;
mod policy;
mod problem;
mod raw;
mod reader;
mod self_proxy;
mod show;
mod sources;
mod tls;
mod unknown;
mod upstream;
mod url;
mod value;
mod warning;
mod words;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

pub use admin::Admin;
pub use environment::Environment;
pub use policy::{Capped, ClientPolicy, Policy, UserPolicy};
pub use problem::{Finding, Origin, Problem, Problems};
pub use raw::Flag;
pub use reader::Setting;
pub use sources::Sources;
pub use tls::Tls;
pub use url::GatewayUrl;
pub(crate) use value::network;
pub use warning::Warning;
pub use words::{
    DeviceLess, EntitledRepairs, LocalUpgrades, LogFormat, LogLevel, Mode, Plaintext,
    ProxyProtocol, Sandbox, SessionLog, StoreKind,
};

use crate::gateway::{GatewayAuth, GatewayFacts};
use crate::invocation::Invocation;
use crate::tls::Trust;

/// Everything the shim was told or found out before it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// What the operator calls the gateway.
    pub name: String,
    /// The same, where there are several, so that it has to be said which one is meant.
    pub label: Option<String>,
    /// The host names that lead to it, in lower case; none where it is the only one, or takes every other.
    pub hosts: Vec<String>,
    /// Where clients connect.
    pub listen: SocketAddr,
    /// What the shim does with handshakes until it is told otherwise.
    pub mode: Mode,
    /// The directory of the shim's own data for this gateway; it need not exist yet.
    pub data: PathBuf,
    /// The directory of what the whole process has: its admin socket. Where there is one gateway, it is [`Self::data`].
    pub base: PathBuf,
    /// Whether the process may write in its own directories alone.
    pub sandbox: Sandbox,
    /// What the shim writes about its work.
    pub log: Log,
    /// The upstream.
    pub gateway: Gateway,
    /// The proxies in front of the shim whose forwarded headers it believes.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether they name their clients by the PROXY protocol.
    pub proxy_protocol: ProxyProtocol,
    /// What the operator grants, caps and switches off.
    pub policy: Policy,
    /// How clients speak to the shim.
    pub tls: Tls,
    /// The cache of device records.
    pub cache: Cache,
    /// How much a client may use.
    pub limits: Limits,
    /// Where the shim itself is reached.
    pub admin: Admin,
    /// The file that was read, if any.
    pub file: Option<PathBuf>,
    /// How commands are given that mean this shim.
    pub invocation: Invocation,
    /// Every key with its value and who said it, in the order of the file.
    pub settings: Vec<Setting>,
    /// What an operator should know, those of the gateway's files included.
    pub findings: Vec<Finding>,
    /// Every key that there is, for the test that holds the commented file to it.
    #[cfg(test)]
    keys: Vec<&'static str>,
}

impl Config {
    /// Who said what a key resolved to.
    #[must_use]
    pub fn origin(&self, key: &str) -> Origin {
        let setting = self.settings.iter().find(|setting| setting.key == key);
        setting.map_or(Origin::Default, |setting| setting.origin.clone())
    }

    /// A command of this program that means this shim, for the shell that this one was started from.
    #[must_use]
    pub fn command(&self, words: &[&str]) -> String {
        self.invocation.clone().here().command(words)
    }

    /// Whether a key says the same of all gateways, where there are several.
    pub(crate) fn is_for_all(key: &str) -> bool {
        raw::own_name(key).is_none()
    }
}

/// How the shim logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// The form of a line.
    pub format: LogFormat,
    /// The least important level that is written; `RUST_LOG` overrules it.
    pub level: LogLevel,
    /// Whether the last sessions are kept for `scope-shim explain`.
    pub sessions: SessionLog,
}

/// The gateway and how to reach and read it.
#[derive(Clone, Debug)]
pub struct Gateway {
    /// Its address.
    pub url: GatewayUrl,
    /// Its state directory; `None` when it is on another machine or nothing tells.
    pub state: Option<PathBuf>,
    /// Where its device records are read.
    pub store: StoreKind,
    /// How the shim proves itself: what it was given, else what the gateway's files say.
    pub auth: GatewayAuth,
    /// The user that the shim is to a gateway in trusted-proxy mode.
    pub user: Option<String>,
    /// The addresses to connect from; nothing is chosen for a gateway that is not on loopback.
    pub sources: Sources,
    /// How long a TCP (and TLS) connection may take to come about.
    pub connect_timeout: Duration,
    /// Which certificate it has to show, where it speaks TLS.
    pub trust: Trust,
    /// What the gateway's own files say.
    pub facts: GatewayFacts,
}

/// The cache of device records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cache {
    /// How long a record serves without a look at the store; zero means not at all.
    pub ttl: Duration,
    /// The same for the knowledge that there is no record.
    pub negative_ttl: Duration,
    /// How many records are kept.
    pub capacity: usize,
}

/// How much a client may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Client connections at a time.
    pub connections: usize,
    /// Bytes of one HTTP request's head.
    pub header_bytes: usize,
    /// How long a request's head may take to arrive.
    pub header_timeout: Duration,
    /// Bytes of the frame that holds the `connect` request.
    pub connect_frame_bytes: usize,
    /// How long the handshake may take, from the upgrade to the gateway's answer.
    pub handshake_timeout: Duration,
    /// How long a session may be silent; `None` for ever.
    pub idle_timeout: Option<Duration>,
    /// How long a client may be out of reach; `None` leaves it to the system.
    pub vanished_timeout: Option<Duration>,
    /// Handshakes towards the gateway at a time.
    pub gateway_handshakes: usize,
    /// How long live sessions may go on when the shim stops; `None` until they end by themselves.
    pub drain: Option<Duration>,
}

#[cfg(test)]
mod tests;
