//! Approving a pairing request: exactly what was looked at, accounted for beforehand, and checked afterwards.
//!
//! Everything goes through the gateway's own methods. Who decides that a request is approved is none of this module's
//! business: the operator's policy ([`crate::approver`]), or somebody at a terminal ([`crate::cli::approve`],
//! [`crate::repair`]) or at the status page.

mod listing;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use serde_json::json;
use thiserror::Error;
use tokio::task::spawn_blocking;

use crate::audit::{Audit, Rule};
use crate::config::{Capped, Policy};
use crate::control::{CallError, Calls};
use crate::device::{DeviceId, DeviceRecord};
use crate::identity::proof::{device_id, raw_public_key};
use crate::identity::store::PendingRequest;
use crate::scope::ScopeSet;

pub use listing::{Listing, LookError, look};

/// A request that waits, beside what its device holds.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The request.
    pub request: PendingRequest,
    /// The device, where it is paired.
    pub record: Option<Arc<DeviceRecord>>,
}

/// Why the shim does not approve a request, whoever says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Objection {
    /// The key is not the device's.
    ForeignKey,
    /// The policy keeps these scopes from this client.
    Capped {
        /// What it keeps.
        scopes: ScopeSet,
        /// The configuration's key that says so.
        setting: String,
    },
}

/// What an approval came to.
#[derive(Clone, Debug)]
pub struct Approved {
    /// What the device held before; `None` where it was not paired.
    pub before: Option<ScopeSet>,
    /// What it holds now.
    pub after: ScopeSet,
    /// The roles it has now.
    pub roles: Vec<String>,
}

/// Why a request was not approved.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NotApproved {
    /// The gateway could not be looked at beforehand.
    #[error(transparent)]
    Look(#[from] LookError),
    /// It no longer waits.
    #[error("it no longer waits{}", replaced(.0.as_deref()))]
    Gone(Option<String>),
    /// It asks for something else by now.
    #[error("it changed while it was looked at, and now asks for {0}; look at it again")]
    Changed(ScopeSet),
    /// The audit log cannot be written.
    #[error("the audit log {path} cannot be written, and what cannot be accounted for is not done: {source}", path = .path.display())]
    Audit {
        /// The log.
        path: std::path::PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The gateway did not do it.
    #[error("{0}")]
    Call(#[from] CallError),
    /// It was approved, but what it came to is not known.
    #[error("it was approved, but what the device holds now could not be looked at: {0}")]
    Unseen(String),
    /// It grew between the look and the approval, and was undone.
    #[error(
        "it grew by {wider} in the very moment it was approved; {}",
        if *.removed {
            "the device was removed from the gateway and has to pair anew"
        } else {
            "the device could not be removed: do that now, with openclaw devices remove"
        }
    )]
    Grew {
        /// What nobody had looked at.
        wider: ScopeSet,
        /// Whether the device could be removed.
        removed: bool,
    },
}

fn replaced(by: Option<&str>) -> String {
    by.map_or_else(
        || ": it was approved, rejected or given up".to_owned(),
        |id| {
            format!(
                ": the device asked again, and {} took its place",
                id.escape_debug()
            )
        },
    )
}

impl Candidate {
    /// Everything that waits in a listing.
    #[must_use]
    pub fn all(listing: &Listing) -> Vec<Self> {
        let waiting = listing.waiting.iter();
        waiting.map(|request| Self::of(listing, request)).collect()
    }

    fn of(listing: &Listing, request: &PendingRequest) -> Self {
        Self {
            record: listing.devices.get(&request.device_id).cloned(),
            request: request.clone(),
        }
    }

    /// What the device holds now.
    #[must_use]
    pub fn held(&self) -> ScopeSet {
        let record = self.record.as_ref();
        record.map_or_else(ScopeSet::new, |record| record.approved_scopes.clone())
    }

    /// What it asks for beyond that, and beyond what that implies.
    #[must_use]
    pub fn missing(&self) -> ScopeSet {
        self.held().missing(&self.request.scopes)
    }

    /// What the record will name once the request is approved.
    #[must_use]
    pub fn granted(&self) -> ScopeSet {
        self.held().union(&self.request.scopes)
    }

