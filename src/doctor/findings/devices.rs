//! F1, F3, F6, F12, F13, F19: the paired devices, and what this host's command line keeps of its own.

use std::collections::BTreeMap;

use super::{Finding, requests};
use crate::device::{DeviceRecord, OperatorToken};
use crate::doctor::asks::{self, Asks, refused_literally};
use crate::doctor::known::Certainty;
use crate::doctor::look::{Look, StoredToken};
use crate::doctor::subject::{Subject, subjects};
use crate::findings::Code;
use crate::profile::Version;
use crate::scope::{ADMIN, ScopeSet};
use crate::text::{brief, count};

pub(super) fn findings(look: &Look) -> Vec<Finding> {
    let subjects = subjects(look);
    let others = || subjects.iter().filter(|subject| !subject.is_delegate);
    let mut findings = Vec::new();
    for subject in others().filter(|subject| subject.record.is_operator()) {
        findings.extend(literal(look, subject));
        findings.extend(pinned(look, subject));
        findings.extend(narrow_token(look, subject));
        findings.extend(platform(look, subject));
        findings.extend(over_wide(look, subject));
    }
    findings.extend(
        look.client
            .tokens
            .iter()
            .filter_map(|stored| stale(look, stored)),
    );
    findings.extend(regenerated(look, &subjects));
    findings
}

/// How a device is named in a finding.
fn name(record: &DeviceRecord) -> String {
    let device = format!("device {}", brief(&record.device_id.short(), LONGEST_NAME));
    match record
        .display_name
        .as_deref()
        .or(record.client_id.as_deref())
    {
        Some(name) => format!("{device} ({})", brief(name, LONGEST_NAME)),
        None => device,
    }
}

fn literal(look: &Look, subject: &Subject<'_>) -> Option<Finding> {
    let approved = &subject.record.approved_scopes;
    let Asks::Sets(sets) = subject.likely_asks() else {
        return None;
    };
    let refused = |set: &ScopeSet| refused_literally(&look.version, approved, set);
    let certainty = sets.iter().map(refused).max()?;
    let refused: Vec<String> = sets
        .iter()
        .filter(|set| refused(set) != Certainty::No)
        .map(|set| format!("[{set}]"))
        .collect();
    let finding = Finding::new(Code::LiteralScopes, name(subject.record))
        .seen(format!("approved for {approved}"))
        .seen(format!("refused when it asks for {}", refused.join(" or ")));
    let finding = if subject.is_host {
        finding.seen("the gateway's own agents use this device, and ask past the shim")
    } else {
        finding
    };
    let repair = look.shim.invocation.command(&["repair", "--apply"]);
    // Later versions refuse to rotate beyond what was approved.
    let fix = if look.version.until(LAST_WIDENING_ROTATION) == Certainty::Certain {
        format!(
            "go through the shim; for good: {repair}, or openclaw devices rotate --device {} --role \
             operator{}",
            brief(subject.record.device_id.as_str(), LONGEST_ID),
            every_scope()
        )
    } else {
        format!(
            "go through the shim; for good: {repair}, or openclaw devices approve for each request"
        )
    };
    finding.fix(fix).if_holds(certainty)
}

fn every_scope() -> String {
    let five = [
        ADMIN,
        "operator.read",
        "operator.write",
        "operator.approvals",
        "operator.pairing",
    ];
    five.iter()
        .map(|scope| format!(" --scope {scope}"))
        .collect()
}

