//! What `repair` would do: one step a device.

use std::sync::Arc;

use super::approval::Candidate;
use super::listing::Listing;
use crate::config::Policy;
use crate::device::{DeviceId, DeviceRecord};
use crate::handshake::message::OPERATOR;
use crate::profile::{Profile, ScopeCheck, Version};
use crate::scope::{ADMIN, PAIRING, READ, ScopeSet, WRITE};

/// What can be repaired, and what can only be said.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// What `--apply` does.
    pub steps: Vec<Step>,
    /// What it leaves alone although it is not as it should be.
    pub notes: Vec<Note>,
}

/// What is done for one device.
#[derive(Clone, Debug)]
pub struct Step {
    /// The device.
    pub record: Arc<DeviceRecord>,
    /// Why.
    pub reasons: Vec<Reason>,
    /// Its requests that are approved first.
    pub requests: Vec<Candidate>,
    /// What the record is to name afterwards.
    pub scopes: ScopeSet,
    /// What its token is issued for now; `None` where it has none.
    pub token: Option<ScopeSet>,
    /// What its token is issued for afterwards; `None` where it is not replaced.
    pub rotate_to: Option<ScopeSet>,
}

/// Why a device needs repair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The gateway compares names literally, and the record does not name these that it implies.
    Unnamed(ScopeSet),
    /// A request waits that widens nothing.
    Waits,
    /// The token lacks these scopes that were approved.
    NarrowToken(ScopeSet),
}

/// Something that `repair` does not do.
#[derive(Clone, Debug)]
pub struct Note {
    /// The device.
    pub record: Arc<DeviceRecord>,
    /// What is not as it should be.
    pub reasons: Vec<Reason>,
    /// Why it is left alone, and what ends it.
    pub why: Left,
}

/// Why a device is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// The gateway adds names to a record only with an approval (2026.2.21).
    ApprovalOnly,
    /// The client may know no other credential than its device token, which would be replaced.
    OnlyCredential,
    /// The policy forbids what would have to be named.
    Capped,
}

impl Left {
    /// In words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ApprovalOnly => {
                "this gateway adds scopes to a device only with an approval: a running scope-shim approves the first request of the device"
            }
            Self::OnlyCredential => {
                "its token may be all that the app has to connect with; pair the app again to widen it"
            }
            Self::Capped => "policy.max_scopes, or the client's own cap, forbids it",
        }
    }
}

/// Plans the repair of every device that needs one, except for the shim's own and for nodes.
#[must_use]
pub fn plan(listing: &Listing, profile: &Profile, policy: &Policy, own: &DeviceId) -> Plan {
    let mut plan = Plan::default();
    let mut records: Vec<_> = listing.devices.values().collect();
    records.sort_by_key(|record| (record.approved_at_ms, record.device_id.clone()));
    for record in records {
        if record.device_id != *own
            && record.roles.iter().all(|role| role == OPERATOR)
            && record.is_operator()
        {
            examine(record, listing, profile, policy, &mut plan);
        }
    }
    plan
}

