//! A simulated OpenClaw gateway: for `scope-shim demo`, and for tests that must not need Node.
//!
//! It behaves like one of four published versions ([`Profile`]), in everything a proxy in front of it
//! can notice: the handshake and its refusals word for word, pairing and its store on disk, device
//! tokens, where a client counts as local, the methods that manage pairing, close codes, limits. What
//! it does is held to the real gateways by one table of scenarios that runs against both.
//!
//! It also remembers every handshake byte for byte ([`SimulatedGateway::connects`]), so that a test
//! can tell "passed through" from "rewritten".

mod auth;
mod claims;
mod connection;
mod frames;
mod handshake;
mod hello;
mod host;
mod http;
mod locality;
mod methods;
mod pairing;
mod profile;
mod proof;
mod random;
mod records;
mod refusal;
mod schema;
mod scopes;
mod session;
mod socket;
mod store;
mod world;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::time::{Instant, interval_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use profile::Profile;

use auth::Mode;
use handshake::Policy;
use records::{Paired, State};
use store::Store;
use world::World;

/// How a simulated gateway is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which version it behaves like.
    pub profile: Profile,
    /// Its state directory; created if it is not there.
    pub state_dir: PathBuf,
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The shared token (`gateway.auth.mode: token`).
    pub token: Option<String>,
    /// The shared password (`gateway.auth.mode: password`); used when there is no token. With
    /// neither, the mode is `none`.
    pub password: Option<String>,
    /// `gateway.trustedProxies`: addresses and networks.
    pub trusted_proxies: Vec<String>,
    /// `gateway.controlUi.allowedOrigins`.
    pub allowed_origins: Vec<String>,
    /// `gateway.nodes.pairing.autoApproveLocal`, known to 2026.8 and later.
    pub auto_approve_local: bool,
    /// Whether the host has a device of its own, as after the first use of the CLI:
    /// `identity/device.json`, or a row in `device_identities` in 2026.8 and later.
    pub host_device: bool,
    /// A version to announce instead of the profile's own, as a gateway does that was changed since.
    pub announced_version: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            profile: Profile::Latest,
            state_dir: PathBuf::new(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            token: Some("simulated-token".to_owned()),
            password: None,
            trusted_proxies: Vec::new(),
            allowed_origins: Vec::new(),
            auto_approve_local: true,
            host_device: false,
            announced_version: None,
        }
    }
}

/// One handshake, as the gateway saw it.
#[derive(Clone, Debug, PartialEq)]
pub struct Connect {
    /// The address the connection came from.
    pub peer: SocketAddr,
    /// The request target of the upgrade, with its query.
    pub target: String,
    /// The upgrade's headers, in order, with the names as they were written.
    pub headers: Vec<(String, String)>,
    /// The first message, unmasked; empty if none came.
    pub frame: Vec<u8>,
    /// The frames of that message as they were on the wire: headers, masks, masked payload.
    pub raw: Vec<u8>,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// `hello-ok` was sent.
    Admitted {
        /// The session's scopes.
        scopes: Vec<String>,
        /// By what it was let in: `token`, `password`, `device-token` or `none`.
        method: String,
    },
    /// An error was sent, and the socket closed.
    Refused {
        /// `error.code`.
        code: String,
        /// `error.details.code`.
        detail: Option<String>,
        /// `error.message`.
        message: String,
    },
    /// The upgrade was refused with this HTTP status.
    HttpRefused(u16),
    /// Closed without an answer.
    Closed {
        /// The close code.
        code: u16,
        /// The close reason.
        reason: String,
    },
    /// The client left before it had said anything.
    Abandoned,
}

/// A running simulated gateway. Dropping it stops it, without waiting.
pub struct SimulatedGateway {
    options: Options,
    addr: SocketAddr,
    world: Arc<World>,
    running: Mutex<Running>,
}

