//! Looking: everything that `doctor` reads and asks before it says anything. Nothing here changes anything.
//!
//! No session with the gateway is opened, not even the delegate's: a gateway may pair whoever connects.

mod client;
mod installed;
mod probe;
mod process;
mod running;
mod service;
mod store;

use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::known::Known;
use crate::clock;
use crate::config::{Config, Environment, Finding as Note, Origin, Policy, Sources};
use crate::delegate::Delegate;
use crate::device::DeviceId;
use crate::gateway::{self, Details, GatewayAuth, GatewayFacts, Place, Reader};
use crate::invocation::Invocation;
use crate::profile::Version;

pub use client::{ClientTokens, StoredToken};
pub use probe::{ChallengeSeen, Reach, Seen};
pub use process::GatewayProcess;
pub use running::Running;
pub use store::{Form, Migration, StoreLook};

/// Everything that was seen.
#[derive(Debug)]
pub struct Look {
    /// When, in milliseconds since the epoch.
    pub now_ms: i64,
    /// The gateway's address.
    pub url: String,
    /// How far the gateway answers.
    pub reach: Reach,
    /// What is known of its version.
    pub version: Known,
    /// Its pairing store.
    pub store: StoreLook,
    /// What the command line of this host keeps for itself.
    pub client: ClientTokens,
    /// Every place that holds the shared secret.
    pub secrets: Vec<Place>,
    /// The gateways that run as this user, by what they leave behind.
    pub processes: Vec<GatewayProcess>,
    /// What the gateway's configuration says.
    pub configuration: Configuration,
    /// The shim itself.
    pub shim: ShimLook,
    /// What loading the shim's own configuration found.
    pub notes: Vec<Note>,
    /// The version of the `openclaw` on the `PATH`.
    pub installed: Option<Version>,
    /// The platform of this host, as the command line names it.
    pub platform: &'static str,
}

/// What the gateway's configuration says, as far as findings depend on it.
#[derive(Clone, Debug, Default)]
pub struct Configuration {
    /// The file, where there is one.
    pub file: Option<PathBuf>,
    /// The port in it.
    pub port: Option<u16>,
    /// `gateway.bind`.
    pub bind: Option<String>,
    /// Whether the gateway speaks TLS.
    pub tls: bool,
    /// How clients prove themselves.
    pub auth: GatewayAuth,
    /// `gateway.trustedProxies`.
    pub trusted_proxies: Option<Vec<IpNet>>,
    /// `gateway.controlUi.allowedOrigins`.
    pub allowed_origins: Vec<String>,
    /// Whether a page is allowed when its host is the one it asks for.
    pub host_origin_allowed: bool,
    /// `gateway.nodes.pairing.autoApproveLocal`.
    pub auto_approve_local: bool,
    /// The release that wrote the file last, often that of the command line.
    pub last_touched: Option<Version>,
}

/// The shim itself.
#[derive(Clone, Debug)]
pub struct ShimLook {
    /// Where it listens when it runs.
    pub listen: SocketAddr,
    /// Whether something listens there.
    pub listening: bool,
    /// The proxies it trusts.
    pub trusted_proxies: Vec<IpNet>,
    /// The addresses it connects from.
    pub sources: Sources,
    /// Its own device.
    pub delegate: DelegateLook,
    /// What the one that runs says; `None` where none runs.
    pub running: Option<Running>,
    /// Why the one that runs could not be asked.
    pub silent: Option<String>,
    /// What the operator allows.
    pub policy: Policy,
    /// How commands are given that mean it.
    pub invocation: Invocation,
}

/// The shim's own device, by its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DelegateLook {
    /// There is no key: the shim has never run with this data directory.
    Absent,
    /// It is out of use, as `scope-shim unpair` leaves it.
    Retired,
    /// The key cannot be used, and why.
    Unusable(String),
    /// The device of the key.
    Present(DeviceId),
}

impl Look {
    /// Looks at everything.
    pub async fn take(config: &Config, environment: &Environment) -> Self {
        let facts = &config.gateway.facts;
        let details = gateway::details(facts, environment);
        let reach = probe::reach(config).await;
        let shim = shim(config).await;
        let seen = reach.version().or_else(|| shim.told_version());
        let store = store::look(config, seen.as_ref().map(|(version, _)| *version)).await;
        let services = service::look(
            environment,
            config.gateway.state.as_deref(),
            &config.gateway.auth,
        );
        let processes = process::look(config, environment, &store);
        let installed = installed::version(environment);
        let claims = claims(&store, &services, &config.gateway.facts, installed);
        let version = Known::weigh(
            seen,
            reach.at_least(),
            reach
                .at_most()
                .or_else(|| store.latest_reader(reach.answers())),
            &claims,
        );
        let client = client::look(config.gateway.state.as_deref()).await;
        let mut secrets = details.secrets.clone();
        secrets.extend(services.secrets);
        secrets.extend(processes.iter().filter_map(GatewayProcess::place));
        secrets.extend(own_secret(config));
        Self {
            now_ms: clock::now_ms(),
            url: config.gateway.url.to_string(),
            configuration: configuration(config, &details),
            shim,
            notes: config.findings.clone(),
            platform: platform(),
            installed,
            reach,
            version,
            store,
            client,
            secrets,
            processes,
        }
    }

