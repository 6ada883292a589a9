//! The decision: what becomes of a handshake.
//!
//! A pure function of what the client claims, who it was found to be, how the gateway behaves, what the delegate may
//! do and what the operator allows. No I/O and no clock: a table to read and to test. Each step can be listened to
//! ([`Trace`]), so that an explanation is never anything but what the decision itself went by.

mod evidence;
mod trace;

use std::sync::Arc;

use crate::config::Policy;
use crate::device::{DeviceRecord, OperatorToken};
use crate::handshake::message::Claims;
use crate::identity::{Credential, Identity, Unidentified};
use crate::profile::{Profile, ScopeCheck};
use crate::scope::{ADMIN, PAIRING, ScopeSet};

use evidence::yes_no;
pub use trace::{Question, Step, Trace};

/// What becomes of a handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The bytes go on untouched and the gateway decides.
    Pass(Pass),
    /// The delegate asks for the same scopes in the client's place.
    Rewrite(Rewrite),
}

/// Why a handshake goes on untouched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pass {
    /// Nodes prove who they are by themselves.
    NotOperator,
    /// No scope was asked for, so none can be missing.
    NothingRequested,
    /// Nobody that the shim knows.
    Unidentified(Unidentified),
    /// These scopes are not covered by what was approved.
    NotEntitled(ScopeSet),
    /// They are, and a cap keeps them from it all the same.
    Capped {
        /// The scopes.
        scopes: ScopeSet,
        /// What says so: a key of the configuration, or a header.
        by: String,
    },
    /// The gateway accepts it as it stands.
    Accepted,
    /// This gateway lets no user in without a device, whoever names the user.
    WantsDevice,
    /// On this gateway a session by device token manages its own device only; the delegate's would manage all.
    ConfinedToken,
    /// The gateway alone knows whether the device's token still holds; what it refuses for want of scopes is asked for again.
    TokenFirst,
    /// The delegate is not paired, or not for these scopes.
    NoDelegate(ScopeSet),
}

/// Why a handshake is rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rewrite {
    /// The gateway compares scope names literally.
    LiteralScopes,
    /// The gateway clears the scopes of a client without a device.
    DeviceLess,
    /// The platform or device family is not the one that was pinned at pairing.
    PinnedMetadata,
    /// The gateway refused what it was expected to accept.
    Refused,
}

/// Everything the decision depends on.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// What the client claims.
    pub claims: &'a Claims,
    /// Who it was found to be.
    pub identity: &'a Identity,
    /// How the gateway behaves.
    pub profile: &'a Profile,
    /// What the operator allows.
    pub policy: &'a Policy,
    /// A cap that came with the upgrade request (`x-openclaw-scopes`).
    pub cap: Option<&'a ScopeSet>,
    /// What the delegate is approved for, name by name; `None` while it is not paired.
    pub delegate: Option<&'a ScopeSet>,
}

/// Decides before the gateway has seen the handshake.
#[must_use]
pub fn decide(case: Case<'_>) -> Decision {
    decide_traced(case, &mut ())
}

/// The same, with every step told to `trace`.
pub fn decide_traced<T: Trace>(case: Case<'_>, trace: &mut T) -> Decision {
    rewrite_unless(case, foresee, token_first(case), trace)
}

/// Decides again after the gateway refused, or granted less than was asked for.
#[must_use]
pub fn decide_again(case: Case<'_>) -> Decision {
    decide_again_traced(case, &mut ())
}

/// The same, with every step told to `trace`.
pub fn decide_again_traced<T: Trace>(case: Case<'_>, trace: &mut T) -> Decision {
    rewrite_unless(case, refused, false, trace)
}

