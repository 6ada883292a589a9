//! What `repair` would do: one step a device.

use std::sync::Arc;

use crate::approval::{Candidate, Listing};
use crate::config::Policy;
use crate::device::{DeviceId, DeviceRecord, is_paired_by_code};
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

impl Step {
    /// Whether the record is to get more names.
    #[must_use]
    pub fn needs_names(&self) -> bool {
        self.reasons
            .iter()
            .any(|reason| matches!(reason, Reason::Unnamed(_)))
    }

    /// Whether that is all.
    #[must_use]
    pub fn needs_only_names(&self) -> bool {
        self.needs_names() && self.reasons.len() == 1
    }
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
    /// Its token was revoked, or there never was one: a rotation would issue a new one.
    NoToken,
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
            Self::NoToken => {
                "it has no valid token, and would be given one: remove the device, or pair it again"
            }
            Self::Capped => "policy.max_scopes, or the client's own cap, forbids it",
        }
    }
}

/// Plans the repair of every device that needs one, except for the shim's own and for nodes.
#[must_use]
pub fn plan(listing: &Listing, profile: &Profile, policy: &Policy, own: Option<&DeviceId>) -> Plan {
    let mut plan = Plan::default();
    let mut records: Vec<_> = listing.devices.values().collect();
    records.sort_by_key(|record| (record.approved_at_ms, record.device_id.clone()));
    for record in records {
        if Some(&record.device_id) != own
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
    let token = listing.token_scopes(&record.device_id).cloned();
    let check = Check::of(profile).informed(&record.approved_scopes, token.as_ref());
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
            held.union(&request.request.scopes)
        });
    let unnamed = check.unnamed(&approved);
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
        } else if token.is_none() {
            leave(reason, Left::NoToken);
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
    } else if narrowed {
        step.requests.clear();
        step.scopes = record.approved_scopes.clone();
        step.reasons.retain(|reason| *reason != Reason::Waits);
        leave(Reason::Waits, Left::Capped);
    }
    if !step.reasons.is_empty() {
        plan.steps.push(step);
    }
}

