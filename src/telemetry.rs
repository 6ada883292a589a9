//! What the shim knows of its own work: the sessions that run, and what became of the handshakes that were.
//!
//! All gateways of one process share one [`Telemetry`], and each has a handle of its own ([`GatewayTelemetry`]). A
//! session tells two things: that it is there ([`Row`]), and, when its handshake is over, what came of it
//! ([`Handshake`]). Nothing is counted message by message, and nothing grows with what clients send.

pub mod hour;
pub mod live;
pub mod lookups;
pub mod meters;
pub mod notable;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::StatusCode;
use serde_json::Value;
use tokio::sync::Mutex as AsyncMutex;

use crate::audit::Rule;
use crate::clock;
use crate::diagnosis::Diagnosis;
use crate::explain::Outcome;
use crate::findings::Code;
use crate::text::first;

use hour::{Hour, Plot};
use live::Live;
pub use live::Row;
use lookups::Lookups;
use meters::{GatewayMeters, Meters};
use notable::{Notable, Recent, Standing};

/// What is known, of all gateways. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Telemetry(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    started_ms: i64,
    live: Live,
    meters: Meters,
    hour: Mutex<Hour>,
    notable: Mutex<Notable>,
}

/// What is known of one gateway. Cheap to clone.
#[derive(Clone, Debug)]
pub struct GatewayTelemetry {
    name: Arc<str>,
    all: Telemetry,
    meters: Arc<GatewayMeters>,
    /// When the gateway was last tried to be reached, and why it was not.
    pub(crate) reached: Arc<AsyncMutex<Option<Reached>>>,
}

/// When a gateway was tried to be reached, and why it was not.
pub(crate) type Reached = (Instant, Result<(), String>);

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
    pub finding: Option<Found>,
}

/// What was found to be wrong with a session, as far as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What is wrong.
    pub code: Code,
    /// The same in one sentence.
    pub sentence: String,
    /// The command that ends it, where there is one.
    pub command: Option<String>,
    /// The pairing request that it is about, where there is one.
    pub request: Option<String>,
}

impl Found {
    /// What a diagnosis found, less the data that a client could make long.
    #[must_use]
    pub fn new(diagnosis: &Diagnosis) -> Self {
        let request = diagnosis.data.get("requestId").and_then(Value::as_str);
        Self {
            code: diagnosis.code,
            sentence: cut(&diagnosis.sentence),
            command: diagnosis.command.as_deref().map(cut),
            request: request.map(cut),
        }
    }
}

/// What was counted since the start, over all gateways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Handshakes that are over, however they ended.
    pub handshakes: u64,
    /// Sessions that began, those that nobody looked at included.
    pub sessions: u64,
    /// Handshakes that the gateway accepted as they came.
    pub accepted: u64,
    /// Handshakes that the shim had accepted: delegated and healed ones.
    pub repaired: u64,
    /// Handshakes that the gateway refused.
    pub refused: u64,
    /// Handshakes that the shim answered with the gateway's refusal of before.
    pub repeated: u64,
    /// Handshakes that the gateway accepted with fewer scopes than were asked for.
    pub degraded: u64,
    /// Client connections.
    pub connections: u64,
    /// Plain HTTP requests.
    pub requests: u64,
}

impl Telemetry {
    /// Nothing is known yet.
    ///
    /// # Errors
    ///
    /// When two metrics have one name: a mistake of the program.
    pub fn new() -> Result<Self, prometheus::Error> {
        let now = clock::now_ms();
        Ok(Self(Arc::new(Shared {
            started_ms: now,
            live: Live::default(),
            meters: Meters::new(now)?,
            hour: Mutex::new(Hour::new(now)),
            notable: Mutex::default(),
        })))
    }

    /// The handle of the gateway with this name: the same one, however often it is asked for.
    ///
    /// # Errors
    ///
    /// When a label is wrong: a mistake of the program.
    pub fn gateway(&self, name: &str) -> Result<GatewayTelemetry, prometheus::Error> {
        Ok(GatewayTelemetry {
            name: name.into(),
            all: self.clone(),
            meters: self.0.meters.gateway(name)?,
            reached: Arc::default(),
        })
    }