/// A device that lacks what its clients will ask for, on a gateway that does not widen it silently.
fn pinned(look: &Look, subject: &Subject<'_>) -> Option<Finding> {
    let missing = subject
        .record
        .approved_scopes
        .missing(&subject.likely_asks().needed());
    if missing.is_empty() {
        return None;
    }
    let waits = if subject.is_remote() || !look.configuration.auto_approve_local {
        Certainty::Certain
    } else {
        // Silently widened on 2026.2.17, from 2026.2.26 to 2026.3.24, and again from 2026.8.2.
        let early = look
            .version
            .within(Version::v2026(2, 18), Version::v2026(2, 22));
        early.max(
            look.version
                .within(Version::v2026(3, 25), Version::v2026(7, u16::MAX)),
        )
    };
    let finding = Finding::new(Code::PinnedDevice, name(subject.record))
        .seen(format!("approved for {}", subject.record.approved_scopes))
        .seen(format!(
            "its clients will also ask for {missing}, and wait for approval"
        ));
    let pending = look
        .store
        .snapshot
        .iter()
        .flat_map(|snapshot| &snapshot.pending);
    let request = pending
        .into_iter()
        .find(|request| request.device_id == subject.record.device_id);
    let fix = match request {
        Some(request) => requests::approve(look, request),
        None => format!(
            "run the command that fails once, then: {}",
            look.shim.invocation.command(&["approve", "--all-local"])
        ),
    };
    finding.fix(fix).if_holds(waits)
}

fn narrow_token(look: &Look, subject: &Subject<'_>) -> Option<Finding> {
    let OperatorToken::Live { scopes, .. } = &subject.record.operator_token else {
        return None;
    };
    let approved = &subject.record.approved_scopes;
    let missing = scopes.missing(approved);
    if missing.is_empty() {
        return None;
    }
    let finding = Finding::new(Code::NarrowToken, name(subject.record))
        .seen(format!("approved for {approved}"))
        .seen(format!("its token is for {scopes} only"))
        .seen("clients with the shared secret are not affected");
    let port = look.shim.listen.port();
    Some(finding.fix(format!(
        "connect once with the shared secret and every scope; or go through the shim (port {port})"
    )))
}

/// Pinned at pairing from 2026.2.26.
fn platform(look: &Look, subject: &Subject<'_>) -> Option<Finding> {
    let pinned = subject.record.platform.as_deref()?.trim();
    if !subject.is_host || pinned.is_empty() || pinned.eq_ignore_ascii_case(look.platform) {
        return None;
    }
    let finding = Finding::new(Code::MetadataChanged, name(subject.record))
        .seen(format!("paired on {}", brief(pinned, LONGEST_NAME)))
        .seen(format!(
            "its key is on this machine now, which is {}",
            look.platform
        ));
    finding.if_holds(look.version.since(Version::v2026(2, 26)))
}

fn over_wide(look: &Look, subject: &Subject<'_>) -> Option<Finding> {
    let record = subject.record;
    // What this host's own command line holds may be all that it comes in by.
    if !record.approved_scopes.names(ADMIN) || is_of_a_shim(record) || subject.is_host {
        return None;
    }
    let provenance = look.store.provenance.get(&record.device_id);
    let via = provenance.and_then(|provenance| provenance.approved_via.as_deref());
    let is_silent = via == Some("silent");
    let modest = modest_client(record);
    let why = match (modest, is_silent) {
        (Some(client), _) => format!("{client} never needs operator.admin"),
        // What its clients ask for is not too much; of OpenClaw's own programs the gateway knows what that is.
        (None, true) if subject.asks == Asks::Unknown && is_openclaws(record) => return None,
        (None, true) if subject.asks.needed().names_all(&record.approved_scopes) => return None,
        (None, true) => "nobody approved it: the gateway did so silently".to_owned(),
        (None, false) => return None,
    };
    let finding = Finding::new(Code::OverWideGrant, name(record))
        .seen(format!("holds {}", record.approved_scopes))
        .seen(why);
    let certainty = match (modest, &subject.asks) {
        (None, Asks::Unknown) => Certainty::Possible,
        _ => Certainty::Certain,
    };
    let finding = finding.fix(format!(
        "if it is not yours, or needs less: openclaw devices remove {}, and pair it again; no more silent ones: gateway.nodes.pairing.autoApproveLocal: false \
         (from 2026.8)",
        brief(record.device_id.as_str(), LONGEST_ID)
    ));
    finding.if_holds(certainty)
}

fn is_openclaws(record: &DeviceRecord) -> bool {
    let id = record.client_id.as_deref();
    id.is_some_and(|id| id.starts_with("openclaw-"))
}

/// The device of this shim or another: it stands for others, and needs what they may hold.
fn is_of_a_shim(record: &DeviceRecord) -> bool {
    let name = record.display_name.as_deref().unwrap_or_default();
    name == "scope-shim" || name.starts_with("scope-shim ")
}

