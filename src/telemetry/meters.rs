//! The counters behind `/metrics`. Every label has its values from a closed list, and every series is there from the
//! start, so that nothing a client sends makes a new one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use hyper::StatusCode;
use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts,
    Registry,
};

use super::hour::by_gateway;
use super::lookups::Lookups;
use super::{Handshake, Totals, lock};
use crate::audit::Rule;
use crate::explain::Outcome;
use crate::findings::Code;
use crate::listen::NO_PLACE;
use crate::tls::REASONS;

/// The counters of all gateways.
#[derive(Debug)]
pub struct Meters {
    registry: Registry,
    families: Families,
    connections: IntCounter,
    open: IntGauge,
    turned_away: IntCounterVec,
    gateways: Mutex<BTreeMap<String, Arc<GatewayMeters>>>,
}

#[derive(Debug)]
pub(super) struct Families {
    handshakes: IntCounterVec,
    decisions: IntCounterVec,
    findings: IntCounterVec,
    approvals: IntCounterVec,
    sessions: IntCounterVec,
    requests: IntCounterVec,
    handshake_seconds: HistogramVec,
    pub(super) lookups: IntCounterVec,
    pub(super) lookup_seconds: HistogramVec,
}

/// The counters of one gateway.
#[derive(Debug)]
pub struct GatewayMeters {
    outcomes: Vec<IntCounter>,
    decisions: Vec<IntCounter>,
    findings: BTreeMap<Code, IntCounter>,
    approvals: Vec<IntCounter>,
    sessions: IntCounter,
    requests: Vec<IntCounter>,
    handshake_seconds: Histogram,
    lookups: Lookups,
}

/// A client connection that is open.
#[derive(Debug)]
pub struct Connection(IntGauge);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Meters {
    pub(super) fn new(started_ms: i64) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let start = Gauge::new(
            "process_start_time_seconds",
            "When the process started, in seconds since the epoch.",
        )?;
        start.set(started_ms as f64 / 1000.0);
        let build = prometheus::IntGaugeVec::new(
            Opts::new("scope_shim_build_info", "The version that runs; always 1."),
            &["version"],
        )?;
        build
            .get_metric_with_label_values(&[env!("CARGO_PKG_VERSION")])?
            .set(1);
        register(&registry, &start)?;
        register(&registry, &build)?;
        let connections = IntCounter::new(
            "scope_shim_client_connections_total",
            "Client connections that were accepted.",
        )?;
        let open = IntGauge::new(
            "scope_shim_client_connections",
            "Client connections that are open, those of running sessions included.",
        )?;
        let turned_away = IntCounterVec::new(
            Opts::new(
                "scope_shim_client_connections_turned_away_total",
                "Client connections that were not let in: TLS on a port without, plaintext on a port with TLS, a \
                 certificate that the client refused, or no place left (limits.connections). The log has each at the \
                 level debug.",
            ),
            &["reason"],
        )?;
        for reason in REASONS.into_iter().chain([NO_PLACE]) {
            turned_away.get_metric_with_label_values(&[reason])?;
        }
        register(&registry, &turned_away)?;
        register(&registry, &connections)?;
        register(&registry, &open)?;
        Ok(Self {
            families: Families::new(&registry)?,
            registry,
            connections,
            open,
            turned_away,
            gateways: Mutex::default(),
        })
    }

    /// Everything that is counted, as it is now.
    #[must_use]
    pub fn gather(&self) -> Vec<MetricFamily> {
        self.registry.gather()
    }

    pub(super) fn gateway(&self, name: &str) -> Result<Arc<GatewayMeters>, prometheus::Error> {
        let mut gateways = lock(&self.gateways);
        if let Some(known) = gateways.get(name) {
            return Ok(Arc::clone(known));
        }
        let meters = Arc::new(GatewayMeters::new(&self.families, name)?);
        gateways.insert(name.to_owned(), Arc::clone(&meters));
        Ok(meters)
    }

    pub(super) fn connection(&self) -> Connection {
        self.connections.inc();
        self.open.inc();
        Connection(self.open.clone())
    }

    pub(super) fn turned_away(&self, reason: &str) {
        if let Ok(counter) = self.turned_away.get_metric_with_label_values(&[reason]) {
            counter.inc();
        }
    }

    pub(super) fn totals(&self) -> Totals {
        let mut totals = Totals {
            connections: self.connections.get(),
            ..Totals::default()
        };
        for meters in lock(&self.gateways).values() {
            meters.add_to(&mut totals);
        }
        totals
    }
}

impl Families {
    fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
            register(registry, &counter)?;
            Ok::<_, prometheus::Error>(counter)
        };
        let histogram = |name: &str, help: &str, buckets: &[f64]| {
            let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
            let histogram = HistogramVec::new(options, &["gateway"])?;
            register(registry, &histogram)?;
            Ok::<_, prometheus::Error>(histogram)
        };
        Ok(Self {
            handshakes: counter(
                "scope_shim_handshakes_total",
                "Handshakes that are over, by what came of them: accepted by the gateway as they came, degraded \
                 (accepted with fewer scopes), delegated or healed (accepted because of the shim), refused, repeated \
                 (answered with the gateway's refusal of before), sent_back, unanswered, or left by the client.",
                &["gateway", "outcome"],
            )?,
            decisions: counter(
                "scope_shim_decisions_total",
                "What the shim decided about handshakes.",
                &["gateway", "decision"],
            )?,
            findings: counter(
                "scope_shim_findings_total",
                "Handshakes that something was found to be wrong with, by the code of the finding.",
                &["gateway", "code"],
            )?,
            approvals: counter(
                "scope_shim_approvals_total",
                "Pairing requests that the shim approved, by the rule that it went by.",
                &["gateway", "rule"],
            )?,
            sessions: counter(
                "scope_shim_sessions_total",
                "Sessions that began, those that were relayed without a look included.",
                &["gateway"],
            )?,
            requests: counter(
                "scope_shim_http_requests_total",
                "Plain HTTP requests that were answered, by the class of the status.",
                &["gateway", "status"],
            )?,
            handshake_seconds: histogram(
                "scope_shim_handshake_duration_seconds",
                "The time from the upgrade to the gateway's answer, of the handshakes that the gateway answered.",
                &HANDSHAKE_SECONDS,
            )?,
            lookups: counter(
                "scope_shim_lookups_total",
                "Lookups of device records: hit, miss (the store was read), or error (it could not be read).",
                &["gateway", "result"],
            )?,
            lookup_seconds: histogram(
                "scope_shim_lookup_duration_seconds",
                "The time that lookups of device records took.",
                &LOOKUP_SECONDS,
            )?,
        })
    }
}