struct Running {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl SimulatedGateway {
    /// Writes the state directory's files, listens, and serves.
    ///
    /// # Errors
    /// When the address cannot be bound or the state directory cannot be written.
    pub async fn start(options: Options) -> io::Result<Self> {
        std::fs::create_dir_all(&options.state_dir)?;
        let store = Store::open(options.profile, &options.state_dir)?;
        let mode = match (&options.token, &options.password) {
            (Some(token), _) => Mode::Token(token.clone()),
            (None, Some(password)) => Mode::Password(password.clone()),
            (None, None) => Mode::None,
        };
        let policy = Policy {
            profile: options.profile,
            mode,
            allowed_origins: options.allowed_origins.clone(),
            auto_approve_local: options.auto_approve_local,
            announced: options.announced_version.clone(),
        };
        let proxies = options.trusted_proxies.clone();
        let world = Arc::new(World::new(
            policy,
            proxies,
            options.state_dir.clone(),
            store,
        ));
        if options.host_device {
            host::create_identity(&world)?;
        }
        let listener = TcpListener::bind(options.listen).await?;
        let addr = listener.local_addr()?;
        host::write_config(&options, addr)?;
        let running = Mutex::new(Running::serve(Arc::clone(&world), listener));
        Ok(Self {
            options,
            addr,
            world,
            running,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The shared token, if that is how clients authenticate.
    #[must_use]
    pub fn token(&self) -> Option<&str> {
        self.options.token.as_deref()
    }

    /// The gateway's state directory.
    #[must_use]
    pub fn state_dir(&self) -> &Path {
        &self.options.state_dir
    }

    /// Which version it behaves like.
    #[must_use]
    pub fn profile(&self) -> Profile {
        self.options.profile
    }

    /// Every handshake so far, in the order they ended.
    #[must_use]
    pub fn connects(&self) -> Vec<Connect> {
        self.world.connects()
    }

    /// The pairing requests that wait, by request id.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn pending(&self) -> io::Result<Value> {
        self.world
            .with_state(|state| Ok(serde_json::to_value(&state.pending)?))
    }

    /// The paired devices with everything the store holds, secrets included, by device id.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn paired(&self) -> io::Result<Value> {
        self.world
            .with_state(|state| Ok(serde_json::to_value(&state.paired)?))
    }

    /// Writes the record of a paired operator device and returns its device token.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn pair(
        &self,
        device_id: &str,
        public_key: &str,
        scopes: &[&str],
        platform: Option<&str>,
    ) -> io::Result<String> {
        let now = world::now_ms();
        let profile = self.options.profile;
        let scopes: Vec<String> = scopes.iter().map(|&scope| scope.to_owned()).collect();
        let token_scopes = scopes::normalize(profile, &scopes);
        let token = State::first_token(scopes::OPERATOR, token_scopes, now)?;
        let secret = token.token.clone();
        let record = Paired {
            device_id: device_id.to_owned(),
            public_key: public_key.to_owned(),
            platform: platform.map(str::to_owned),
            client_id: Some("cli".to_owned()),
            client_mode: Some("cli".to_owned()),
            role: Some(scopes::OPERATOR.to_owned()),
            roles: Some(vec![scopes::OPERATOR.to_owned()]),
            scopes: Some(scopes.clone()),
            approved_scopes: (profile != Profile::Literal).then_some(scopes),
            tokens: [(scopes::OPERATOR.to_owned(), token)].into(),
            approved_via: (profile == Profile::Latest).then(|| "owner".to_owned()),
            created_at_ms: now,
            approved_at_ms: now,
            ..Paired::default()
        };
        self.world.with_state(|state| {
            state.paired.insert(record.device_id.clone(), record);
            Ok(())
        })?;
        Ok(secret)
    }

    /// Lets `GET /v1/stream?gated` send one more chunk.
    pub fn release_chunk(&self) {
        self.world.chunks.add_permits(1);
    }

    /// Stops listening, closes every session with 1012, and waits until all is quiet.
    pub async fn stop(&self) {
        self.running.lock().await.finish().await;
    }

    /// Stops, and starts again on the same port with the same state.
    ///
    /// # Errors
    /// When the port has been taken meanwhile.
    pub async fn restart(&self) -> io::Result<()> {
        let mut running = self.running.lock().await;
        running.finish().await;
        let listener = TcpListener::bind(self.addr).await?;
        *running = Running::serve(Arc::clone(&self.world), listener);
        Ok(())
    }
}

impl Drop for SimulatedGateway {
    fn drop(&mut self) {
        self.running.get_mut().stop.cancel();
    }
}

impl Running {
    fn serve(world: Arc<World>, listener: TcpListener) -> Self {
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let (token, tracker) = (stop.clone(), tasks.clone());
        tasks.spawn(async move {
            let mut ticks = interval_at(Instant::now() + TICK, TICK);
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    _ = ticks.tick() => {
                        world.tick();
                        continue;
                    }
                    () = token.cancelled() => return,
                };
                match accepted {
                    Ok((stream, peer)) => {
                        let connection =
                            connection::serve(Arc::clone(&world), stream, peer, token.clone());
                        tracker.spawn(connection);
                    }
                    // Out of file descriptors, most likely: give connections time to end.
                    Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
                }
            }
        });
        Self { stop, tasks }
    }

    async fn finish(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// What `hello-ok` promises as `policy.tickIntervalMs`.
const TICK: Duration = Duration::from_secs(30);
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
