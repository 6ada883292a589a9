//! What the shim promises for each scenario and version, and whether it was kept.

use scope_shim::demo::npm::Version;

use crate::outcome::Outcome;

/// What the two columns of a row must look like.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Promise {
    /// What works directly works through the shim.
    NoWorse,
    /// It works through the shim, whatever it does directly.
    Works,
    /// It ends directly in a complaint with these words, and works through the shim: one of the reports it exists for.
    Heals(&'static str),
    /// It ends in the same way on both: the gateway's decision, not the shim's.
    Same,
    /// It is refused on both; how may differ.
    Refused,
    /// It is refused, and through the shim the client is shown the way out.
    Explains,
}

impl Promise {
    pub(crate) fn of(version: &Version, scenario: &str) -> Self {
        if let Some(report) = REPORTS
            .iter()
            .find(|report| report.is_about(version, scenario))
        {
            return Self::Heals(report.complaint);
        }
        match scenario {
            "nothing left pending" | "no device at all" | "a probe without a device" => Self::Works,
            "the legacy device asks for read"
            | "the legacy device asks for write"
            | "the legacy device asks for everything" => Self::Works,
            // From 2026.8 on a gateway refuses such an upgrade outright, unless it trusts the proxy. The shim is none
            // of its proxies, so that it may let the gateway refuse the handshake instead.
            "an unknown device behind another proxy" if version.is_at_least(2026, 8, 0) => {
                Self::Refused
            }
            "doctor" | "doctor, gateway down" | "explain the last session" => Self::Works,
            "health after repair --apply, directly" => Self::Works,
            "handshakes while a replica is killed" | "both replicas are paired" => Self::Works,
            _ if is_behind_a_proxy(scenario)
                && MUST_WORK.iter().any(|end| scenario.ends_with(end)) =>
            {
                Self::Works
            }
            _ if is_behind_a_proxy(scenario) => Self::Same,
            "the gateway answers, shim killed under --watch"
            | "a network of its own knows no redirect" => Self::Works,
            "health, after intercept down" | "an agent lists sessions, after intercept down" => {
                Self::Refused
            }
            "a command asks for more, explained" | "a wrong token, explained" => Self::Explains,
            _ if DECIDED_BY_THE_GATEWAY.contains(&scenario) => Self::Same,
            _ => Self::NoWorse,
        }
    }

    /// Why the promise was broken, if it was. A column that was not run breaks nothing.
    pub(crate) fn broken_by(
        self,
        direct: Option<&Outcome>,
        shimmed: Option<&Outcome>,
    ) -> Option<String> {
        let works = |outcome: Option<&Outcome>| outcome.is_none_or(Outcome::works);
        let is_refused = |outcome: Option<&Outcome>| outcome.is_none_or(|outcome| !outcome.works());
        match self {
            Self::NoWorse if direct.is_some_and(Outcome::works) && !works(shimmed) => {
                Some("it works directly, but not through the shim".to_owned())
            }
            Self::Works | Self::Heals(_) if !works(shimmed) => {
                Some("it does not work through the shim".to_owned())
            }
            Self::Heals(complaint)
                if direct.is_some_and(|direct| !direct.complains_of(complaint)) =>
            {
                Some(format!("directly, `{complaint}` was to be seen"))
            }
            Self::Same
                if direct
                    .zip(shimmed)
                    .is_some_and(|(direct, shimmed)| !direct.is_same_as(shimmed)) =>
            {
                Some("the gateway's decision was changed".to_owned())
            }
            Self::Explains if !(is_refused(direct) && works(shimmed)) => {
                Some("the refusal was to name the way out".to_owned())
            }
            Self::Refused if !(is_refused(direct) && is_refused(shimmed)) => {
                Some("it was to be refused".to_owned())
            }
            _ => None,
        }
    }
}

/// What has to work behind a proxy. Directly a gateway up to 2026.2.19 fails at a tool there, because it takes its own
/// call for the proxy's.
const MUST_WORK: [&str; 3] = [": a paired device", ": a tool", ": a large upload"];

/// Whether a proxy of `deploy/` stands in front.
fn is_behind_a_proxy(scenario: &str) -> bool {
    ["nginx", "Caddy", "HAProxy"]
        .iter()
        .any(|proxy| scenario.starts_with(proxy))
}

/// A failure that users of some versions reported.
struct Report {
    since: (u16, u16),
    fixed_in: (u16, u16),
    scenario: &'static str,
    complaint: &'static str,
}