fn rewrite_unless<T: Trace>(
    case: Case<'_>,
    cause: impl FnOnce(Case<'_>, &mut T) -> Option<Rewrite>,
    token_first: bool,
    trace: &mut T,
) -> Decision {
    let decision = match obstacle(case, trace) {
        Some(pass) => Decision::Pass(named(case, pass)),
        None => match cause(case, trace) {
            None => Decision::Pass(Pass::Accepted),
            Some(cause) => match delegate_lacks(case, trace) {
                Some(pass) => Decision::Pass(pass),
                None if token_first => Decision::Pass(Pass::TokenFirst),
                None => Decision::Rewrite(cause),
            },
        },
    };
    trace.step(|| {
        Step::new(
            Question::Decision,
            decision.as_str(),
            [decision.to_string()],
        )
    });
    decision
}

/// Whether a rewritten handshake could let in whom the gateway locked out.
fn token_first(case: Case<'_>) -> bool {
    case.identity.is_by_device_token() && case.profile.judges_device_tokens()
}

/// What a session is not entitled to for want of an approval, or because a cap alone stands against it.
fn named(case: Case<'_>, pass: Pass) -> Pass {
    let Pass::NotEntitled(missing) = pass else {
        return pass;
    };
    let capped = missing.iter().all(|scope| {
        matches!(
            barrier(case, scope),
            Some(Barrier::Policy | Barrier::Header)
        )
    });
    if !capped {
        return Pass::NotEntitled(missing);
    }
    let by = case.policy.cap(&case.claims.client_id, &missing);
    Pass::Capped {
        scopes: missing,
        by: by.map_or_else(|| HEADER.to_owned(), |capped| capped.setting),
    }
}

/// Why this session may not be rewritten, whatever the gateway makes of it.
fn obstacle(case: Case<'_>, trace: &mut impl Trace) -> Option<Pass> {
    let operator = case.claims.is_operator();
    trace.step(|| Step::new(Question::Role, yes_no(operator), evidence::role(case)));
    if !operator {
        return Some(Pass::NotOperator);
    }
    let requests = !case.claims.scopes.is_empty();
    trace.step(|| {
        Step::new(
            Question::Requested,
            yes_no(requests),
            evidence::requested(case),
        )
    });
    if !requests {
        return Some(Pass::NothingRequested);
    }
    trace.step(|| {
        Step::new(
            Question::Identity,
            evidence::who(case),
            evidence::identity(case),
        )
    });
    if let Identity::Unknown(why) = case.identity {
        return Some(Pass::Unidentified(*why));
    }
    let missing = not_entitled(case);
    let granted = granted(case);
    trace.step(|| {
        let answer = match (missing.is_empty(), granted.is_empty()) {
            (true, _) => "yes",
            (false, false) => "some of them",
            (false, true) => "no",
        };
        Step::new(Question::Entitled, answer, evidence::entitled(case))
    });
    if granted.is_empty() {
        return Some(Pass::NotEntitled(missing));
    }
    wants_device(case, trace).then_some(Pass::WantsDevice)
}

/// Whether the gateway refuses a user who shows no device: up to 2026.2.21. The delegate's would let one in whom the
/// gateway alone does not, instead of giving back what a session lacks.
fn wants_device(case: Case<'_>, trace: &mut impl Trace) -> bool {
    let is_user = matches!(case.identity, Identity::User { .. });
    let wants = is_user && case.claims.device.is_none() && case.profile.early;
    if wants {
        trace.step(|| Step::new(Question::DeviceLess, "no", evidence::wants_device(case)));
    }
    wants
}

/// What the delegate asks for in the session's place: all that is asked for, or nothing.
///
/// A user gets what of it the map allows: a page asks for everything that a page may need, whoever sits before it.
#[must_use]
pub fn granted(case: Case<'_>) -> ScopeSet {
    let (requested, missing) = (case.claims.requested(), not_entitled(case));
    let in_part = matches!(case.identity, Identity::User { .. });
    if missing.is_empty() {
        requested
    } else if in_part {
        let held = requested.iter().filter(|scope| !missing.names(scope));
        held.collect()
    } else {
        ScopeSet::new()
    }
}

/// The requested scopes that the session may not hold.
#[must_use]
pub fn not_entitled(case: Case<'_>) -> ScopeSet {
    let requested = case.claims.requested();
    requested
        .iter()
        .filter(|scope| barrier(case, scope).is_some())
        .collect()
}

/// What keeps a session from holding a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Barrier {
    /// Neither approved nor granted by the policy.
    NotApproved,
    /// The device's own token is narrower than its record.
    Token,
    /// `policy.max_scopes`, or that of its client.
    Policy,
    /// `x-openclaw-scopes`.
    Header,
}

