//! Why the gateway refused a session, and what ends it.
//!
//! A pure function of everything that the shim knows about the session and of what the gateway answered; no I/O and no
//! clock.

mod shape;

use std::net::IpAddr;

use serde_json::{Map, Value};

use crate::decide::Decision;
use crate::engine::Visit;
use crate::findings::Code;
use crate::gateway::GatewayFacts;
use crate::handshake::message::{Challenge, Claims, Refusal};
use crate::identity::Identity;
use crate::profile::Profile;

pub use shape::shape;

/// Everything that is known about a session that the gateway refused.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// What it claims.
    pub claims: &'a Claims,
    /// Who it was found to be.
    pub identity: &'a Identity,
    /// What the shim decided before the gateway answered.
    pub decision: &'a Decision,
    /// Where it came from.
    pub visit: &'a Visit,
    /// The client's address, as far as it is known.
    pub address: IpAddr,
    /// How the gateway behaves.
    pub profile: &'a Profile,
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
    pub data: Map<String, Value>,
}

/// Explains a refusal.
#[must_use]
pub fn diagnose(case: &Case<'_>) -> Diagnosis {
    let message = &case.refusal.message;
    Diagnosis {
        code: Code::Refused,
        sentence: message.clone(),
        short: message.clone(),
        command: None,
        data: Map::new(),
    }
}