impl Report {
    fn is_about(&self, version: &Version, scenario: &str) -> bool {
        let ((since_month, since_day), (month, day)) = (self.since, self.fixed_in);
        self.scenario == scenario
            && version.is_at_least(2026, since_month, since_day)
            && !version.is_at_least(2026, month, day)
    }
}

const fn report(
    since: (u16, u16),
    fixed_in: (u16, u16),
    scenario: &'static str,
    complaint: &'static str,
) -> Report {
    Report {
        since,
        fixed_in,
        scenario,
        complaint,
    }
}

const NOT_FIXED: (u16, u16) = (13, 0);

const REPORTS: [Report; 28] = [
    report(
        (3, 22),
        (5, 9),
        "Control UI of a user whom nginx names, a new browser",
        "missing scope",
    ),
    report(
        (3, 22),
        (5, 9),
        "Control UI of a user whom nginx names, a paired browser",
        "missing scope",
    ),
    report(
        (2, 19),
        (2, 21),
        "health, nothing reconfigured",
        "pairing required",
    ),
    report(
        (2, 19),
        (2, 21),
        "an agent lists sessions, nothing reconfigured",
        "tool execution failed",
    ),
    report(
        (2, 19),
        (2, 21),
        "health after repair --apply, directly",
        "pairing required",
    ),
    report(
        (2, 19),
        (2, 22),
        "a client that may only read, left alone",
        "connects",
    ),
    report(
        (2, 19),
        (2, 22),
        "Control UI that may only read, left alone",
        "connects",
    ),
    report(
        (2, 19),
        (2, 21),
        "an agent lists sessions behind the shim's back",
        "tool execution failed",
    ),
    report(
        (2, 19),
        (2, 22),
        "an agent spawns one behind the shim's back",
        "pairing required",
    ),
    report(
        (5, 0),
        (7, 0),
        "a pinned command line asks for more, approved",
        "pairing required",
    ),
    report(
        (5, 0),
        (7, 0),
        "a pinned command line asks for more, by policy",
        "pairing required",
    ),
    report((2, 19), (2, 21), "health", "pairing required"),
    report((2, 19), (2, 21), "status", "pairing required"),
    report((2, 19), (2, 21), "status --all", "pairing required"),
    report((2, 19), (2, 21), "channels status", "pairing required"),
    report(
        (2, 19),
        (2, 21),
        "the legacy device asks for read",
        "NOT_PAIRED",
    ),
    report(
        (2, 19),
        (2, 22),
        "the legacy device asks for write",
        "NOT_PAIRED",
    ),
    report(
        (2, 19),
        (2, 22),
        "the legacy device asks for everything",
        "NOT_PAIRED",
    ),
    report((3, 13), (3, 24), "status", "missing scope: operator.read"),
    report(
        (3, 13),
        (3, 24),
        "status --all",
        "missing scope: operator.read",
    ),
    report(
        (3, 13),
        (3, 24),
        "security audit --deep",
        "gateway.probe_failed",
    ),
    report((3, 13), (3, 24), "gateway probe", "RPC: limited"),
    report((9, 6), NOT_FIXED, "status --all", "Gateway self │ unknown"),
    report(
        (9, 6),
        NOT_FIXED,
        "security audit --deep",
        "gateway.probe_failed",
    ),
    report((9, 6), NOT_FIXED, "gateway probe", "Read probe: limited"),
    report(
        (9, 6),
        NOT_FIXED,
        "gateway status",
        "connected-no-operator-scope",
    ),
    report(
        (2, 19),
        (2, 26),
        "a probe without a device",
        "without any scope",
    ),
    report(
        (3, 13),
        NOT_FIXED,
        "a probe without a device",
        "without any scope",
    ),
];

const DECIDED_BY_THE_GATEWAY: [&str; 20] = [
    "an unknown device on this host",
    "an unknown device in a page of this host",
    "an unknown device in a foreign page",
    "an unknown device behind another proxy",
    "a node",
    "a device pairs with the legacy scopes",
    "the legacy device uses its own token",
    "a device pairs with read",
    "the reader asks for admin",
    "a wrong signature",
    "a proof for fewer scopes than asked for",
    "a foreign nonce",
    "a proof from an hour ago",
    "the id of another device",
    "a wrong token",
    "a wrong token without a device",
    "no token",
    "an ancient protocol",
    "a parameter that does not exist",
    "something else than connect",
];
