//! From a configuration to a running shim.

use std::error::Error;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::approver;
use crate::audit::Audit;
use crate::breaker::{self, Breaker};
use crate::config::{Config, SessionLog, StoreKind};
use crate::control::{Control, ControlStore, Settings, Standing};
use crate::delegation::Delegations;
use crate::engine::{Engine, HostDevice, ModeSwitch};
use crate::explain::Traces;
use crate::gateway::GatewayAuth;
use crate::handshake::drive;
use crate::http::Front;
use crate::http::headers::Trust;
use crate::http::pacing::Pacing;
use crate::identity::store::{AutoStore, DeviceStore, JsonStore, LastGood, SqliteStore};
use crate::identity::watch::Watch;
use crate::identity::{CacheSettings, Resolver};
use crate::listen;

/// What ends a run.
pub type Failure = Box<dyn Error + Send + Sync>;

/// Listens where the configuration says and runs until the process is told to stop.
///
/// # Errors
///
/// When the port cannot be bound or the delegate's key cannot be used.
pub async fn run(config: Config) -> Result<(), Failure> {
    let listener = listen::bind(config.listen)
        .await
        .map_err(|error| format!("cannot listen on {}: {error}", config.listen))?;
    serve(config, listener, stop_signal()).await
}

/// Runs on a listener that is already bound, until `shutdown` completes.
///
/// # Errors
///
/// When the delegate's key cannot be used.
pub async fn serve(
    config: Config,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Failure> {
    let front = Arc::new(assemble(&config)?);
    let stop = CancellationToken::new();
    let limits = listen::Limits {
        connections: config.limits.connections,
        header_bytes: config.limits.header_bytes,
        header_timeout: config.limits.header_timeout,
    };
    info!(
        gateway = %front.dialer.gateway.authority(),
        store = %front.engine.resolver.store().describe(),
        mode = config.mode.as_str(),
        "listening on {}",
        listener.local_addr()?
    );
    let serving = tokio::spawn(listen::serve(
        listener,
        Arc::clone(&front),
        limits,
        stop.clone(),
    ));
    shutdown.await;
    stop.cancel();
    serving.await?;
    drain(&front.sessions).await;
    Ok(())
}

/// Lets the sessions under way end by themselves, for a while.
async fn drain(sessions: &TaskTracker) {
    sessions.close();
    if !sessions.is_empty() {
        info!(
            sessions = sessions.len(),
            "stopped listening; waiting up to {DRAIN:?} for live sessions"
        );
    }
    if tokio::time::timeout(DRAIN, sessions.wait()).await.is_err() {
        warn!(
            sessions = sessions.len(),
            "closing the sessions that are left"
        );
    }
}

fn assemble(config: &Config) -> Result<Front, Failure> {
    let settings = Settings::from_config(config)?;
    let (dialer, delegate) = (Arc::clone(&settings.dialer), Arc::clone(&settings.delegate));
    let control = Control::start(settings);
    let resolver = Resolver::new(
        store(config, &control),
        CacheSettings {
            ttl: config.cache.ttl,
            negative_ttl: config.cache.negative_ttl,
            capacity: config.cache.capacity as u64,
        },
    );
    let engine = Arc::new(Engine {
        mode: ModeSwitch::new(config.mode),
        policy: config.policy.clone(),
        audit: Audit::new(&config.data),
        auth: config.gateway.auth.clone(),
        facts: config.gateway.facts.clone(),
        resolver,
        host: HostDevice::new(config.gateway.state.clone()),
        delegate,
        control,
        delegations: Arc::new(Delegations::default()),
        traces: (config.log.sessions == SessionLog::On).then(|| Traces::start(&config.data)),
        newcomers: std::sync::Mutex::default(),
        breaker: Breaker::new()?,
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
        sessions: TaskTracker::new(),
    })
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

async fn stop_signal() {
    let interrupt = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => tokio::select! {
                () = interrupt => {}
                _ = terminate.recv() => {}
            },
            Err(_) => interrupt.await,
        }
    }
    #[cfg(not(unix))]
    interrupt.await;
}

/// How long sessions may go on after the shim was told to stop.
const DRAIN: Duration = Duration::from_secs(5);