/// What keeps the session from holding `scope`. Nothing does where it lies in the closure of what was approved or
/// what the policy grants, and under every cap.
fn barrier(case: Case<'_>, scope: &str) -> Option<Barrier> {
    let client_id = &case.claims.client_id;
    let granted = case.policy.granted(client_id).implies(scope);
    let (held, token) = match case.identity {
        Identity::Device {
            record, credential, ..
        } => (
            record.approved_scopes.implies(scope) || granted,
            credential_covers(record, *credential, scope),
        ),
        Identity::User { scopes, .. } => (scopes.implies(scope), true),
        Identity::HostDevice(record) => (record.approved_scopes.implies(scope) || granted, true),
        Identity::FreshLocal => (scope.starts_with("operator."), true),
        Identity::Unknown(_) => (false, true),
    };
    if !held {
        Some(Barrier::NotApproved)
    } else if !token {
        Some(Barrier::Token)
    } else if !case.policy.allows(client_id, scope) {
        Some(Barrier::Policy)
    } else if !case.cap.is_none_or(|cap| cap.implies(scope)) {
        Some(Barrier::Header)
    } else {
        None
    }
}

/// A device that authenticates with its own token gets what that token was issued for, and no more.
fn credential_covers(record: &DeviceRecord, credential: Credential, scope: &str) -> bool {
    match (credential, &record.operator_token) {
        (Credential::Shared, _) => true,
        (Credential::DeviceToken, OperatorToken::Live { scopes, .. }) => scopes.implies(scope),
        (Credential::DeviceToken, _) => false,
    }
}

/// Why the gateway would refuse or cripple the handshake as it stands, whatever the session may hold.
#[must_use]
pub fn foreseen(case: Case<'_>) -> Option<Rewrite> {
    foresee(case, &mut ())
}

/// Why the gateway would refuse or cripple the handshake as it stands; `None` where it accepts it.
///
/// In doubt it would: a rewritten handshake is accepted by every version, a refused one leaves a pairing request.
fn foresee(case: Case<'_>, trace: &mut impl Trace) -> Option<Rewrite> {
    match case.identity {
        Identity::Device {
            record, credential, ..
        } => foresee_device(case, record, *credential, trace),
        Identity::User { .. } => foresee_user(case, trace),
        Identity::HostDevice(_) | Identity::FreshLocal => {
            let kept = case
                .profile
                .keeps_device_less(&case.claims.client_id, &case.claims.client_mode);
            trace.step(|| {
                let certain = if kept { "yes" } else { "not for certain" };
                Step::new(Question::DeviceLess, certain, evidence::device_less(case))
            });
            (!kept).then_some(Rewrite::DeviceLess)
        }
        Identity::Unknown(_) => None,
    }
}

/// A gateway that wants a user's device paired is to be asked; one that lets it in without scopes is found out then.
fn foresee_user(case: Case<'_>, trace: &mut impl Trace) -> Option<Rewrite> {
    if case.claims.device.is_some() {
        return None;
    }
    let kept = case.profile.keeps_users(&case.claims.client_id);
    trace.step(|| {
        let certain = if kept { "yes" } else { "not for certain" };
        Step::new(Question::DeviceLess, certain, evidence::user(case))
    });
    (!kept).then_some(Rewrite::DeviceLess)
}

fn foresee_device(
    case: Case<'_>,
    record: &DeviceRecord,
    credential: Credential,
    trace: &mut impl Trace,
) -> Option<Rewrite> {
    let same = !(case.profile.pins_metadata && metadata_differs(case.claims, record));
    trace.step(|| {
        Step::new(
            Question::Metadata,
            yes_no(same),
            evidence::metadata(case, record),
        )
    });
    if !same {
        return Some(Rewrite::PinnedMetadata);
    }
    let requested = case.claims.requested();
    let approved = gateway_finds(case.profile, &record.approved_scopes, &requested);
    trace.step(|| {
        let evidence = evidence::comparison(case, &record.approved_scopes);
        Step::new(Question::Record, yes_no(approved), evidence)
    });
    let token = match (credential, &record.operator_token) {
        (Credential::DeviceToken, OperatorToken::Live { scopes, .. }) => {
            let found = gateway_finds(case.profile, scopes, &requested);
            trace.step(|| {
                Step::new(
                    Question::Token,
                    yes_no(found),
                    evidence::comparison(case, scopes),
                )
            });
            found
        }
        _ => true,
    };
    (!approved || !token).then_some(Rewrite::LiteralScopes)
}

/// Whether this gateway, comparing as it does, finds every requested scope among those that are held.
fn gateway_finds(profile: &Profile, held: &ScopeSet, requested: &ScopeSet) -> bool {
    match profile.scope_check {
        ScopeCheck::Implied => held.implies_all(requested),
        ScopeCheck::Literal | ScopeCheck::Unknown => held.names_all(requested),
    }
}

