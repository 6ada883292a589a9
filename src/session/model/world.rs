//! A shim, a client's device and a gateway's kind: what a session meets.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use http_body_util::Empty;
use hyper::Request;
use hyper::header::UPGRADE;
use serde_json::json;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::audit::Audit;
use crate::breaker::Breaker;
use crate::clock;
use crate::config::{GatewayUrl, Mode, Policy};
use crate::control::{Control, Link, Settings, Standing};
use crate::delegate::Delegate;
use crate::delegation::Delegations;
use crate::dial::{Dialer, Failures, Redial, Side};
use crate::engine::{Engine, HostDevice, ModeSwitch, Rules, Visit};
use crate::fixture;
use crate::gateway::{GatewayAuth, GatewayFacts};
use crate::handshake::drive::Limits;
use crate::handshake::message;
use crate::http::pacing::Pacing;
use crate::identity::store::{BoxFuture, DeviceStore, Snapshot, StoreError};
use crate::identity::{CacheSettings, Circumstances, Resolver};
use crate::invocation::Invocation;
use crate::profile::{Profile, Version};
use crate::relay::Wire;
use crate::rewrite;
use crate::scope::{ADMIN, ALL, READ};
use crate::secret::Secret;
use crate::session::Session;
use crate::telemetry::Telemetry;

/// The nonce of the gateway's challenge.
pub(super) const NONCE: &str = "first";
/// How long the handshake may take.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);

/// What all paths of one exploration share.
pub(super) struct World {
    pub(super) engine: Arc<Engine>,
    /// The client's own request.
    pub(super) connect: String,
    pub(super) kind: Kind,
    _data: TempDir,
}

/// What becomes of the client's request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The delegate asks in its place.
    Delegated,
    /// It goes on, is refused, and the delegate asks on a connection of its own.
    Healed,
    /// It goes on, and what comes back is explained where it is a refusal.
    Told,
    /// It goes on, and so does all else.
    Untouched,
}

impl World {
    /// An admin asks a gateway that compares literally for less.
    pub(super) fn delegated() -> Self {
        Self::new(Kind::Delegated, Mode::On, Profile::default(), true)
    }

    /// The same asks one that is thought to know what an admin is, and does not.
    pub(super) fn healed() -> Self {
        let profile = Profile::of_version(Version::v2026(9, 6));
        Self::new(Kind::Healed, Mode::On, profile, true)
    }

    /// A device that nobody has paired.
    pub(super) fn refused() -> Self {
        Self::new(Kind::Told, Mode::On, Profile::default(), false)
    }

    pub(super) fn off() -> Self {
        Self::new(Kind::Untouched, Mode::Off, Profile::default(), true)
    }

    pub(super) fn observing() -> Self {
        Self::new(Kind::Untouched, Mode::Observe, Profile::default(), true)
    }

    fn new(kind: Kind, mode: Mode, profile: Profile, paired: bool) -> Self {
        let data = tempfile::tempdir().unwrap();
        let device = Delegate::load_or_create(&data.path().join("client")).unwrap();
        let (connect, snapshot) = client(&device, paired);
        Self {
            engine: engine(&data, mode, profile, snapshot),
            connect,
            kind,
            _data: data,
        }
    }

    /// A session whose next connection to the gateway is this one.
    pub(super) fn session(&self, fresh: Wire) -> Session {
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let request = Request::builder().header(UPGRADE, "websocket");
        let request = request.body(Empty::new()).unwrap();
        Session {
            engine: Arc::clone(&self.engine),
            visit: Visit {
                circumstances: Circumstances {
                    direct_local: true,
                    has_origin: false,
                },
                user: None,
                cap: None,
                origin: None,
                host: None,
            },
            client_address: address,
            decisive: Vec::new(),
            trace: OnceLock::new(),
            before: OnceLock::new(),
            redial: Redial {
                dialer: Arc::new(nowhere()),
                side: Side::Local,
                request,
                patience: TIMEOUT,
                rehearsed: Some(Arc::new(Mutex::new(Some(fresh)))),
            },
            pacing: Arc::new(Pacing::new(1)),
            limits: Limits {
                connect_frame: 4096,
                timeout: TIMEOUT,
            },
            idle: None,
            attempt: OnceLock::new(),
            row: self.engine.telemetry.enter(address),
            ending: CancellationToken::new(),
        }
    }
}

/// What a device asks for, and the store in which it is an admin, or is not.
fn client(device: &Delegate, paired: bool) -> (String, Snapshot) {
    let mut message = json!({"type": "req", "id": "c1", "method": "connect", "params": {
        "minProtocol": 3, "maxProtocol": 3, "role": "operator", "scopes": [READ], "auth": {"token": "shared"},
        "client": {"id": "cli", "version": "1", "platform": "linux", "mode": "cli"}}});
    let claims = message::Connect::parse(message.to_string().as_bytes())
        .unwrap()
        .claims;
    let proof = device.prove(&claims, NONCE, clock::now_ms());
    message["params"]["device"] = rewrite::device_json(&proof);
    let mut snapshot = Snapshot::default();
    if paired {
        let record = fixture::record(&proof.id, &proof.public_key, &[ADMIN]);
        snapshot
            .devices
            .insert(record.device_id.clone(), Arc::new(record));
    }
    (message.to_string(), snapshot)
}

fn engine(data: &TempDir, mode: Mode, profile: Profile, snapshot: Snapshot) -> Arc<Engine> {
    let delegate = Arc::new(Delegate::load_or_create(data.path()).unwrap());
    let settings = Settings {
        dialer: Arc::new(nowhere()),
        delegate: Arc::clone(&delegate),
        secret: Arc::new(ArcSwapOption::empty()),
        user: None,
    };
    let standing = Standing {
        profile: Arc::new(profile),
        delegate_scopes: Some(Arc::new(ALL.into_iter().collect())),
        link: Link::Down("nobody is called".to_owned()),
    };
    let store = Arc::new(Fixed(Arc::new(snapshot)));
    Arc::new(Engine {
        mode: Arc::new(ModeSwitch::new(mode)),
        rules: ArcSwap::from_pointee(Rules {
            policy: Policy::default(),
            auth: GatewayAuth::Token(Secret::new("shared")),
            facts: GatewayFacts::default(),
            invocation: Invocation::default(),
        }),
        audit: Audit::new(data.path()),
        resolver: Resolver::new(store, CacheSettings::default()),
        host: HostDevice::new(None),
        delegate,
        control: Control::standing_still(settings, standing),
        delegations: Arc::new(Delegations::default()),
        traces: None,
        newcomers: Mutex::default(),
        breaker: Breaker::new().unwrap(),
        telemetry: Telemetry::new().unwrap().gateway("g").unwrap(),
    })
}

/// A store that never changes.
struct Fixed(Arc<Snapshot>);

impl DeviceStore for Fixed {
    fn snapshot(&self) -> BoxFuture<'_, Result<Arc<Snapshot>, StoreError>> {
        Box::pin(async { Ok(Arc::clone(&self.0)) })
    }

    fn describe(&self) -> String {
        "a store that never changes".to_owned()
    }

    fn watched(&self) -> Vec<PathBuf> {
        Vec::new()
    }
}

fn nowhere() -> Dialer {
    Dialer {
        gateway: GatewayUrl::parse("ws://127.0.0.1:1").unwrap(),
        local_source: None,
        remote_source: None,
        connect_timeout: TIMEOUT,
        tls: None,
        failures: Failures::default(),
    }
}
