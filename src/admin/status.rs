//! Everything at a glance: what `scope-shim status`, the status page and scripts read.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use super::ready::Ready;
use super::{metrics, reload};
use crate::app::Shim;
use crate::app::older::Said;
use crate::approval::Candidate;
use crate::clock;
use crate::config::Config;
use crate::control::{Link, approve_command};
use crate::engine::Engine;
use crate::findings::Code;
use crate::identity::store::{Snapshot, StoreError};
use crate::served::Served;
use crate::telemetry::Handshake;
use crate::telemetry::live::Session;
use crate::telemetry::notable::Recent;

/// The whole document.
pub(super) async fn status(shim: &Shim) -> Value {
    let telemetry = &shim.telemetry;
    let draining = shim.draining();
    let fleet = shim.fleet();
    let reached = Ready::look(&fleet).await.0;
    let reached = reached.iter().all(|(_, reached)| reached.is_ok());
    // All at once: whoever asks waits for one that hangs, and not for each of them.
    let gateways = fleet.each().map(|(served, config)| {
        let listen = fleet.door(config);
        gateway(shim, served, config, listen)
    });
    let gateways = join_all(gateways).await;
    let live = telemetry.live().sessions();
    let shown = live.iter().rev().take(MOST_SESSIONS).rev();
    let recent = telemetry.recent();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "now": clock::now_ms(),
        "started": telemetry.started_ms(),
        "draining": draining,
        "older": shim.older().await.iter().map(older_json).collect::<Vec<_>>(),
        "ready": reached && !draining,
        "reload": reload::history(shim),
        "gateways": gateways,
        "live": live.len(),
        "sessions": shown.map(|session| session_json(session)).collect::<Vec<_>>(),
        "recent": recent.iter().map(recent_json).collect::<Vec<_>>(),
        "hour": telemetry.hour(),
        "totals": totals(shim),
    })
}

/// A process before this one, which keeps the sessions that it had.
fn older_json(said: &Said) -> Value {
    let live = said.answer.as_ref().ok();
    let member = |name: &str| live.and_then(|live| live.get(name)).cloned();
    json!({
        "pid": said.pid,
        "version": member("version"),
        "sessions": member("sessions"),
        "why": said.answer.as_ref().err(),
    })
}

async fn gateway(
    shim: &Shim,
    served: &Served,
    config: &Config,
    listen: Option<SocketAddr>,
) -> Value {
    let front = served.front();
    let engine = &front.engine;
    let standing = engine.control.standing();
    let store = timeout(STORE_PATIENCE, engine.resolver.store().snapshot()).await;
    let store = store.unwrap_or_else(|_| Ok(Default::default()));
    let waiting = store.as_deref().map(|store| waiting(engine, store));
    let waiting = waiting.unwrap_or_default();
    let mut findings = findings(shim, served, &waiting);
    // Without a session of its own it cannot ask; that is said where the session is.
    let is_unasked =
        matches!(store, Err(StoreError::Unanswered { .. })) && !matches!(standing.link, Link::Up);
    if let Err(error) = &store
        && !is_unasked
    {
        let code = Code::StoreUnreadable;
        findings.insert(
            0,
            own_finding(code, &error.to_string(), code.entry().remedy),
        );
    }
    let (mut why, mut request, mut command) = (None, None, None);
    match &standing.link {
        Link::AwaitingApproval { request_id } => {
            let approve = approve_command(request_id.as_deref());
            let code = Code::DelegateNotPaired;
            findings.insert(0, own_finding(code, code.entry().title, &approve));
            (request, command) = (request_id.clone(), Some(approve));
        }
        // Somebody wanted it so.
        Link::Retired => {
            why = Some(RETIRED.to_owned());
            command = Some(engine.rules().invocation.command(&["mode", "on"]));
        }
        Link::Down(why_down) => {
            let code = Code::GatewayDown;
            let sentence =
                format!("scope-shim has no session of its own with the gateway: {why_down}");
            let look = engine.rules().invocation.command(&["doctor"]);
            findings.insert(0, own_finding(code, &sentence, &look));
            why = Some(why_down.clone());
        }
        Link::Starting | Link::Up => {}
    }
    let scopes = standing.delegate_scopes.as_deref();
    json!({
        "name": served.name,
        "mode": served.mode.get().as_str(),
        "listen": listen,
        "hosts": config.hosts,
        "url": front.dialer.gateway.to_string(),
        "store": engine.resolver.store().describe(),
        "mode_why": mode_why(served, config),
        "max_scopes": engine.rules().policy.max_scopes.iter().collect::<Vec<_>>(),
        "gateway": {
            "state": metrics::link(&standing.link),
            "why": why,
            "version": standing.profile.version.map(|version| version.to_string()),
            "profile": standing.profile.to_string(),
            "request": request,
            "command": command,
        },
        "delegate": {
            "device": engine.delegate.device_id().short(),
            "paired": scopes.is_some(),
            "scopes": scopes.map(|scopes| scopes.iter().collect::<Vec<_>>()).unwrap_or_default(),
        },
        "requests": waiting.iter().map(|one| request_json(engine, one)).collect::<Vec<_>>(),
        "findings": findings,
    })
}

/// Who says which mode holds, and since when.
fn mode_why(served: &Served, config: &Config) -> Option<String> {
    let resolved = crate::app::saved::resolve(config);
    (resolved.mode == served.mode.get()).then(|| resolved.clause())
}