/// What waits for the device and lies in the closure of what it holds.
fn entitled_requests(record: &DeviceRecord, listing: &Listing, policy: &Policy) -> Vec<Candidate> {
    let of_device = Candidate::all(listing)
        .into_iter()
        .filter(|candidate| candidate.request.device_id == record.device_id);
    of_device
        .filter(|candidate| {
            candidate.is_repair()
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

    /// Up to 2026.2.19 no token names what its record does not, whatever was done with either.
    fn informed(self, record: &ScopeSet, token: Option<&ScopeSet>) -> Self {
        match (self, token) {
            (Self::Literal, Some(token)) if !record.names_all(token) => Self::Literal221,
            _ => self,
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
    record.client_id.as_deref().is_some_and(is_paired_by_code)
}

/// What the clients of gateways up to 2026.2.21 ask for.
const ASKED_EARLY: [&str; 5] = [ADMIN, "operator.approvals", PAIRING, READ, WRITE];
/// From here on a rotation keeps to what was approved.
const BASELINE: Version = Version::v2026(2, 21);

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use serde_json::{Value, json};

    use super::*;

    use crate::identity::proof::{device_id, raw_public_key};
    use crate::profile::Evidence;
    use crate::scope::ALL;

    const APPROVALS: &str = "operator.approvals";
    const LEGACY: [&str; 3] = [ADMIN, APPROVALS, PAIRING];

    fn gateway(version: &str) -> Profile {
        Profile::from_evidence(&Evidence {
            version: Some(version.to_owned()),
            has_server_host: version < "2026.2.22" || version == "dev",
        })
    }

    fn policy(max_scopes: &[&str]) -> Policy {
        Policy {
            max_scopes: max_scopes.iter().copied().collect(),
            ..Policy::default()
        }
    }

    fn device(client: &str, roles: &[&str], scopes: &[&str], token: &[&str]) -> Value {
        json!({
            "deviceId": "d", "publicKey": "k", "clientId": client, "roles": roles, "scopes": scopes,
            "tokens": [{"role": "operator", "scopes": token}],
        })
    }

    fn planned(version: &str, policy: &Policy, device: &Value) -> Plan {
        let listing = Listing::read(&json!({"pending": [], "paired": [device]})).unwrap();
        plan(
            &listing,
            &gateway(version),
            policy,
            Some(&DeviceId::new("own")),
        )
    }

    /// What the token becomes, and why something is left.
    fn outcome(version: &str, max: &[&str], device: &Value) -> (Option<String>, Option<Left>) {
        let plan = planned(version, &policy(max), device);
        let rotation = plan.steps.first().and_then(|step| step.rotate_to.as_ref());
        (
            rotation.map(ToString::to_string),
            plan.notes.first().map(|note| note.why),
        )
    }

    #[test]
    fn the_early_gateways_get_every_name_and_the_later_ones_need_none() {
        let legacy = device("cli", &["operator"], &LEGACY, &LEGACY);
        let all = Some("admin, approvals, pairing, read, write".to_owned());
        assert_eq!(outcome("2026.2.19", &ALL, &legacy), (all, None));
        assert_eq!(
            outcome("2026.2.21", &ALL, &legacy),
            (None, Some(Left::ApprovalOnly))
        );
        for version in ["2026.2.26", "2026.3.13", "2026.9.6"] {
            assert_eq!(outcome(version, &ALL, &legacy), (None, None), "{version}");
        }
    }

    #[test]
    fn a_rotation_that_added_no_names_is_not_repeated() {
        let rotated = device(
            "cli",
            &["operator"],
            &LEGACY,
            &[ADMIN, APPROVALS, PAIRING, READ, WRITE],
        );
        assert_eq!(
            outcome("dev", &ALL, &rotated),
            (None, Some(Left::ApprovalOnly))
        );
    }

    #[test]
    fn a_narrow_token_becomes_as_wide_as_the_record_where_that_locks_nobody_out() {
        let narrow = |client| device(client, &["operator"], &[READ, PAIRING], &[READ]);
        let wide = Some("pairing, read".to_owned());
        assert_eq!(outcome("2026.3.13", &ALL, &narrow("cli")), (wide, None));
        let app = outcome("2026.3.13", &ALL, &narrow("openclaw-ios"));
        assert_eq!(app, (None, Some(Left::OnlyCredential)));
    }

    #[test]
    fn nothing_goes_beyond_the_policy_and_nothing_is_narrowed_for_it() {
        let legacy = device("cli", &["operator"], &LEGACY, &[PAIRING]);
        for version in ["2026.2.19", "2026.3.13"] {
            let capped = outcome(version, &[PAIRING], &legacy);
            assert_eq!(capped, (None, Some(Left::Capped)), "{version}");
        }
    }

    #[test]
    fn no_request_is_approved_that_would_leave_a_token_narrower_than_it_was() {
        let key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        let id = device_id(&raw_public_key(key).unwrap());
        let mut device = device("cli", &["operator"], &LEGACY, &LEGACY);
        device["deviceId"] = json!(id.as_str());
        device["publicKey"] = json!(key);
        let request = json!({
            "requestId": "r", "deviceId": id.as_str(), "publicKey": key, "roles": ["operator"], "scopes": [READ],
            "clientId": "cli",
        });
        let listing = Listing::read(&json!({"pending": [request], "paired": [device]})).unwrap();
        let planned = |max: &[&str]| {
            let plan = plan(
                &listing,
                &gateway("2026.2.19"),
                &policy(max),
                Some(&DeviceId::new("own")),
            );
            let step = plan.steps.first();
            step.map(|step| (step.requests.len(), step.rotate_to.is_some()))
        };
        assert_eq!(planned(&ALL), Some((1, true)));
        assert_eq!(
            planned(&[READ]),
            None,
            "the cap keeps it from being widened again"
        );
    }

    #[test]
    fn nodes_and_the_shim_itself_are_not_touched() {
        for roles in [&["node"][..], &["operator", "node"], &[]] {
            let other = device("cli", roles, &LEGACY, &LEGACY);
            assert_eq!(
                outcome("2026.2.19", &ALL, &other),
                (None, None),
                "{roles:?}"
            );
        }
        let mut own = device("test", &["operator"], &LEGACY, &LEGACY);
        own["deviceId"] = json!("own");
        assert_eq!(outcome("2026.2.19", &ALL, &own), (None, None));
    }

    #[test]
    fn a_device_without_a_live_token_gets_none() {
        let mut revoked = device("cli", &["operator"], &[READ, PAIRING], &[READ]);
        revoked["tokens"][0]["revokedAtMs"] = json!(1);
        assert_eq!(outcome("2026.3.13", &ALL, &revoked), (None, None));
        let mut revoked = device("cli", &["operator"], &LEGACY, &LEGACY);
        revoked["tokens"][0]["revokedAtMs"] = json!(1);
        assert_eq!(
            outcome("2026.2.19", &ALL, &revoked),
            (None, Some(Left::NoToken))
        );
    }
}
