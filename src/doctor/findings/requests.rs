//! F4, F5, F14: the requests that wait, and whether anybody could approve them.

use std::collections::BTreeMap;

use super::Finding;
use crate::device::DeviceRecord;
use crate::doctor::known::Certainty;
use crate::doctor::look::{DelegateLook, Look};
use crate::doctor::subject::{is_expired, pending, subjects};
use crate::findings::Code;
use crate::identity::store::PendingRequest;
use crate::profile::Version;
use crate::scope::{PAIRING, ScopeSet};
use crate::text::{ago, brief, count};

pub(super) fn findings(look: &Look) -> Vec<Finding> {
    let waiting: Vec<&PendingRequest> = pending(look)
        .into_iter()
        .filter(|request| !is_expired(look, request) && look.delegate() != Some(&request.device_id))
        .collect();
    let mut findings: Vec<Finding> = waiting.iter().map(|request| one(look, request)).collect();
    findings.extend(churn(look, &waiting));
    findings.extend(deadlock(look, &waiting));
    findings
}

fn one(look: &Look, request: &PendingRequest) -> Finding {
    let is_node = request.roles.iter().any(|role| role == "node");
    let code = if is_node {
        Code::NodePairing
    } else {
        Code::PendingRequest
    };
    let id = brief(&request.request_id, LONGEST_ID);
    let client = [request.client_id.as_deref(), request.client_mode.as_deref()];
    let client: Vec<String> = client
        .into_iter()
        .flatten()
        .map(|text| brief(text, LONGEST_NAME))
        .collect();
    let kind = if request.is_repair {
        "is paired and asks for more"
    } else {
        "is new and asks for"
    };
    let asks = if is_node {
        "the role node".to_owned()
    } else {
        request.scopes.to_string()
    };
    let mut finding = Finding::new(code, format!("request {id}")).seen(format!(
        "device {} ({}) {kind}: {asks}",
        brief(&request.device_id.short(), LONGEST_NAME),
        client.join("/"),
    ));
    if let Some(filed) = request.ts_ms {
        finding = finding.seen(format!(
            "filed {}; it lapses after five minutes",
            ago(look.now_ms, filed)
        ));
    }
    if let Some(ip) = &request.remote_ip {
        finding = finding.seen(format!("from {}", brief(ip, LONGEST_NAME)));
    }
    if is_node {
        finding.fix(format!(
            "openclaw devices approve {id}; `openclaw nodes pending` does not list it"
        ))
    } else {
        finding.fix(approve(look, request))
    }
}

/// The command that approves a request, or what keeps the shim from doing so.
pub(super) fn approve(look: &Look, request: &PendingRequest) -> String {
    let shim = &look.shim;
    let client = request.client_id.as_deref().unwrap_or_default();
    match shim.policy.cap(client, &request.scopes) {
        None => {
            let id = brief(&request.request_id, LONGEST_ID);
            shim.invocation.command(&["approve", &id])
        }
        Some(capped) => format!(
            "{} of scope-shim's configuration keeps {} from it: allow it there, then {}; or reject it with openclaw devices \
             reject",
            capped.setting,
            capped.scopes,
            shim.invocation.command(&["reload"])
        ),
    }
}

fn churn(look: &Look, waiting: &[&PendingRequest]) -> Vec<Finding> {
    let mut by_device: BTreeMap<&str, usize> = BTreeMap::new();
    for request in waiting {
        *by_device.entry(request.device_id.as_str()).or_default() += 1;
    }
    let many = by_device.into_iter().filter(|(_, number)| *number > 1);
    many.map(|(device, number)| {
        let short: String = device.chars().take(SHORT).collect();
        Finding::new(
            Code::RequestChurn,
            format!("device {}", brief(&short, LONGEST_NAME)),
        )
        .seen(format!("{} wait at once", count(number, "request")))
        .fix(format!(
            "go through the shim, which keeps one request; or stop the client, then {}",
            look.shim.invocation.command(&["approve", "--all-local"])
        ))
    })
    .collect()
}

/// Up to 2026.6.11 the command line needs a paired device to approve: one with `operator.pairing`, from 2026.3.24 also
/// with every scope that it grants.
fn deadlock(look: &Look, waiting: &[&PendingRequest]) -> Option<Finding> {
    let operators = waiting
        .iter()
        .filter(|request| request.roles.iter().all(|role| role == "operator"));
    let wanted: ScopeSet = operators
        .flat_map(|request| request.scopes.iter())
        .collect();
    if wanted.is_empty() {
        return None;
    }
    let strict = look.version.since(Version::v2026(3, 24)) == Certainty::Certain;
    let may = |record: &DeviceRecord| {
        record.is_operator()
            && record.approved_scopes.implies(PAIRING)
            && (!strict || record.approved_scopes.implies_all(&wanted))
    };
    let subjects = subjects(look);
    let others = subjects.iter().filter(|subject| !subject.is_delegate);
    if others.clone().any(|subject| may(subject.record)) {
        return None;
    }
    let certainty = look.version.until(Version::v2026(6, u16::MAX));
    let finding = Finding::new(
        Code::ApprovalDeadlock,
        count(waiting.len(), "pairing request"),
    )
    .seen(format!(
        "{} paired, none of which may approve",
        count(others.count(), "other device")
    ))
    .seen(if strict {
        format!("it takes operator.pairing and every scope that is asked for: {wanted}")
    } else {
        "it takes operator.pairing".to_owned()
    });
    let delegate = subjects.iter().find(|subject| subject.is_delegate);
    let finding = if delegate.is_some_and(|delegate| may(delegate.record)) {
        let approve = look.shim.invocation.command(&["approve"]);
        finding.fix(format!("{approve}: the shim's own device may"))
    } else if look.shim.delegate == DelegateLook::Retired {
        finding.fix(format!(
            "{}: its own device is out of use since it was unpaired; then {}",
            look.shim.invocation.command(&["mode", "on"]),
            look.shim.invocation.command(&["approve"])
        ))
    } else {
        finding.fix(format!(
            "start {} once, so that its own device is paired; then {}",
            look.shim.invocation.command(&["run"]),
            look.shim.invocation.command(&["approve"])
        ))
    };
    finding.if_holds(certainty)
}

const LONGEST_NAME: usize = 40;
const LONGEST_ID: usize = 128;
const SHORT: usize = 12;
