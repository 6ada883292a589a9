//! Everything that stands before one gateway, put together from its configuration.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{Instrument as _, warn};

use super::{Circle, Failure, Shim};
use crate::approver;
use crate::audit::Audit;
use crate::breaker::{self, Breaker};
use crate::config::{Config, Mode, SessionLog, StoreKind};
use crate::control::{Control, ControlStore, Settings, Standing};
use crate::delegate::{Claim, Delegate};
use crate::delegation::Delegations;
use crate::dial::Dialer;
use crate::engine::{self, Engine, HostDevice, ModeSwitch, Rules};
use crate::explain::Traces;
use crate::gateway::GatewayAuth;
use crate::handshake::drive;
use crate::http::Front;
use crate::http::headers::Trust;
use crate::http::pacing::Pacing;
use crate::identity::store::{AutoStore, DeviceStore, JsonStore, LastGood, SqliteStore};
use crate::identity::watch::Watch;
use crate::identity::{CacheSettings, Resolver};
use crate::served::Served;
use crate::telemetry::{GatewayTelemetry, Telemetry};

/// All that can fail of what stands before one gateway, gathered; nothing of it runs yet.
pub(super) struct Parts {
    config: Config,
    mode: Arc<ModeSwitch>,
    settings: Settings,
    telemetry: GatewayTelemetry,
    breaker: Breaker,
}

impl Parts {
    /// Gathers them.
    ///
    /// # Errors
    ///
    /// When the delegate's key cannot be used.
    pub(super) fn gather(
        config: &Config,
        telemetry: &Telemetry,
        mode: Arc<ModeSwitch>,
    ) -> Result<Self, Failure> {
        Ok(Self {
            settings: Settings::with_delegate(config, Delegate::load_or_dream(&config.data)?)?,
            telemetry: telemetry.gateway(&config.name)?,
            breaker: Breaker::new()?,
            config: config.clone(),
            mode,
        })
    }

    /// Has the data directory hold what they need; nothing of it lasts before it is kept.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub(super) fn claim(&self) -> Result<Option<Claim>, Failure> {
        match self.mode.get() {
            // A shim that is off and has no device needs none: `unpair` leaves it so, for a restart and a reload, too.
            Mode::Off => Ok(None),
            Mode::On | Mode::Observe => Ok(Some(self.settings.delegate.claim()?)),
        }
    }

    /// A gateway that the shim did not stand before until now.
    pub(super) fn start_anew(self, shim: &Shim) -> Arc<Served> {
        let name = self.config.name.clone();
        Arc::new(Served::new(name, self.start(shim, None)))
    }

    /// Puts them together, and starts what runs beside the sessions. `traces` are those of an engine before this one,
    /// where there was one.
    pub(super) fn start(self, shim: &Shim, traces: Option<Traces>) -> Front {
        let Self {
            config,
            mode,
            settings,
            telemetry,
            breaker,
        } = self;
        let span = crate::log::span(&config);
        // What is started here and names no span of its own takes this one.
        let _entered = span.enter();
        let (dialer, delegate) = (Arc::clone(&settings.dialer), Arc::clone(&settings.delegate));
        let control = Control::start(settings);
        let mut beside = JoinSet::new();
        let store = store(&config, &control, &mut beside);
        let longest = match store.is_asked() {
            true => ASK,
            false => Duration::MAX,
        };
        let cache = CacheSettings {
            ttl: config.cache.ttl.min(longest),
            negative_ttl: config.cache.negative_ttl.min(longest),
            capacity: config.cache.capacity as u64,
        };
        let resolver = Resolver::new(store, cache).counted(telemetry.lookups());
        let kept = || traces.unwrap_or_else(|| Traces::start(&config.data));
        let engine = Arc::new(Engine {
            mode,
            rules: ArcSwap::from_pointee(rules(&config)),
            audit: Audit::new(&config.data),
            resolver,
            host: HostDevice::new(config.gateway.state.clone()),
            delegate,
            control,
            delegations: Arc::new(Delegations::default()),
            traces: (config.log.sessions == SessionLog::On).then(kept),
            newcomers: std::sync::Mutex::default(),
            breaker,
            telemetry,
        });
        beside.spawn(breaker::forget_when_changed(Arc::clone(&engine)).in_current_span());
        let watch = Watch::start(engine.resolver.clone());
        beside.spawn(police(Arc::clone(&engine), watch).in_current_span());
        // A shim that ends, or whose place another has taken, approves nothing by itself any more.
        let approve = approver::run(Arc::clone(&engine)).in_current_span();
        let stop = shim.stop.clone();
        beside.spawn(async move {
            stop.run_until_cancelled(approve).await;
        });
        // Followed from here on: the switch may come before the task has its first turn.
        let modes = engine.mode.changes();
        beside.spawn(resume_when_switched_on(Arc::clone(&engine), modes).in_current_span());
        let sessions = shim.sessions.circle();
        let over = sessions.over();
        tokio::spawn(async move {
            over.await;
            drop(beside);
        });
        let pacing = Arc::new(Pacing::new(config.limits.gateway_handshakes));
        before(&config, engine, dialer, pacing, sessions)
    }
}