fn register<C>(registry: &Registry, collector: &C) -> Result<(), prometheus::Error>
where
    C: Collector + Clone + 'static,
{
    registry.register(Box::new(collector.clone()))
}

impl GatewayMeters {
    fn new(families: &Families, name: &str) -> Result<Self, prometheus::Error> {
        let each = |family: &IntCounterVec, values: &[&str]| {
            values
                .iter()
                .map(|value| family.get_metric_with_label_values(&[name, value]))
                .collect::<Result<Vec<_>, _>>()
        };
        let outcomes: Vec<&str> = OUTCOMES.iter().map(|&outcome| label(outcome)).collect();
        let rules: Vec<&str> = RULES.iter().map(|rule| rule.as_str()).collect();
        let codes: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
        let findings = each(&families.findings, &codes)?;
        Ok(Self {
            outcomes: each(&families.handshakes, &outcomes)?,
            decisions: each(&families.decisions, &DECISIONS)?,
            findings: Code::ALL.iter().copied().zip(findings).collect(),
            approvals: each(&families.approvals, &rules)?,
            sessions: families.sessions.get_metric_with_label_values(&[name])?,
            requests: each(&families.requests, &STATUSES)?,
            handshake_seconds: families
                .handshake_seconds
                .get_metric_with_label_values(&[name])?,
            lookups: Lookups::new(families, name)?,
        })
    }

    pub(super) fn session(&self) {
        self.sessions.inc();
    }

    pub(super) fn handshake(&self, handshake: &Handshake) {
        let outcome = OUTCOMES.iter().position(|&one| one == handshake.outcome);
        increment(&self.outcomes, outcome);
        let decision = handshake.decision.replace(' ', "_");
        let decision = DECISIONS.iter().position(|&one| one == decision);
        increment(&self.decisions, decision.or(Some(OTHER_DECISION)));
        if let Some(found) = &handshake.finding
            && let Some(counter) = self.findings.get(&found.code)
        {
            counter.inc();
        }
        if by_gateway(handshake.outcome) {
            self.handshake_seconds.observe(handshake.took.as_secs_f64());
        }
    }

    pub(super) fn request(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100);
        increment(&self.requests, class.checked_sub(1));
    }

    pub(super) fn approved(&self, rule: Rule) {
        increment(&self.approvals, RULES.iter().position(|&one| one == rule));
    }

    pub(super) fn lookups(&self) -> Lookups {
        self.lookups.clone()
    }

    fn add_to(&self, totals: &mut Totals) {
        for (outcome, counter) in OUTCOMES.iter().zip(&self.outcomes) {
            let count = counter.get();
            totals.handshakes += count;
            match outcome {
                Outcome::Accepted => totals.accepted += count,
                Outcome::Degraded => totals.degraded += count,
                Outcome::Delegated | Outcome::Healed => totals.repaired += count,
                Outcome::Refused => totals.refused += count,
                Outcome::Repeated => totals.repeated += count,
                Outcome::Left | Outcome::Unanswered | Outcome::SentBack => {}
            }
        }
        totals.sessions += self.sessions.get();
        totals.requests += self.requests.iter().map(IntCounter::get).sum::<u64>();
    }
}

fn increment(counters: &[IntCounter], index: Option<usize>) {
    if let Some(counter) = index.and_then(|index| counters.get(index)) {
        counter.inc();
    }
}

/// The label of an outcome.
const fn label(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Left => "left",
        Outcome::Unanswered => "unanswered",
        Outcome::Accepted => "accepted",
        Outcome::Degraded => "degraded",
        Outcome::Delegated => "delegated",
        Outcome::Healed => "healed",
        Outcome::Refused => "refused",
        Outcome::Repeated => "repeated",
        Outcome::SentBack => "sent_back",
    }
}

const OUTCOMES: [Outcome; 9] = [
    Outcome::Accepted,
    Outcome::Degraded,
    Outcome::Delegated,
    Outcome::Healed,
    Outcome::Refused,
    Outcome::Repeated,
    Outcome::SentBack,
    Outcome::Unanswered,
    Outcome::Left,
];
/// The label of each decision.
const DECISIONS: [&str; 5] = ["pass", "rewrite", "would_rewrite", "answer", "other"];
const OTHER_DECISION: usize = DECISIONS.len() - 1;
const RULES: [Rule; 3] = [Rule::EntitledRepair, Rule::LocalUpgrade, Rule::Page];
const STATUSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
/// From what a gateway on this machine takes at best to the limit of a handshake.
const HANDSHAKE_SECONDS: [f64; 13] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0,
];
/// From an answer of the cache to a database that is locked.
const LOOKUP_SECONDS: [f64; 9] = [
    0.000_01, 0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.25, 1.0,
];
