//! Why the gateway refused a session, and what ends it.
//!
//! A pure function of everything that the shim knows about the session and of what the gateway answered; no I/O and no
//! clock. Where something cannot be known, the sentence says less, never more.

mod credential;
mod data;
pub mod degraded;
mod draft;
mod gateway;
pub mod newcomers;
mod page;
mod pairing;
mod proof;
mod protocol;
mod proxy;
mod said;
mod shape;
mod silence;
mod text;

use std::net::IpAddr;

use serde_json::{Map, Value};

use crate::config::Policy;
use crate::decide::Decision;
use crate::device::DeviceRecord;
use crate::engine::Visit;
use crate::findings::Code;
use crate::gateway::{GatewayAuth, GatewayFacts};
use crate::handshake::message::{Challenge, Claims, Refusal};
use crate::identity::Identity;
use crate::invocation::Invocation;
use crate::profile::Profile;
use crate::scope::ScopeSet;

use draft::Draft;
use said::Said;

pub use shape::shape;
pub use silence::{Reached, Silence, no_answer};

/// Everything that is known about a session that the gateway refused.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// What it claims.
    pub claims: &'a Claims,
    /// Who it was found to be.
    pub identity: &'a Identity,
    /// The record of its device, where it proved that it is this device; whatever it authenticated with.
    pub record: Option<&'a DeviceRecord>,
    /// What the shim decided before the gateway answered.
    pub decision: &'a Decision,
    /// Where it came from.
    pub visit: &'a Visit,
    /// The client's address, as far as it is known.
    pub address: IpAddr,
    /// How the gateway behaves.
    pub profile: &'a Profile,
    /// What the gateway asks of everyone.
    pub auth: &'a GatewayAuth,
    /// What the gateway's own files say.
    pub facts: &'a GatewayFacts,
    /// The challenge that it had to sign.
    pub challenge: Option<&'a Challenge>,
    /// The shim's own clock, in milliseconds since the epoch.
    pub now_ms: i64,
    /// The gateway's whole answer.
    pub message: &'a Value,
    /// What the answer says.
    pub refusal: &'a Refusal,
    /// Whether the delegate asked in the client's place.
    pub delegated: bool,
    /// Whether the shim's own session is there to approve requests.
    pub approver: bool,
    /// What the operator allows.
    pub policy: &'a Policy,
    /// How commands are given that mean this shim and gateway.
    pub invocation: &'a Invocation,
    /// What the request that waits was filed for, where that was another attempt.
    pub waiting: Option<&'a ScopeSet>,
    /// How many new devices of this client and address were seen lately, this one among them.
    pub newcomers: usize,
}

/// A refusal, explained.
#[derive(Clone, Debug, PartialEq)]
pub struct Diagnosis {
    /// What is wrong.
    pub code: Code,
    /// One sentence: who, what was asked, what is approved, what is missing, and the way out.
    pub sentence: String,
    /// The same in at most [`crate::ws::close::MAX_REASON`] bytes.
    pub short: String,
    /// The command that ends it, where there is one.
    pub command: Option<String>,
    /// The same as data, for `error.details.scopeShim`.
    ///
    /// `finding` and `family` are always there; `device`, `client`, `address`, `asked`, `approved`, `missing` (lists of
    /// scopes), `requestId` and `command` where they are known; `evidence` holds what led to the finding.
    pub data: Map<String, Value>,
}

/// Explains a refusal.
#[must_use]
pub fn diagnose(case: &Case<'_>) -> Diagnosis {
    draft(case).finish(case)
}

fn draft(case: &Case<'_>) -> Draft {
    match Said::of(case.refusal, case.message) {
        Said::Pairing(reason) => pairing::explain(case, reason),
        Said::Credential(said) => credential::explain(case, said).lead("unauthorized: "),
        Said::RateLimited => credential::rate_limited(case).lead("unauthorized: "),
        Said::Unconfigured(kind) => credential::unconfigured(kind).lead("unauthorized: "),
        Said::ProxyUser => proxy::proxy_user(case).lead("unauthorized: "),
        Said::VerifiedUser => proxy::verified_user(case).lead("unauthorized: "),
        Said::Profile => gateway::profile(case),
        Said::NoDevice => page::no_device(case).lead("device identity required: "),
        Said::Origin => page::origin(case).lead("origin not allowed: "),
        Said::StaleBuild => page::stale_build(),
        Said::Proof(fault) => proof::explain(case, fault),
        Said::Protocol => protocol::explain(case).lead("protocol mismatch: "),
        Said::OldNode => protocol::old_node(case),
        Said::Schema => protocol::schema(case),
        Said::Unavailable => gateway::unavailable(case),
        // All that 2026.2.19 says to whom no proxy named.
        Said::Other if gateway::says_nothing(case) && case.auth.takes_users() => {
            proxy::proxy_user(case).lead("unauthorized: ")
        }
        Said::Other => gateway::other(case),
    }
}

#[cfg(test)]
mod tests;