/// The same engine, for sessions that are let in by another configuration.
pub(super) fn around(config: &Config, old: &Config, front: &Front) -> Front {
    let same = config.limits.gateway_handshakes == old.limits.gateway_handshakes;
    let pacing = if same {
        Arc::clone(&front.pacing)
    } else {
        Arc::new(Pacing::new(config.limits.gateway_handshakes))
    };
    before(
        config,
        Arc::clone(&front.engine),
        Arc::clone(&front.dialer),
        pacing,
        front.sessions.clone(),
    )
}

fn before(
    config: &Config,
    engine: Arc<Engine>,
    dialer: Arc<Dialer>,
    pacing: Arc<Pacing>,
    sessions: Circle,
) -> Front {
    Front {
        engine,
        dialer,
        trust: trust(config),
        pacing,
        limits: drive::Limits {
            connect_frame: config.limits.connect_frame_bytes,
            timeout: config.limits.handshake_timeout,
        },
        idle: config.limits.idle_timeout,
        span: crate::log::span(config),
        sessions,
    }
}

/// What is believed of a client.
fn trust(config: &Config) -> Trust {
    // A secret that the shim was given does not change how the gateway takes its users.
    let gateway = &config.gateway;
    let said = [&gateway.auth, &gateway.facts.auth];
    let auth = said.into_iter().find(|auth| auth.takes_users());
    let (user_header, required_headers) = match auth.unwrap_or(&gateway.auth) {
        GatewayAuth::TrustedProxy {
            user_header,
            required_headers,
            ..
        } => (Some(user_header.clone()), required_headers.clone()),
        _ => (None, Vec::new()),
    };
    Trust {
        proxies: config.trusted_proxies.clone(),
        user_header,
        required_headers,
        proxy_protocol: config.proxy_protocol,
    }
}

/// What of a configuration holds for sessions under way, too.
pub(super) fn rules(config: &Config) -> Rules {
    Rules {
        policy: config.policy.clone(),
        auth: config.gateway.auth.clone(),
        facts: config.gateway.facts.clone(),
        invocation: config.invocation.clone(),
    }
}

/// Lets other rules hold: for the next session, for those whose delegation they no longer cover, and for the shim's own.
pub(super) async fn govern(engine: &Engine, rules: Rules) {
    engine
        .control
        .set_secret(engine::shared_secret(&rules.auth));
    engine.rules.store(Arc::new(rules));
    engine.breaker.forget_all().await;
    engine.review().await;
}

/// Whenever pairing has changed, delegated sessions have to stand up to it. Where there are no files to be watched, the
/// gateway is asked for as long as there are any: it does not tell of everything.
async fn police(engine: Arc<Engine>, _watch: Watch) {
    let mut changes = engine.resolver.changes();
    let mut events = engine.control.pairing_changes();
    let is_asked = engine.resolver.store().is_asked();
    let mut looks = interval(ASK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    engine.review().await;
    loop {
        tokio::select! {
            _ = looks.tick(), if is_asked => {
                if !engine.delegations.is_empty() {
                    engine.resolver.refresh().await;
                }
            }
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

/// A delegate that `scope-shim unpair` took out of use comes back when somebody switches the shim on again.
async fn resume_when_switched_on(engine: Arc<Engine>, mut modes: watch::Receiver<Mode>) {
    while modes.changed().await.is_ok() {
        if *modes.borrow_and_update() != Mode::Off {
            engine.control.resume();
        }
    }
}

/// Where device records are read: the gateway's files where they can be, else the gateway itself.
fn store(config: &Config, control: &Control, beside: &mut JoinSet<()>) -> Arc<dyn DeviceStore> {
    let gateway: Arc<dyn DeviceStore> = Arc::new(ControlStore::new(control.clone()));
    let Some(state) = &config.gateway.state else {
        return gateway;
    };
    if config.gateway.store == StoreKind::Auto
        && let Err(error) = fs::read_dir(state)
    {
        warn!(
            "{}: {error}; the gateway is asked for its devices instead, and those that come with a token of their own are \
             left to it",
            state.display()
        );
        return gateway;
    }
    let ttl = config.cache.ttl;
    match config.gateway.store {
        StoreKind::Auto => {
            let store = Arc::new(LastGood::new(AutoStore::new(state), gateway, ttl));
            beside.spawn(tell_version(Arc::clone(&store), control.watch()).in_current_span());
            store
        }
        StoreKind::Json => Arc::new(LastGood::new(JsonStore::new(state), gateway, ttl)),
        StoreKind::Sqlite => Arc::new(LastGood::new(SqliteStore::new(state), gateway, ttl)),
        StoreKind::Control => gateway,
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

/// How often a gateway is asked who is paired, whose files nobody reads: a session ends within a second of a removal.
const ASK: Duration = Duration::from_millis(500);
