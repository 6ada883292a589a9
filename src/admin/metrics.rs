//! The metrics, in the text format 0.0.4 of Prometheus: what was counted, and how things stand at this moment.

use futures_util::future::try_join_all;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use prometheus::core::Collector;
use prometheus::{
    Gauge, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};
use tokio::time::timeout;

use super::ready::Ready;
use super::route::{Refused, respond};
use super::status::STORE_PATIENCE;
use crate::app::{History, Shim};
use crate::control::Link;
use crate::http::Body;
use crate::http::respond::full;
use crate::relay::RelayStats;
use crate::served::Served;

/// Answers `/metrics`.
pub(super) async fn answer(shim: &Shim) -> Response<Body> {
    match page(shim).await {
        Ok(text) => {
            let mut response = Response::new(full(text));
            let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
            response.headers_mut().insert(CONTENT_TYPE, kind);
            response
        }
        Err(error) => respond(Err(Refused {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            kind: "internal",
            message: error.to_string(),
        })),
    }
}

async fn page(shim: &Shim) -> Result<String, prometheus::Error> {
    let now = Now::new()?;
    now.look(shim).await?;
    let mut families = shim.telemetry.meters().gather();
    families.extend(now.registry.gather());
    TextEncoder::new().encode_to_string(&families)
}

/// How things stand: made anew for each scrape, so that nothing is left of what no longer is.
struct Now {
    registry: Registry,
    draining: IntGauge,
    reloads: IntCounterVec,
    reloaded: IntGauge,
    reloaded_at: Gauge,
    waiting: IntGauge,
    link: IntGaugeVec,
    info: IntGaugeVec,
    ready: IntGaugeVec,
    mode: IntGaugeVec,
    delegate: IntGaugeVec,
    store: IntGaugeVec,
    devices: IntGaugeVec,
    pending: IntGaugeVec,
    sessions: IntGaugeVec,
    bytes: IntCounterVec,
    dial_errors: IntCounterVec,
    dropped_traces: IntCounterVec,
    dropped_lines: IntCounter,
}

