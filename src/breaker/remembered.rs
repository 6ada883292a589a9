//! One refusal that is given again.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::fingerprint::Digest;
use super::{Absorption, Attempt, Footing, pace};
use crate::device::DeviceId;
use crate::handshake::message::Refusal;
use crate::scope::ScopeSet;

/// A refusal, and what it rests on.
#[derive(Debug)]
pub struct Remembered {
    /// The device that was refused, where it proved who it is.
    pub device: Option<DeviceId>,
    absorption: Absorption,
    footing: Footing,
    keys: Vec<Digest>,
    since: Instant,
    forgotten: CancellationToken,
    repeats: AtomicU32,
    requested: ScopeSet,
}

impl Remembered {
    pub(super) fn new(attempt: &Attempt, absorption: Absorption, keys: Vec<Digest>) -> Self {
        Self {
            device: attempt.device.clone(),
            absorption,
            footing: attempt.footing.clone(),
            keys,
            since: Instant::now(),
            forgotten: CancellationToken::new(),
            repeats: AtomicU32::new(0),
            requested: attempt.requested.clone(),
        }
    }

    /// What was asked for when it was refused; later attempts may ask for something else.
    #[must_use]
    pub const fn requested(&self) -> &ScopeSet {
        &self.requested
    }

    /// What the gateway said.
    #[must_use]
    pub const fn refusal(&self) -> &Refusal {
        &self.absorption.refusal
    }

    /// What the gateway closed with.
    #[must_use]
    pub const fn close_code(&self) -> u16 {
        self.absorption.close_code
    }

    /// The gateway's message as an answer to another request, with what is left of the time it told to wait.
    #[must_use]
    pub fn message(&self, request_id: &str) -> Value {
        let mut message = self.absorption.message.clone();
        message["id"] = json!(request_id);
        if let Some(wait) = message.pointer_mut("/error/retryAfterMs")
            && let Some(told) = wait.as_u64()
        {
            let passed = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
            *wait = json!(told.saturating_sub(passed));
        }
        message
    }

    /// How long the answer to this repeat is held back, where the handshake may take so long.
    #[must_use]
    pub fn delay(&self, repeat: u32, patience: Duration) -> Duration {
        pace::delay(repeat, patience)
    }

    /// Completes when the refusal is no longer certain.
    pub async fn forgotten(&self) {
        self.forgotten.cancelled().await;
    }

    /// What the store said of the device when it was refused.
    pub(super) const fn footing(&self) -> &Footing {
        &self.footing
    }

    pub(super) fn keys(&self) -> &[Digest] {
        &self.keys
    }

    pub(super) fn is_valid(&self) -> bool {
        !self.forgotten.is_cancelled() && self.since.elapsed() < self.absorption.lasts
    }

    pub(super) fn holds_for(&self, footing: &Footing) -> bool {
        self.is_valid() && self.footing == *footing
    }

    pub(super) fn forget(&self) {
        self.forgotten.cancel();
    }

    pub(super) fn count(&self) -> u32 {
        self.repeats
            .fetch_add(1, Ordering::Relaxed)
            .saturating_add(1)
    }
}