    /// Whether a paired operator asks with the key that was paired, for operator scopes and nothing else.
    #[must_use]
    pub fn is_repair(&self) -> bool {
        let paired = self.record.as_ref();
        paired.is_some_and(|record| record.is_operator() && !record.is_revoked())
            && self.has_its_own_key()
            && self.request.is_operator()
            && !self.request.scopes.is_empty()
    }

    /// Whether the gateway took it for one of its own machine: it notes an address for those from elsewhere.
    #[must_use]
    pub fn is_from_here(&self) -> bool {
        self.request.remote_ip.as_deref().is_none_or(|address| {
            let address = address.parse::<IpAddr>();
            address.is_ok_and(|address| address.to_canonical().is_loopback())
        })
    }

    /// What stands against approving it, if anything.
    #[must_use]
    pub fn objection(&self, policy: &Policy) -> Option<Objection> {
        if !self.has_its_own_key() {
            return Some(Objection::ForeignKey);
        }
        let client = self.request.client_id.as_deref().unwrap_or_default();
        policy
            .cap(client, &self.request.scopes)
            .map(|Capped { scopes, setting }| Objection::Capped { scopes, setting })
    }

    /// Whether `--all-local` covers it: an operator of this machine, and either a device that is paired with the same
    /// key, or this machine's own.
    #[must_use]
    pub fn is_local_operator(&self, host: Option<&DeviceId>) -> bool {
        let known = self.record.as_ref().map_or_else(
            || host == Some(&self.request.device_id),
            |record| record.is_operator(),
        );
        known
            && self.request.is_operator()
            && self.is_from_here()
            && !self.request.scopes.is_empty()
    }

    /// What the client has to do once it is approved: every approval makes the gateway issue another device token
    /// (2026.2.17 to 2026.9.6).
    #[must_use]
    pub fn next_step(&self) -> &'static str {
        if !self.request.is_operator() {
            "it has to connect again"
        } else if self.record.is_some() {
            "the client has to connect again, with the gateway's shared secret as the command line does: the approval \
             replaced its device token"
        } else {
            "the client has to connect again"
        }
    }

    /// Whether the key is the one that the device id stands for, and the one that was paired.
    fn has_its_own_key(&self) -> bool {
        let key = self.request.public_key.as_deref().and_then(raw_public_key);
        let Some(key) = key else { return false };
        let paired = self.record.as_ref();
        device_id(&key) == self.request.device_id
            && paired.is_none_or(|record| raw_public_key(&record.public_key) == Some(key))
    }
}

/// Approves a request that somebody looked at a while ago, if it still asks for the same.
///
/// # Errors
///
/// When it is not what it was, and as [`approve`].
pub async fn approve_unchanged(
    gateway: &mut impl Calls,
    audit: &Audit,
    rule: Rule,
    seen: &Candidate,
) -> Result<Approved, NotApproved> {
    still_the_same(gateway, seen).await?;
    approve(gateway, audit, rule, seen).await
}

/// Writes down what is about to be approved, where a slow disk keeps nobody else waiting.
async fn account_for(audit: &Audit, rule: Rule, seen: &Candidate) -> io::Result<()> {
    let (audit, seen) = (audit.clone(), seen.clone());
    let writing =
        spawn_blocking(move || audit.approval(rule, &seen.request, seen.record.as_deref()));
    writing.await.map_err(io::Error::other)?
}

/// Approves a request that was looked at just now.
///
/// # Errors
///
/// When it cannot be accounted for, or the gateway refuses; and when it turned out to be more than what was looked at,
/// which is undone.
pub async fn approve(
    gateway: &mut impl Calls,
    audit: &Audit,
    rule: Rule,
    seen: &Candidate,
) -> Result<Approved, NotApproved> {
    let request = &seen.request;
    account_for(audit, rule, seen)
        .await
        .map_err(|source| NotApproved::Audit {
            path: audit.path().to_owned(),
            source,
        })?;
    let params = json!({"requestId": request.request_id});
    gateway.call("device.pair.approve", params).await?;
    let now = look(gateway)
        .await
        .map_err(|error| NotApproved::Unseen(error.to_string()))?;
    let Some(record) = now.devices.get(&request.device_id) else {
        return Err(NotApproved::Unseen(
            "it is not among the paired devices".to_owned(),
        ));
    };
    let wider = seen.granted().missing(&record.approved_scopes);
    if !wider.is_empty() || !roles_are_expected(seen, record) {
        return Err(undo(gateway, &request.device_id, wider).await);
    }
    Ok(Approved {
        before: seen
            .record
            .as_ref()
            .map(|record| record.approved_scopes.clone()),
        after: record.approved_scopes.clone(),
        roles: record.roles.clone(),
    })
}