/// What waits and can be approved through the shim: its own device cannot.
fn waiting(engine: &Engine, store: &Snapshot) -> Vec<Candidate> {
    let own = engine.delegate.device_id();
    let mut waiting: Vec<Candidate> = store
        .pending
        .iter()
        .filter(|request| request.device_id != own)
        .map(|request| Candidate {
            record: store.devices.get(&request.device_id).cloned(),
            request: request.clone(),
        })
        .collect();
    waiting.sort_by_key(|candidate| candidate.request.ts_ms);
    waiting.truncate(MOST_REQUESTS);
    waiting
}

fn request_json(engine: &Engine, candidate: &Candidate) -> Value {
    let request = &candidate.request;
    let held = candidate.held();
    let filed = request.ts_ms.and_then(|filed| i64::try_from(filed).ok());
    json!({
        "id": request.request_id,
        "device": request.device_id.short(),
        "client": request.client_id,
        "role": request.roles.join(", "),
        "scopes": request.scopes.iter().collect::<Vec<_>>(),
        "held": held.iter().collect::<Vec<_>>(),
        "age_ms": filed.map(|filed| clock::now_ms().saturating_sub(filed).max(0)),
        "remote": !candidate.is_from_here(),
        "command": engine.rules().invocation.command(&["approve", &request.request_id]),
    })
}

/// What is wrong with sessions of late. What was about a request that is settled by now is over.
fn findings(shim: &Shim, served: &Served, waiting: &[Candidate]) -> Vec<Value> {
    let waits = |id: &str| waiting.iter().any(|one| one.request.request_id == id);
    let found = shim.telemetry.findings(&served.name);
    found
        .iter()
        .filter(|standing| standing.found.request.as_deref().is_none_or(waits))
        .map(|standing| {
            let entry = standing.found.code.entry();
            json!({
                "code": entry.code,
                "family": entry.family,
                "title": entry.title,
                "sentence": standing.found.sentence,
                "command": standing.found.command,
                "count": standing.count,
                "last": standing.last_ms,
                "request": standing.found.request,
            })
        })
        .collect()
}

/// What the shim finds wrong by itself, now.
fn own_finding(code: Code, sentence: &str, command: &str) -> Value {
    let entry = code.entry();
    json!({
        "code": entry.code,
        "family": entry.family,
        "title": entry.title,
        "sentence": sentence,
        "command": command,
        "count": 1,
        "last": clock::now_ms(),
        "request": null,
    })
}

fn session_json(session: &Session) -> Value {
    let traffic = session.traffic.stats();
    let mut shown = match session.handshake() {
        Some(handshake) => handshake_json(handshake),
        None => unknown(&session.from.to_string()),
    };
    let more = [
        ("gateway", json!(&*session.gateway)),
        ("age_ms", json!(ms(session.since.elapsed()))),
        ("bytes_to_gateway", json!(traffic.to_gateway)),
        ("bytes_to_client", json!(traffic.to_client)),
    ];
    shown.extend(more.map(|(name, value)| (name.to_owned(), value)));
    shown.into()
}

fn recent_json(recent: &Recent) -> Value {
    let handshake = &recent.handshake;
    let mut shown = handshake_json(handshake);
    let more = [
        ("gateway", json!(&*recent.gateway)),
        ("at", json!(handshake.at_ms)),
        ("took_ms", json!(ms(handshake.took))),
        ("times", json!(recent.times)),
    ];
    shown.extend(more.map(|(name, value)| (name.to_owned(), value)));
    shown.into()
}

fn handshake_json(handshake: &Handshake) -> Map<String, Value> {
    let Handshake {
        session,
        at_ms: _,
        took: _,
        from,
        who,
        client,
        requested,
        approved,
        decision,
        why,
        answer,
        outcome,
        finding,
    } = handshake;
    let members = [
        ("session", json!(session)),
        ("from", json!(from)),
        ("who", json!(who)),
        ("client", json!(client)),
        ("requested", json!(requested)),
        ("approved", json!(approved)),
        ("decision", json!(decision)),
        ("why", json!(why)),
        ("answer", json!(answer)),
        ("outcome", json!(outcome)),
        ("finding", json!(finding.as_ref().map(|found| found.code))),
    ];
    members
        .map(|(name, value)| (name.to_owned(), value))
        .into_iter()
        .collect()
}

/// A session whose handshake is not over, or that nobody looked at.
fn unknown(from: &str) -> Map<String, Value> {
    const MEMBERS: [&str; 10] = [
        "session",
        "who",
        "client",
        "requested",
        "approved",
        "decision",
        "why",
        "answer",
        "outcome",
        "finding",
    ];
    let mut shown: Map<String, Value> = MEMBERS
        .into_iter()
        .map(|name| (name.to_owned(), Value::Null))
        .collect();
    shown.insert("from".to_owned(), json!(from));
    shown
}

fn totals(shim: &Shim) -> Value {
    let totals = shim.telemetry.totals();
    json!({
        "handshakes": totals.handshakes,
        "sessions": totals.sessions,
        "accepted": totals.accepted,
        "repaired": totals.repaired,
        "refused": totals.refused,
        "repeated": totals.repeated,
        "degraded": totals.degraded,
        "connections": totals.connections,
        "requests": totals.requests,
    })
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The newest are shown; nobody reads more.
const MOST_SESSIONS: usize = 1000;
const RETIRED: &str = "the shim's own device is out of use, as `scope-shim unpair` leaves it, until the shim is switched on";
const MOST_REQUESTS: usize = 100;
/// A store that hangs costs its requests, not the rest.
pub(super) const STORE_PATIENCE: Duration = Duration::from_secs(2);
