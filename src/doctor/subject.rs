//! A paired device with all that was seen of it, in the order in which a report names them.

use std::cmp::Reverse;

use super::asks::{self, Asks};
use super::look::Look;
use crate::device::DeviceRecord;
use crate::identity::store::PendingRequest;

/// One paired device.
#[derive(Clone, Debug)]
pub struct Subject<'a> {
    /// What the store says.
    pub record: &'a DeviceRecord,
    /// Whether it is the device of this host's own command line and agents.
    pub is_host: bool,
    /// Whether it is the shim's own device.
    pub is_delegate: bool,
    /// The address it paired from, where the gateway took it for remote.
    pub remote_ip: Option<&'a str>,
    /// How it was approved, where the store says.
    pub approved_via: Option<&'a str>,
    /// What its clients will ask for.
    pub asks: Asks,
}

impl Subject<'_> {
    /// Whether it paired from another machine.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        self.remote_ip
            .and_then(|ip| ip.parse::<std::net::IpAddr>().ok())
            .is_some_and(|ip| !ip.is_loopback())
    }

    /// What its clients ask for, or, where the version is not known, what the early ones do.
    #[must_use]
    pub fn likely_asks(&self) -> Asks {
        let is_cli = self.record.client_id.as_deref() == Some("cli");
        match &self.asks {
            Asks::Unknown if is_cli => asks::any_command_line(),
            known => known.clone(),
        }
    }
}

/// Every paired device: the host's own first, then those used last.
#[must_use]
pub fn subjects(look: &Look) -> Vec<Subject<'_>> {
    let records = look
        .store
        .snapshot
        .iter()
        .flat_map(|snapshot| snapshot.devices.values());
    let mut subjects: Vec<Subject<'_>> = records.map(|record| subject(look, record)).collect();
    subjects.sort_by_key(|subject| {
        let record = subject.record;
        let used = record.last_seen_at_ms.or(record.approved_at_ms);
        (
            !subject.is_host,
            subject.is_delegate,
            Reverse(used),
            record.device_id.clone(),
        )
    });
    subjects
}

fn subject<'a>(look: &'a Look, record: &'a DeviceRecord) -> Subject<'a> {
    let provenance = look.store.provenance.get(&record.device_id);
    let is_host = look.client.own_device.as_ref() == Some(&record.device_id);
    let is_node = !record.is_operator();
    let id = record.client_id.as_deref().unwrap_or_default();
    let mode = record.client_mode.as_deref().unwrap_or_default();
    let remote_ip = provenance.and_then(|provenance| provenance.remote_ip.as_deref());
    // A command line that pairs from this machine without being its own is another user's, or of another state.
    let asks = if is_host {
        let has_secret = look.configuration.has_shared_secret();
        asks::of_host(&look.version, id, mode, is_node, has_secret)
    } else {
        asks::asks(&look.version, id, mode, is_node)
    };
    Subject {
        record,
        is_host,
        is_delegate: look.delegate() == Some(&record.device_id),
        remote_ip,
        approved_via: provenance.and_then(|provenance| provenance.approved_via.as_deref()),
        asks,
    }
}

/// The requests that wait, the newest first.
#[must_use]
pub fn pending(look: &Look) -> Vec<&PendingRequest> {
    let mut pending: Vec<&PendingRequest> = look
        .store
        .snapshot
        .iter()
        .flat_map(|snapshot| &snapshot.pending)
        .collect();
    pending.sort_by_key(|request| (Reverse(request.ts_ms), request.request_id.clone()));
    pending
}

/// Whether the gateway no longer takes an approval for the request: after five minutes.
#[must_use]
pub fn is_expired(look: &Look, request: &PendingRequest) -> bool {
    let filed = request.ts_ms.and_then(|ts| i64::try_from(ts).ok());
    filed.is_some_and(|filed| look.now_ms.saturating_sub(filed) > TIME_TO_LIVE_MS)
}

const TIME_TO_LIVE_MS: i64 = 5 * 60 * 1000;