/// Gateways up to 2026.3.24 let a request grow under the same id; later ones give it another.
async fn still_the_same(gateway: &mut impl Calls, seen: &Candidate) -> Result<(), NotApproved> {
    let listing = look(gateway).await?;
    let request = &seen.request;
    let Some(waiting) = listing.request(&request.request_id) else {
        let mut others = listing.waiting.iter();
        let successor = others.find(|other| other.device_id == request.device_id);
        return Err(NotApproved::Gone(
            successor.map(|other| other.request_id.clone()),
        ));
    };
    let now = Candidate::of(&listing, waiting);
    let same = now.request.public_key == request.public_key
        && now.request.device_id == request.device_id
        && now.request.roles == request.roles
        && now.request.scopes == request.scopes
        && now.held() == seen.held();
    same.then_some(())
        .ok_or(NotApproved::Changed(now.request.scopes))
}

fn roles_are_expected(seen: &Candidate, now: &DeviceRecord) -> bool {
    let before = seen.record.iter().flat_map(|record| &record.roles);
    let expected: Vec<&String> = before.chain(&seen.request.roles).collect();
    now.roles.iter().all(|role| expected.contains(&role))
}

/// No gateway can take back a part of what it approved: the device goes, and has to ask anew.
async fn undo(gateway: &mut impl Calls, device: &DeviceId, wider: ScopeSet) -> NotApproved {
    let params = json!({"deviceId": device.as_str()});
    let removed = gateway.call("device.pair.remove", params).await.is_ok();
    NotApproved::Grew { wider, removed }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use serde_json::{Value, json};

    use super::*;

    use crate::scope::READ;

    const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    fn candidate(change: impl FnOnce(&mut Value)) -> Candidate {
        let id = device_id(&raw_public_key(KEY).unwrap());
        let mut list = json!({
            "pending": [{"requestId": "r", "deviceId": id.as_str(), "publicKey": KEY, "roles": ["operator"],
                         "scopes": [READ], "clientId": "cli"}],
            "paired": [{"deviceId": id.as_str(), "publicKey": KEY, "roles": ["operator"], "scopes": []}],
        });
        change(&mut list);
        Candidate::all(&Listing::read(&list).unwrap()).remove(0)
    }

    fn policy() -> Policy {
        Policy::default()
    }

    #[test]
    fn a_key_that_is_not_the_devices_is_never_approved() {
        assert_eq!(candidate(|_| ()).objection(&policy()), None);
        let foreign = Some(Objection::ForeignKey);
        let other = KEY.replace('A', "B");
        let changed = candidate(|list| list["pending"][0]["publicKey"] = json!(other));
        assert_eq!(changed.objection(&policy()), foreign, "another key");
        let absent = candidate(|list| list["pending"][0]["publicKey"] = json!(null));
        assert_eq!(absent.objection(&policy()), foreign, "no key");
        let paired = candidate(|list| list["paired"][0]["publicKey"] = json!(other));
        assert_eq!(
            paired.objection(&policy()),
            foreign,
            "paired with another key"
        );
    }

    #[test]
    fn only_an_address_of_this_machine_or_none_is_local() {
        for (address, local) in [
            (json!(null), true),
            (json!("127.0.0.1"), true),
            (json!("::ffff:127.0.0.1"), true),
            (json!("::1"), true),
            (json!("192.168.1.7"), false),
            (json!("localhost"), false),
            (json!(""), false),
        ] {
            let asking = candidate(|list| list["pending"][0]["remoteIp"] = address.clone());
            assert_eq!(asking.is_local_operator(None), local, "{address}");
        }
    }

    #[test]
    fn an_unpaired_device_is_local_only_if_it_is_this_machines_own() {
        let new = candidate(|list| list["paired"] = json!([]));
        let id = new.request.device_id.clone();
        assert!(new.is_local_operator(Some(&id)));
        assert!(!new.is_local_operator(None));
        assert!(!new.is_local_operator(Some(&DeviceId::new("another"))));
    }
}