    /// When the process started, in milliseconds since the epoch.
    #[must_use]
    pub fn started_ms(&self) -> i64 {
        self.0.started_ms
    }

    /// The sessions that run.
    #[must_use]
    pub fn live(&self) -> &Live {
        &self.0.live
    }

    /// The counters.
    #[must_use]
    pub fn meters(&self) -> &Meters {
        &self.0.meters
    }

    /// What was counted since the start.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.0.meters.totals()
    }

    /// The last hour.
    #[must_use]
    pub fn hour(&self) -> Plot {
        self.note_bytes();
        lock(&self.0.hour).plot(clock::now_ms())
    }

    /// The last handshakes that are worth a look, the latest first.
    #[must_use]
    pub fn recent(&self) -> Vec<Recent> {
        lock(&self.0.notable).recent()
    }

    /// What was found wrong with sessions of this gateway within the last hour.
    #[must_use]
    pub fn findings(&self, gateway: &str) -> Vec<Standing> {
        lock(&self.0.notable).findings(gateway, clock::now_ms())
    }

    /// A client connection was not let in, for one of the reasons that are counted.
    pub fn turned_away(&self, reason: &str) {
        self.0.meters.turned_away(reason);
    }

    /// A client connection begins; it is over when what is returned is dropped.
    #[must_use]
    pub fn connection(&self) -> meters::Connection {
        self.0.meters.connection()
    }

    /// Credits the bytes that went through to the time when they did, for as long as anybody uses this telemetry.
    pub fn keep_time(&self) {
        let shared = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            let mut tick = tokio::time::interval(BYTES_EVERY);
            loop {
                tick.tick().await;
                match shared.upgrade() {
                    Some(shared) => Self(shared).note_bytes(),
                    None => return,
                }
            }
        });
    }

    fn note_bytes(&self) {
        let traffic = self.0.live.traffic();
        let bytes = traffic
            .values()
            .map(|stats| stats.to_gateway + stats.to_client)
            .sum();
        lock(&self.0.hour).bytes(clock::now_ms(), bytes);
    }
}

impl GatewayTelemetry {
    /// What is known of all gateways.
    #[must_use]
    pub fn all(&self) -> &Telemetry {
        &self.all
    }

    /// A session begins. It is known to run for as long as the row lives.
    #[must_use]
    pub fn enter(&self, from: IpAddr) -> Row {
        self.meters.session();
        self.all.0.live.enter(Arc::clone(&self.name), from)
    }

    /// A handshake is over. Returns what is kept of it.
    pub fn handshake(&self, row: &Row, mut handshake: Handshake) -> Arc<Handshake> {
        // A client says its scopes, and may say many.
        let kept = first(&handshake.requested, LONGEST_KEPT).len();
        handshake.requested.truncate(kept);
        let handshake = Arc::new(handshake);
        self.meters.handshake(&handshake);
        lock(&self.all.0.hour).handshake(clock::now_ms(), handshake.outcome, handshake.took);
        lock(&self.all.0.notable).handshake(&self.name, &handshake);
        row.seen(Arc::clone(&handshake));
        handshake
    }

    /// A plain HTTP request was answered.
    pub fn request(&self, status: StatusCode) {
        self.meters.request(status);
    }

    /// A pairing request was approved.
    pub fn approved(&self, rule: Rule) {
        self.meters.approved(rule);
    }

    /// Where lookups of device records are counted.
    #[must_use]
    pub fn lookups(&self) -> Lookups {
        self.meters.lookups()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// At most so much of what somebody else may have made long.
fn cut(text: &str) -> String {
    first(text, LONGEST_KEPT).to_owned()
}

/// In characters.
const LONGEST_KEPT: usize = 600;
const BYTES_EVERY: Duration = Duration::from_secs(10);
