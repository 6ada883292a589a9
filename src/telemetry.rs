//! What the shim knows of its own work: the sessions that run, and what became of the handshakes that were.
//!
//! All gateways of one process share it. A session tells it two things: that it is there ([`Live`]), and, when its
//! handshake is over, what came of it ([`Handshake`]).

pub mod live;

use std::sync::Arc;
use std::time::Duration;

pub use live::{Live, Row};

use crate::diagnosis::Diagnosis;
use crate::explain::Outcome;

/// A handle on what is known. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Telemetry {
    /// The sessions that run.
    pub live: Live,
}

/// A handshake that is over, as it is shown to people.
#[derive(Clone, Debug)]
pub struct Handshake {
    /// The name that can be asked about later.
    pub session: String,
    /// When it began, in milliseconds since the epoch.
    pub at_ms: i64,
    /// How long it took.
    pub took: Duration,
    /// The client's address.
    pub from: String,
    /// Whose session it is.
    pub who: String,
    /// Which client.
    pub client: String,
    /// The scopes asked for.
    pub requested: String,
    /// The scopes that the device is approved for.
    pub approved: String,
    /// The verb of the decision.
    pub decision: String,
    /// Why.
    pub why: String,
    /// What was answered.
    pub answer: String,
    /// What came of it.
    pub outcome: Outcome,
    /// What is wrong, and what ends it.
    pub finding: Option<Diagnosis>,
}

impl Telemetry {
    /// A handshake is over.
    pub fn handshake(&self, row: &Row, handshake: Handshake) {
        row.seen(Arc::new(handshake));
    }
}