fn examine(
    record: &Arc<DeviceRecord>,
    listing: &Listing,
    profile: &Profile,
    policy: &Policy,
    plan: &mut Plan,
) {
    let check = Check::of(profile);
    let allowed =
        |scope: &str| policy.allows(record.client_id.as_deref().unwrap_or_default(), scope);
    let requests = if check == Check::Implied {
        Vec::new()
    } else {
        entitled_requests(record, listing, policy)
    };
    let approved = requests
        .iter()
        .fold(record.approved_scopes.clone(), |held, request| {
            held.union(&request.request().scopes)
        });
    let unnamed = check.unnamed(&approved);
    let token = listing.token_scopes(&record.device_id).cloned();
    let lacks = |scopes: &ScopeSet| {
        let token = token.as_ref();
        token.map_or_else(ScopeSet::new, |token| check.lacking(token, scopes))
    };
    let narrow = lacks(&record.approved_scopes);
    // An approval on these gateways leaves the token with nothing but what was asked for.
    let narrowed = !requests.is_empty() && token.is_some();

    let mut step = Step {
        record: Arc::clone(record),
        reasons: Vec::new(),
        requests,
        scopes: approved,
        rotate_to: None,
        token: token.clone(),
    };
    if !step.requests.is_empty() {
        step.reasons.push(Reason::Waits);
    }
    let mut leave = |reason: Reason, why: Left| {
        plan.notes.push(Note {
            record: Arc::clone(record),
            reasons: vec![reason],
            why,
        });
    };

    if !unnamed.is_empty() {
        let reason = Reason::Unnamed(unnamed.clone());
        if check == Check::Literal221 {
            leave(reason, Left::ApprovalOnly);
        } else if step.scopes.union(&unnamed).iter().all(allowed) {
            step.scopes = step.scopes.union(&unnamed);
            step.rotate_to = Some(step.scopes.clone());
            step.reasons.push(reason);
        } else {
            leave(reason, Left::Capped);
        }
    }
    if !narrow.is_empty() {
        let reason = Reason::NarrowToken(narrow);
        if !step.scopes.iter().all(allowed) {
            leave(reason, Left::Capped);
        } else if has_no_other_credential(record) {
            leave(reason, Left::OnlyCredential);
        } else {
            step.rotate_to.get_or_insert_with(|| step.scopes.clone());
            step.reasons.push(reason);
        }
    }
    if narrowed && step.scopes.iter().all(allowed) {
        step.rotate_to.get_or_insert_with(|| step.scopes.clone());
    }
    if !step.reasons.is_empty() {
        plan.steps.push(step);
    }
}

/// What waits for the device and lies in the closure of what it holds.
fn entitled_requests(record: &DeviceRecord, listing: &Listing, policy: &Policy) -> Vec<Candidate> {
    let of_device = Candidate::all(listing)
        .into_iter()
        .filter(|candidate| candidate.request().device_id == record.device_id);
    of_device
        .filter(|candidate| {
            candidate.is_operator()
                && !candidate.request().scopes.is_empty()
                && candidate.missing().is_empty()
                && candidate.objection(policy).is_none()
        })
        .collect()
}

/// How the gateway tells whether a scope is covered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Check {
    /// Name by name; a rotation may add names (2026.2.17, 2026.2.19).
    Literal,
    /// Name by name, except that `admin` and `write` cover `read`; a rotation keeps to what was approved (2026.2.21).
    Literal221,
    /// As [`ScopeSet::implies`] has it.
    Implied,
}

impl Check {
    fn of(profile: &Profile) -> Self {
        match (profile.scope_check, profile.version) {
            (ScopeCheck::Literal, Some(version)) if version >= BASELINE => Self::Literal221,
            (ScopeCheck::Literal, _) => Self::Literal,
            (ScopeCheck::Implied | ScopeCheck::Unknown, _) => Self::Implied,
        }
    }

    fn covers(self, held: &ScopeSet, scope: &str) -> bool {
        match self {
            Self::Literal => held.names(scope),
            Self::Literal221 => {
                held.names(scope) || (scope == READ && (held.names(ADMIN) || held.names(WRITE)))
            }
            Self::Implied => held.implies(scope),
        }
    }

    /// What clients of the early gateways ask for, and is implied by the record but not covered.
    fn unnamed(self, approved: &ScopeSet) -> ScopeSet {
        let implied = ASKED_EARLY
            .into_iter()
            .filter(|scope| approved.implies(scope));
        implied
            .filter(|scope| !self.covers(approved, scope))
            .collect()
    }

    /// What was approved and is not covered by the token.
    fn lacking(self, token: &ScopeSet, approved: &ScopeSet) -> ScopeSet {
        approved
            .iter()
            .filter(|scope| !self.covers(token, scope))
            .collect()
    }
}

/// Apps that pair with a setup code never see the shared secret.
fn has_no_other_credential(record: &DeviceRecord) -> bool {
    let client = record.client_id.as_deref().unwrap_or_default();
    PAIRED_BY_CODE.contains(&client)
}

/// What the clients of gateways up to 2026.2.21 ask for.
const ASKED_EARLY: [&str; 5] = [ADMIN, "operator.approvals", PAIRING, READ, WRITE];
const PAIRED_BY_CODE: [&str; 3] = ["openclaw-ios", "openclaw-android", "openclaw-watchos"];
/// From here on a rotation keeps to what was approved.
const BASELINE: Version = Version::v2026(2, 21);
