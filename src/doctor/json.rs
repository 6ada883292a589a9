//! The report for machines: `config/doctor.schema.json` documents it, and a test holds both together.
//!
//! Texts are as the gateway stores them; whoever shows them has to escape them.

use serde::Serialize;

use super::findings::Finding;
use super::known::Known;
use super::look::{DelegateLook, Form, Look};
use super::subject::{Subject, is_expired, pending, subjects};
use crate::device::OperatorToken;
use crate::identity::store::PendingRequest;

/// The version of what `doctor --json` prints. A new field does not change it, a changed one does.
pub const DOCTOR_SCHEMA: &str = "scope-shim/doctor/1";
/// The version of what `devices --json` prints.
pub const DEVICES_SCHEMA: &str = "scope-shim/devices/1";

/// The whole report, with a line break at its end.
///
/// # Errors
///
/// Never in practice: every value has a form in JSON.
pub fn report(look: &Look, findings: &[Finding]) -> serde_json::Result<String> {
    let document = Report {
        schema: DOCTOR_SCHEMA,
        shim_version: env!("CARGO_PKG_VERSION"),
        taken_at_ms: look.now_ms,
        gateway: gateway(look),
        store: store(look),
        shim: shim(look),
        host_device_id: look
            .client
            .own_device
            .as_ref()
            .map(|device| device.as_str()),
        devices: subjects(look).iter().map(device).collect(),
        pending: pending(look)
            .into_iter()
            .map(|request| waiting(look, request))
            .collect(),
        findings: findings.iter().map(finding).collect(),
        not_looked_at: look.blind_spots(),
    };
    serde_json::to_string_pretty(&document).map(|text| text + "\n")
}

/// The devices and requests alone.
///
/// # Errors
///
/// As [`report`].
pub fn devices(look: &Look) -> serde_json::Result<String> {
    let document = Devices {
        schema: DEVICES_SCHEMA,
        taken_at_ms: look.now_ms,
        store: store(look),
        devices: subjects(look).iter().map(device).collect(),
        pending: pending(look)
            .into_iter()
            .map(|request| waiting(look, request))
            .collect(),
    };
    serde_json::to_string_pretty(&document).map(|text| text + "\n")
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report<'a> {
    schema: &'static str,
    shim_version: &'static str,
    taken_at_ms: i64,
    gateway: Gateway<'a>,
    store: Store<'a>,
    shim: Shim<'a>,
    host_device_id: Option<&'a str>,
    devices: Vec<Device<'a>>,
    pending: Vec<Pending<'a>>,
    findings: Vec<Entry<'a>>,
    not_looked_at: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Devices<'a> {
    schema: &'static str,
    taken_at_ms: i64,
    store: Store<'a>,
    devices: Vec<Device<'a>>,
    pending: Vec<Pending<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Gateway<'a> {
    url: &'a str,
    answers: bool,
    refused_because: Option<&'a str>,
    health_status: Option<u16>,
    ready: Option<bool>,
    challenge_ms: Option<u64>,
    clock_ahead_ms: Option<i64>,
    version: Version<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Version<'a> {
    exact: Option<String>,
    from: Option<&'a str>,
    at_least: Option<String>,
    at_most: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Store<'a> {
    state_directory: Option<String>,
    form: Option<Form>,
    path: &'a str,
    readable: bool,
    unreadable_because: Option<&'a str>,
    opened_last_by: Option<String>,
    has_files: bool,
    has_migrated_files: bool,
    database_rows: Option<usize>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shim<'a> {
    listen: String,
    listening: bool,
    running: Option<RunningShim<'a>>,
    key: &'static str,
    device_id: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RunningShim<'a> {
    version: &'a str,
    pid: u64,
    mode: &'a str,
    max_scopes: Vec<&'a str>,
    gateway_state: &'a str,
    gateway_version: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Device<'a> {
    device_id: &'a str,
    display_name: Option<&'a str>,
    client_id: Option<&'a str>,
    client_mode: Option<&'a str>,
    platform: Option<&'a str>,
    remote_ip: Option<&'a str>,
    roles: &'a [String],
    approved_scopes: Vec<&'a str>,
    token: &'static str,
    token_scopes: Option<Vec<&'a str>>,
    approved_via: Option<&'a str>,
    approved_at_ms: Option<u64>,
    last_seen_at_ms: Option<u64>,
    is_host: bool,
    is_shim: bool,
    asks: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Pending<'a> {
    request_id: &'a str,
    device_id: &'a str,
    client_id: Option<&'a str>,
    client_mode: Option<&'a str>,
    platform: Option<&'a str>,
    remote_ip: Option<&'a str>,
    roles: &'a [String],
    scopes: Vec<&'a str>,
    is_repair: bool,
    filed_at_ms: Option<u64>,
    lapsed: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    code: &'static str,
    family: &'static str,
    certainty: super::known::Certainty,
    title: &'a str,
    subject: &'a str,
    evidence: &'a [String],
    fix: &'a str,
    shim: crate::findings::Shim,
}