    /// Whether there was nothing at all to look at.
    #[must_use]
    pub fn is_blind(&self) -> bool {
        !self.reach.answers() && !self.store.is_readable()
    }

    /// What could not be looked at, and what that leaves open.
    #[must_use]
    pub fn blind_spots(&self) -> Vec<String> {
        let mut spots = Vec::new();
        if !self.reach.answers() {
            spots.push(
                "the gateway itself: it does not answer, so its version and clock are not seen"
                    .to_owned(),
            );
        }
        if !self.store.is_readable() {
            spots.push(
                "devices and requests: the store cannot be read, and opening a session to ask the gateway could pair one"
                    .to_owned(),
            );
        }
        if self.version.exact.is_none() {
            spots.push(format!(
                "the gateway's exact version ({}); a finding that depends on it is marked `possibly`",
                self.version.words()
            ));
        }
        if let Some(why) = &self.shim.silent {
            spots.push(format!("the shim that runs: {why}"));
        }
        if let Some(why) = &self.client.unreadable {
            spots.push(format!("this host's own device: {why}"));
        }
        spots
    }

    /// The delegate's device id, where it has a key.
    #[must_use]
    pub fn delegate(&self) -> Option<&DeviceId> {
        match &self.shim.delegate {
            DelegateLook::Present(device) => Some(device),
            DelegateLook::Absent | DelegateLook::Retired | DelegateLook::Unusable(_) => None,
        }
    }
}

/// The versions that files name: the database, the service, the configuration, by how far they can be relied on.
fn claims(
    store: &StoreLook,
    services: &service::Services,
    facts: &GatewayFacts,
    installed: Option<Version>,
) -> Vec<(Version, String)> {
    let touched = facts.last_touched.as_deref().and_then(Version::parse);
    [
        store
            .app_version
            .map(|version| (version, "the database".to_owned())),
        services.version.clone(),
        installed.map(|version| (version, ON_PATH.to_owned())),
        touched.map(|version| (version, LAST_TOUCHED.to_owned())),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn configuration(config: &Config, details: &Details) -> Configuration {
    let facts = &config.gateway.facts;
    Configuration {
        file: facts.config_file.clone(),
        port: facts.port,
        bind: details.bind.clone(),
        tls: facts.tls == Some(true),
        auth: config.gateway.auth.clone(),
        trusted_proxies: facts.trusted_proxies.clone(),
        allowed_origins: facts.allowed_origins.clone().unwrap_or_default(),
        host_origin_allowed: details.host_origin_allowed,
        auto_approve_local: facts.auto_approve_local != Some(false),
        last_touched: facts.last_touched.as_deref().and_then(Version::parse),
    }
}

impl Configuration {
    /// Whether there is a secret that everybody shares, as far as it is known here.
    #[must_use]
    pub const fn has_shared_secret(&self) -> bool {
        matches!(self.auth, GatewayAuth::Token(_) | GatewayAuth::Password(_))
    }
}

impl ShimLook {
    /// The version that the gateway has told the shim that runs.
    fn told_version(&self) -> Option<(Version, String)> {
        let running = self.running.as_ref()?;
        let version = running.gateway_version.filter(|_| running.state == "up")?;
        Some((version, "the running scope-shim".to_owned()))
    }
}

async fn shim(config: &Config) -> ShimLook {
    let delegate = match Delegate::load(&config.data) {
        Ok(Some(delegate)) => DelegateLook::Present(delegate.device_id()),
        Ok(None) if Delegate::is_retired_in(&config.data) => DelegateLook::Retired,
        Ok(None) => DelegateLook::Absent,
        Err(error) => DelegateLook::Unusable(error.to_string()),
    };
    let (running, silent) = match running::look(config).await {
        Ok(running) => (running, None),
        Err(why) => (None, Some(why)),
    };
    let said = running
        .as_ref()
        .and_then(|running| running.listen.as_deref());
    let listen = said
        .and_then(|listen| listen.parse().ok())
        .unwrap_or(config.listen);
    ShimLook {
        listen,
        listening: TcpStream::connect_timeout(&listen, PATIENCE).is_ok(),
        trusted_proxies: config.trusted_proxies.clone(),
        sources: config.gateway.sources.clone(),
        delegate,
        running,
        silent,
        policy: config.policy.clone(),
        invocation: config.invocation.clone().here(),
    }
}

/// The secret that the shim was given itself; one that it took from the gateway's files is there already.
fn own_secret(config: &Config) -> Option<Place> {
    let setting = config
        .settings
        .iter()
        .find(|setting| setting.key == "gateway.auth")?;
    if matches!(setting.origin, Origin::Discovery(_) | Origin::Default) {
        return None;
    }
    Some(Place {
        name: format!("the shim's own setting ({})", setting.origin),
        reader: Reader::Shim,
        secret: config.gateway.auth.secret()?.clone(),
    })
}

/// As Node's `process.platform` has it.
fn platform() -> &'static str {
    match std::env::consts::OS {
        "macos" => "darwin",
        "windows" => "win32",
        other => other,
    }
}

/// What tells the version of the installed command line.
pub(super) const ON_PATH: &str = "the openclaw on the PATH";
/// What tells the version of the command line that wrote the configuration.
pub(super) const LAST_TOUCHED: &str = "meta.lastTouchedVersion in openclaw.json";
/// How long something on this machine may take to accept a connection.
const PATIENCE: Duration = Duration::from_millis(500);