/// The gateway has answered already.
fn refused(_: Case<'_>, trace: &mut impl Trace) -> Option<Rewrite> {
    trace.step(|| {
        let because = "it refused the client's own request, or took scopes away from it".to_owned();
        Step::new(Question::Accepted, "no", [because])
    });
    Some(Rewrite::Refused)
}

/// Whether the client claims another platform or device family than was pinned; a value that was never sent at
/// pairing pins nothing (seen from 2026.2.26 to 2026.9.6).
fn metadata_differs(claims: &Claims, record: &DeviceRecord) -> bool {
    let differs = |pinned: Option<&str>, claimed: &str| {
        pinned.is_some_and(|pinned| {
            !pinned.trim().is_empty() && !pinned.trim().eq_ignore_ascii_case(claimed.trim())
        })
    };
    differs(record.platform.as_deref(), &claims.platform)
        || differs(
            record.device_family.as_deref(),
            claims.device_family.as_deref().unwrap_or_default(),
        )
}

/// Why the delegate could not ask for the same; `None` where it can.
fn delegate_lacks(case: Case<'_>, trace: &mut impl Trace) -> Option<Pass> {
    let requested = granted(case);
    let confined = case.identity.is_by_device_token()
        && requested.names(PAIRING)
        && !requested.names(ADMIN)
        && !case.profile.device_tokens_manage_others();
    let lacks = if confined {
        Some(Pass::ConfinedToken)
    } else {
        match case.delegate {
            None => Some(Pass::NoDelegate(requested)),
            Some(delegate) => {
                let lacking: ScopeSet = requested
                    .iter()
                    .filter(|scope| !delegate.names(scope))
                    .collect();
                (!lacking.is_empty()).then_some(Pass::NoDelegate(lacking))
            }
        }
    };
    trace.step(|| {
        Step::new(
            Question::Delegate,
            yes_no(lacks.is_none()),
            evidence::delegate(case, lacks.as_ref()),
        )
    });
    lacks
}

impl Decision {
    /// The stable name for logs and metrics.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Pass(_) => "pass",
            Self::Rewrite(_) => "rewrite",
        }
    }
}

const HEADER: &str = "the header x-openclaw-scopes";

/// Why, in a few words.
impl std::fmt::Display for Decision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Pass(Pass::NotOperator) => f.write_str("not an operator"),
            Self::Pass(Pass::NothingRequested) => f.write_str("no scope requested"),
            Self::Pass(Pass::Unidentified(why)) => write!(f, "{why}"),
            Self::Pass(Pass::NotEntitled(missing)) => write!(f, "not approved for {missing}"),
            Self::Pass(Pass::Capped { scopes, by }) => write!(f, "{by} keeps {scopes} from it"),
            Self::Pass(Pass::Accepted) => f.write_str("the gateway accepts it as it stands"),
            Self::Pass(Pass::WantsDevice) => {
                f.write_str("this gateway lets no user in without a device")
            }
            Self::Pass(Pass::ConfinedToken) => {
                f.write_str("a session by device token may manage its own device only")
            }
            Self::Pass(Pass::TokenFirst) => f.write_str(
                "the gateway is asked first: it alone knows whether the device's token still holds",
            ),
            Self::Pass(Pass::NoDelegate(_)) => {
                f.write_str("the shim's own device is not paired for this yet")
            }
            Self::Rewrite(Rewrite::LiteralScopes) => {
                f.write_str("entitled, but this gateway may compare scope names literally")
            }
            Self::Rewrite(Rewrite::DeviceLess) => {
                f.write_str("entitled, but this gateway clears scopes without a device")
            }
            Self::Rewrite(Rewrite::PinnedMetadata) => {
                f.write_str("entitled, but its platform is not the pinned one")
            }
            Self::Rewrite(Rewrite::Refused) => f.write_str("entitled, but the gateway refused it"),
        }
    }
}

/// What the session was approved for, for people to read; empty where that is not known.
#[must_use]
pub fn approved(identity: &Identity) -> Option<Arc<DeviceRecord>> {
    match identity {
        Identity::Device { record, .. } | Identity::HostDevice(record) => Some(Arc::clone(record)),
        Identity::User { .. } | Identity::FreshLocal | Identity::Unknown(_) => None,
    }
}

#[cfg(test)]
mod tests;