fn gateway(look: &Look) -> Gateway<'_> {
    let challenge = look
        .reach
        .challenge
        .as_ref()
        .and_then(|seen| seen.as_ref().ok());
    Gateway {
        url: &look.url,
        answers: look.reach.answers(),
        refused_because: look.reach.refused.as_deref(),
        health_status: look.reach.http.health,
        ready: look.reach.http.ready,
        challenge_ms: challenge.and_then(|seen| u64::try_from(seen.took.as_millis()).ok()),
        clock_ahead_ms: challenge.and_then(|seen| seen.ahead_ms),
        version: version(&look.version),
    }
}

fn version(known: &Known) -> Version<'_> {
    Version {
        exact: known.exact.as_ref().map(|(version, _)| version.to_string()),
        from: known.exact.as_ref().map(|(_, from)| from.as_str()),
        at_least: known.at_least.map(|version| version.to_string()),
        at_most: known.at_most.map(|version| version.to_string()),
    }
}

fn store(look: &Look) -> Store<'_> {
    let store = &look.store;
    Store {
        state_directory: store
            .state
            .as_ref()
            .map(|state| state.display().to_string()),
        form: store.form,
        path: &store.path,
        readable: store.is_readable(),
        unreadable_because: store.unreadable.as_deref(),
        opened_last_by: store.app_version.map(|version| version.to_string()),
        has_files: store.migration.files,
        has_migrated_files: store.migration.migrated_files,
        database_rows: store.migration.rows,
    }
}

fn shim(look: &Look) -> Shim<'_> {
    Shim {
        listen: look.shim.listen.to_string(),
        listening: look.shim.listening,
        running: look.shim.running.as_ref().map(|running| RunningShim {
            version: &running.version,
            pid: running.pid,
            mode: &running.mode,
            max_scopes: running.max_scopes.iter().collect(),
            gateway_state: &running.state,
            gateway_version: running.gateway_version.map(|version| version.to_string()),
        }),
        key: match look.shim.delegate {
            DelegateLook::Absent => "absent",
            DelegateLook::Retired => "retired",
            DelegateLook::Unusable(_) => "unusable",
            DelegateLook::Present(_) => "present",
        },
        device_id: look.delegate().map(crate::device::DeviceId::as_str),
    }
}

fn device<'a>(subject: &Subject<'a>) -> Device<'a> {
    let record = subject.record;
    let (token, token_scopes) = match &record.operator_token {
        OperatorToken::None => ("none", None),
        OperatorToken::Revoked => ("revoked", None),
        OperatorToken::Withheld => ("withheld", None),
        OperatorToken::Live { scopes, .. } => ("live", Some(scopes.iter().collect())),
    };
    Device {
        device_id: record.device_id.as_str(),
        display_name: record.display_name.as_deref(),
        client_id: record.client_id.as_deref(),
        client_mode: record.client_mode.as_deref(),
        platform: record.platform.as_deref(),
        remote_ip: subject.remote_ip,
        roles: &record.roles,
        approved_scopes: record.approved_scopes.iter().collect(),
        token,
        token_scopes,
        approved_via: subject.approved_via,
        approved_at_ms: record.approved_at_ms,
        last_seen_at_ms: record.last_seen_at_ms,
        is_host: subject.is_host,
        is_shim: subject.is_delegate,
        asks: subject.asks.words(),
    }
}

fn waiting<'a>(look: &Look, request: &'a PendingRequest) -> Pending<'a> {
    Pending {
        request_id: &request.request_id,
        device_id: request.device_id.as_str(),
        client_id: request.client_id.as_deref(),
        client_mode: request.client_mode.as_deref(),
        platform: request.platform.as_deref(),
        remote_ip: request.remote_ip.as_deref(),
        roles: &request.roles,
        scopes: request.scopes.iter().collect(),
        is_repair: request.is_repair,
        filed_at_ms: request.ts_ms,
        lapsed: is_expired(look, request),
    }
}

fn finding(finding: &Finding) -> Entry<'_> {
    Entry {
        code: finding.code,
        family: finding.family,
        certainty: finding.certainty,
        title: &finding.title,
        subject: &finding.subject,
        evidence: &finding.evidence,
        fix: &finding.fix,
        shim: finding.shim,
    }
}