/// A client that only looks, by what it calls itself. A mode alone tells nothing: a command line that probed last
/// (`status --all`) is recorded as a probe, and is a whole command line all the same.
fn modest_client(record: &DeviceRecord) -> Option<&'static str> {
    match (record.client_id.as_deref(), record.client_mode.as_deref()) {
        (Some("openclaw-probe"), _) => Some("a probe"),
        (Some("fingerprint"), _) => Some("a fingerprint client"),
        (Some("test"), _) | (_, Some("test")) => Some("a test client"),
        _ => None,
    }
}

/// The client's copy of its device token against the record's. Nothing of either is shown.
fn stale(look: &Look, stored: &StoredToken) -> Option<Finding> {
    // Then the command line shows no device, and renews no token.
    if asks::needs_no_device(&look.version, look.configuration.has_shared_secret()) {
        return None;
    }
    let snapshot = look.store.snapshot.as_ref()?;
    let record = snapshot.devices.get(&stored.device);
    let why = match record.map(|record| &record.operator_token) {
        None => "the gateway does not know the device any more",
        Some(OperatorToken::Withheld) => return None,
        Some(OperatorToken::None) => "the gateway has no token for the device",
        Some(OperatorToken::Revoked) => "the gateway has revoked the device's token",
        Some(OperatorToken::Live { token, .. }) if token.matches(stored.token.reveal()) => {
            return None;
        }
        Some(OperatorToken::Live { .. }) => "the gateway has issued another one since",
    };
    let finding = Finding::new(
        Code::StaleDeviceToken,
        format!("device {}", brief(&stored.device.short(), LONGEST_NAME)),
    )
    .seen(format!("{} holds a token", stored.place))
    .seen(why);
    Some(finding.fix(
        "connect once with the shared secret: openclaw devices list --token <the gateway's token>",
    ))
}

/// Several devices of one client from one place, made within an hour.
fn regenerated(look: &Look, subjects: &[Subject<'_>]) -> Vec<Finding> {
    let mut groups: BTreeMap<(String, String, String), Vec<u64>> = BTreeMap::new();
    for subject in subjects.iter().filter(|subject| !subject.is_delegate) {
        let record = subject.record;
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let provenance = look.store.provenance.get(&record.device_id);
        let ip = provenance.and_then(|provenance| provenance.remote_ip.clone());
        let created = provenance.and_then(|provenance| provenance.created_at_ms);
        if let Some(created) = created.or(record.approved_at_ms) {
            let client = format!("{}/{}", text(&record.client_id), text(&record.client_mode));
            let group = groups.entry((client, text(&record.display_name), ip.unwrap_or_default()));
            group.or_default().push(created);
        }
    }
    groups
        .into_iter()
        .filter_map(|((client, display, ip), mut times)| {
            times.sort_unstable();
            let burst = times
                .windows(SEVERAL)
                .any(|window| matches!(window, [first, .., last] if last - first <= AN_HOUR_MS));
            burst.then(|| {
                let client = brief(&client, LONGEST_NAME);
                let place = if ip.is_empty() {
                    "this machine".to_owned()
                } else {
                    brief(&ip, LONGEST_NAME)
                };
                let named = if display.is_empty() {
                    String::new()
                } else {
                    format!(" called {:?}", brief(&display, LONGEST_NAME))
                };
                Finding::new(Code::RegeneratedIdentity, client)
                    .seen(format!(
                        "{}{named} from {place}, {SEVERAL} or more of them within an hour",
                        count(times.len(), "paired device")
                    ))
                    .fix(
                        "keep the client's state directory (identity/, or its browser profile) between starts; remove \
                         the old ones: openclaw devices remove <id>",
                    )
            })
        })
        .collect()
}

/// 2026.2.19; on 2026.2.21 a token gets no more than was approved.
const LAST_WIDENING_ROTATION: Version = Version::v2026(2, 20);
const SEVERAL: usize = 4;
const AN_HOUR_MS: u64 = 3_600_000;
const LONGEST_NAME: usize = 40;
const LONGEST_ID: usize = 128;
