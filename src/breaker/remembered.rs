//! One refusal that is given again.

use std::sync::{Mutex, MutexGuard, PoisonError};
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
    repeats: Mutex<Repeats>,
}

#[derive(Debug, Default)]
struct Repeats {
    count: u32,
    asked: ScopeSet,
}

impl Remembered {
    pub(super) fn new(attempt: &Attempt, absorption: Absorption, keys: Vec<Digest>) -> Self {
        let remembered = Self {
            device: attempt.device.clone(),
            absorption,
            footing: attempt.footing.clone(),
            keys,
            since: Instant::now(),
            forgotten: CancellationToken::new(),
            repeats: Mutex::default(),
        };
        remembered.asked(&attempt.requested);
        remembered
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

    /// Everything that was asked for since.
    #[must_use]
    pub fn asked_for(&self) -> ScopeSet {
        self.repeats().asked.clone()
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
        let mut repeats = self.repeats();
        repeats.count = repeats.count.saturating_add(1);
        repeats.count
    }

    pub(super) fn asked(&self, scopes: &ScopeSet) {
        let mut repeats = self.repeats();
        for scope in scopes.iter() {
            if repeats.asked.iter().count() < MOST_SCOPES {
                repeats.asked.insert(scope);
            }
        }
    }

    fn repeats(&self) -> MutexGuard<'_, Repeats> {
        self.repeats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ten are known; a client may make up any number.
const MOST_SCOPES: usize = 32;
