//! Everything that stands before one gateway, put together from its configuration.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::{Failure, Shim};
use crate::approver;
use crate::audit::Audit;
use crate::breaker::{self, Breaker};
use crate::config::{Config, SessionLog, StoreKind};
use crate::control::{Control, ControlStore, Settings, Standing};
use crate::delegation::Delegations;
use crate::engine::{Engine, HostDevice, ModeSwitch, Rules};
use crate::explain::Traces;
use crate::gateway::GatewayAuth;
use crate::handshake::drive;
use crate::http::Front;
use crate::http::headers::Trust;
use crate::http::pacing::Pacing;
use crate::identity::store::{AutoStore, DeviceStore, JsonStore, LastGood, SqliteStore};
use crate::identity::watch::Watch;
use crate::identity::{CacheSettings, Resolver};

/// Puts together what stands before one gateway, and starts what runs beside its sessions.
///
/// # Errors
///
/// When the delegate's key cannot be used.
pub(super) fn front(config: &Config, shim: &Shim) -> Result<Front, Failure> {
    let settings = Settings::from_config(config)?;
    let (dialer, delegate) = (Arc::clone(&settings.dialer), Arc::clone(&settings.delegate));
    let telemetry = shim.telemetry.gateway(&config.name)?;
    let control = Control::start(settings);
    let resolver = Resolver::new(
        store(config, &control),
        CacheSettings {
            ttl: config.cache.ttl,
            negative_ttl: config.cache.negative_ttl,
            capacity: config.cache.capacity as u64,
        },
    )
    .counted(telemetry.lookups());
    let engine = Arc::new(Engine {
        mode: Arc::new(ModeSwitch::new(config.mode)),
        rules: ArcSwap::from_pointee(rules(config)),
        audit: Audit::new(&config.data),
        resolver,
        host: HostDevice::new(config.gateway.state.clone()),
        delegate,
        control,
        delegations: Arc::new(Delegations::default()),
        traces: (config.log.sessions == SessionLog::On).then(|| Traces::start(&config.data)),
        newcomers: std::sync::Mutex::default(),
        breaker: Breaker::new()?,
        telemetry,
    });
    tokio::spawn(breaker::forget_when_changed(Arc::clone(&engine)));
    let watch = Watch::start(engine.resolver.clone());
    tokio::spawn(police(Arc::clone(&engine), watch));
    tokio::spawn(approver::run(Arc::clone(&engine)));
    Ok(Front {
        engine,
        dialer,
        trust: Trust {
            proxies: config.trusted_proxies.clone(),
            user_header: match &config.gateway.auth {
                GatewayAuth::TrustedProxy { user_header } => Some(user_header.clone()),
                _ => None,
            },
        },
        pacing: Arc::new(Pacing::new(config.limits.gateway_handshakes)),
        limits: drive::Limits {
            connect_frame: config.limits.connect_frame_bytes,
            timeout: config.limits.handshake_timeout,
        },
        idle: config.limits.idle_timeout,
        sessions: shim.sessions.clone(),
    })
}

fn rules(config: &Config) -> Rules {
    Rules {
        policy: config.policy.clone(),
        auth: config.gateway.auth.clone(),
        facts: config.gateway.facts.clone(),
    }
}

/// Whenever pairing has changed, delegated sessions have to stand up to it.
async fn police(engine: Arc<Engine>, _watch: Watch) {
    let mut changes = engine.resolver.changes();
    let mut events = engine.control.pairing_changes();
    engine.review().await;
    loop {
        tokio::select! {
            changed = changes.changed() => match changed {
                Ok(()) => engine.review().await,
                Err(_) => return,
            },
            heard = events.changed() => match heard {
                Ok(()) => engine.resolver.invalidate(),
                Err(_) => return,
            },
        }
    }
}

/// Where device records are read: the gateway's files where they can be, else the gateway itself.
fn store(config: &Config, control: &Control) -> Arc<dyn DeviceStore> {
    let Some(state) = &config.gateway.state else {
        return Arc::new(ControlStore::new(control.clone()));
    };
    match config.gateway.store {
        StoreKind::Auto => {
            let store = Arc::new(LastGood::new(AutoStore::new(state), config.cache.ttl));
            tokio::spawn(tell_version(Arc::clone(&store), control.watch()));
            store
        }
        StoreKind::Json => Arc::new(LastGood::new(JsonStore::new(state), config.cache.ttl)),
        StoreKind::Sqlite => Arc::new(LastGood::new(SqliteStore::new(state), config.cache.ttl)),
        StoreKind::Control => Arc::new(ControlStore::new(control.clone())),
    }
}

/// A state directory may hold the files of an older and the database of a newer gateway; the version tells which one
/// is alive.
async fn tell_version(store: Arc<LastGood<AutoStore>>, mut standing: watch::Receiver<Standing>) {
    loop {
        let version = standing.borrow_and_update().profile.version;
        store
            .store()
            .set_gateway_version(version.map(|version| version.to_string()).as_deref());
        if standing.changed().await.is_err() {
            return;
        }
    }
}