impl Now {
    fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let gauge = |name: &str, help: &str, labels: &[&str]| {
            enter(&registry, IntGaugeVec::new(Opts::new(name, help), labels)?)
        };
        let counter = |name: &str, help: &str, labels: &[&str]| {
            enter(
                &registry,
                IntCounterVec::new(Opts::new(name, help), labels)?,
            )
        };
        let plain = |name: &str, help: &str| enter(&registry, IntGauge::new(name, help)?);
        Ok(Self {
            draining: plain(
                "scope_shim_draining",
                "Whether the shim was told to stop and waits for its last sessions.",
            )?,
            reloads: counter(
                "scope_shim_reloads_total",
                "Times that the configuration was read again: taken whole, incomplete (but for keys that need a \
                 restart), or refused.",
                &["result"],
            )?,
            reloaded: plain(
                "scope_shim_config_last_reload_successful",
                "Whether the configuration was taken when it was last read.",
            )?,
            reloaded_at: enter(
                &registry,
                Gauge::new(
                    "scope_shim_config_last_reload_success_timestamp_seconds",
                    "When a configuration was last taken, in seconds since the epoch.",
                )?,
            )?,
            waiting: plain(
                "scope_shim_config_keys_awaiting_restart",
                "Keys of the configuration whose new values do not hold before a restart.",
            )?,
            link: gauge(
                "scope_shim_gateway_link",
                "The state of the shim's own session with the gateway; the current one is 1.",
                &["gateway", "state"],
            )?,
            info: gauge(
                "scope_shim_gateway_info",
                "The version that the gateway says, or unknown; always 1.",
                &["gateway", "version"],
            )?,
            ready: gauge(
                "scope_shim_ready",
                "Whether a handshake could be served now.",
                &["gateway"],
            )?,
            mode: gauge(
                "scope_shim_mode",
                "What the shim does with handshakes; the current mode is 1.",
                &["gateway", "mode"],
            )?,
            delegate: gauge(
                "scope_shim_delegate_paired",
                "Whether the shim's own device is paired with the gateway.",
                &["gateway"],
            )?,
            store: gauge(
                "scope_shim_store_readable",
                "Whether the pairing store can be read.",
                &["gateway"],
            )?,
            devices: gauge(
                "scope_shim_paired_devices",
                "Devices in the pairing store.",
                &["gateway"],
            )?,
            pending: gauge(
                "scope_shim_pending_requests",
                "Pairing requests that wait for somebody.",
                &["gateway"],
            )?,
            sessions: gauge("scope_shim_sessions", "Sessions that run.", &["gateway"])?,
            bytes: counter(
                "scope_shim_bytes_total",
                "Bytes that went through sessions after their handshakes.",
                &["gateway", "direction"],
            )?,
            dial_errors: counter(
                "scope_shim_dial_errors_total",
                "Attempts to connect to the gateway that failed.",
                &["gateway"],
            )?,
            dropped_traces: counter(
                "scope_shim_dropped_traces_total",
                "Sessions that left nothing for `scope-shim explain`, because too many came at once or waited to be written.",
                &["gateway"],
            )?,
            dropped_lines: enter(
                &registry,
                IntCounter::new(
                    "scope_shim_dropped_log_lines_total",
                    "Lines of the log that were lost, because nobody took them or they could not be written.",
                )?,
            )?,
            registry,
        })
    }

    async fn look(&self, shim: &Shim) -> Result<(), prometheus::Error> {
        let fleet = shim.fleet();
        self.draining.set(shim.draining().into());
        self.dropped_lines.inc_by(crate::log::lost());
        self.reloads(&shim.reload_history())?;
        for (name, reached) in Ready::look(&fleet).await.0 {
            let ready = self.ready.get_metric_with_label_values(&[&name])?;
            ready.set(reached.is_ok().into());
        }
        let live = shim.telemetry.live();
        let (sessions, traffic) = (live.sessions(), live.traffic());
        for served in &fleet.served {
            let name = served.name.as_str();
            let running = sessions.iter().filter(|session| &*session.gateway == name);
            let count = i64::try_from(running.count()).unwrap_or(i64::MAX);
            self.sessions
                .get_metric_with_label_values(&[name])?
                .set(count);
            let stats = traffic.get(name).copied().unwrap_or_default();
            self.traffic(name, stats)?;
        }
        // All at once, as in `status`.
        try_join_all(fleet.served.iter().map(|served| self.gateway(served))).await?;
        Ok(())
    }

    fn reloads(&self, history: &History) -> Result<(), prometheus::Error> {
        for (result, count) in [
            ("taken", history.taken),
            ("incomplete", history.incomplete),
            ("refused", history.refusals),
        ] {
            let counter = self.reloads.get_metric_with_label_values(&[result])?;
            counter.inc_by(count);
        }
        self.reloaded.set(history.refused.is_none().into());
        self.reloaded_at
            .set(history.last_success_ms as f64 / 1000.0);
        let waiting = history.waiting.as_ref();
        let waiting = waiting.map_or(0, |waiting| waiting.changes.len());
        self.waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        Ok(())
    }

    fn traffic(&self, name: &str, stats: RelayStats) -> Result<(), prometheus::Error> {
        for (direction, bytes) in [
            ("to_gateway", stats.to_gateway),
            ("to_client", stats.to_client),
        ] {
            let counter = self
                .bytes
                .get_metric_with_label_values(&[name, direction])?;
            counter.inc_by(bytes);
        }
        Ok(())
    }

    async fn gateway(&self, served: &Served) -> Result<(), prometheus::Error> {
        let name = served.name.as_str();
        let front = served.front();
        let engine = &front.engine;
        let standing = engine.control.standing();
        one_of(&self.link, name, LINKS, link(&standing.link))?;
        one_of(&self.mode, name, MODES, served.mode.get().as_str())?;
        let version = standing.profile.version.map(|version| version.to_string());
        let version = version.as_deref().unwrap_or("unknown");
        self.info
            .get_metric_with_label_values(&[name, version])?
            .set(1);
        let paired = standing.delegate_scopes.is_some();
        self.delegate
            .get_metric_with_label_values(&[name])?
            .set(paired.into());
        let dialled = self.dial_errors.get_metric_with_label_values(&[name])?;
        dialled.inc_by(front.dialer.failures.get());
        let dropped = engine.traces.as_ref().map_or(0, |traces| traces.dropped());
        self.dropped_traces
            .get_metric_with_label_values(&[name])?
            .inc_by(dropped);
        let store = timeout(STORE_PATIENCE, engine.resolver.store().snapshot()).await;
        let store = store.ok().and_then(Result::ok);
        self.store
            .get_metric_with_label_values(&[name])?
            .set(store.is_some().into());
        if let Some(store) = store {
            let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
            let devices = self.devices.get_metric_with_label_values(&[name])?;
            devices.set(count(store.devices.len()));
            let pending = self.pending.get_metric_with_label_values(&[name])?;
            pending.set(count(store.pending.len()));
        }
        Ok(())
    }
}

fn enter<C: Collector + Clone + 'static>(
    registry: &Registry,
    one: C,
) -> Result<C, prometheus::Error> {
    registry.register(Box::new(one.clone()))?;
    Ok(one)
}

fn one_of<const N: usize>(
    gauge: &IntGaugeVec,
    name: &str,
    values: [&str; N],
    current: &str,
) -> Result<(), prometheus::Error> {
    for value in values {
        let gauge = gauge.get_metric_with_label_values(&[name, value])?;
        gauge.set((value == current).into());
    }
    Ok(())
}

/// The stable name of a state.
pub(super) const fn link(link: &Link) -> &'static str {
    match link {
        Link::Starting => "starting",
        Link::Up => "up",
        Link::Down(_) => "down",
        Link::Retired => "unpaired",
        Link::AwaitingApproval { .. } => "awaiting_approval",
    }
}

const LINKS: [&str; 5] = ["starting", "up", "down", "awaiting_approval", "unpaired"];
const MODES: [&str; 3] = ["on", "observe", "off"];
