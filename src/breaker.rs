//! The breaker: a refusal that is certain to come again is given by the shim itself.
//!
//! Clients up to 2026.2.26, browsers and nodes never stop asking. Each attempt costs the gateway a connection and a
//! log line, some count towards a lock-out that others share, and one that asks for other scopes replaces the pairing
//! request that somebody is about to approve. So the shim remembers what the gateway refused and why it would refuse
//! it again, answers the repeats, later and later, and forgets as soon as anything changed that the answer rests on.

mod absorb;
mod fingerprint;
mod footing;
mod pace;
mod remembered;
mod watch;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use moka::future::Cache;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::device::DeviceId;
use crate::handshake::message::Connect;
use crate::scope::ScopeSet;

use fingerprint::Digest;
use pace::Pace;

pub use absorb::Absorption;
pub use fingerprint::{Fingerprints, Trace};
pub use footing::Footing;
pub use remembered::Remembered;
pub use watch::run as forget_when_changed;

/// What the gateway refused lately.
///
/// Bounded in every respect; what is dropped for want of room reaches the gateway once more.
#[derive(Debug)]
pub struct Breaker {
    fingerprints: Fingerprints,
    refusals: Cache<Digest, Arc<Remembered>>,
    loops: Cache<Trace, Arc<Mutex<Loop>>>,
    /// Kinds of upgrade that go to the gateway, because this attempt has to come back to be heard.
    sent_back: Cache<Trace, Option<Digest>>,
    holds: Arc<Semaphore>,
    since: Instant,
    /// When the last of what it remembers is forgotten, in milliseconds from its start.
    quiet_from_ms: AtomicU64,
}

/// Attempts of one kind of upgrade, which were all answered by the same refusal.
#[derive(Debug)]
struct Loop {
    refusal: Arc<Remembered>,
    pace: Pace,
}

/// One attempt to connect, as far as it matters whether it was made before.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Of what looks the same before the client has said a word.
    pub trace: Trace,
    /// The device, where its proof holds.
    pub device: Option<DeviceId>,
    /// What the store said of the device before the gateway was asked.
    pub footing: Footing,
    /// What is asked for.
    pub requested: ScopeSet,
    /// The longest that the client waits before it tries again, where it does so by itself.
    pub longest_wait: Option<Duration>,
    /// Whether somebody has to approve it.
    pub needs_approval: bool,
    exact: Digest,
    pairing: Option<Digest>,
}

impl Breaker {
    /// An empty one, with a random key for its fingerprints.
    ///
    /// # Errors
    ///
    /// When the system has no randomness to give.
    pub fn new() -> Result<Self, fingerprint::NoRandomness> {
        let bounded = || Cache::builder().max_capacity(CAPACITY);
        Ok(Self {
            fingerprints: Fingerprints::new()?,
            refusals: bounded().time_to_live(absorb::LONGEST).build(),
            loops: Cache::builder()
                .max_capacity(CAPACITY)
                .time_to_idle(absorb::LONGEST)
                .build(),
            sent_back: Cache::builder()
                .max_capacity(CAPACITY)
                .time_to_live(WAY_OPEN)
                .build(),
            holds: Arc::new(Semaphore::new(HOLDS)),
            since: Instant::now(),
            quiet_from_ms: AtomicU64::new(0),
        })
    }

    /// Whether nothing was refused for so long that there is nothing to compare an attempt with: then it need not even
    /// be looked at what an attempt is like.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.now_ms() >= self.quiet_from_ms.load(Ordering::Relaxed)
    }

    fn remembers(&self) {
        let until = self.now_ms().saturating_add(LONGEST_MS);
        self.quiet_from_ms.fetch_max(until, Ordering::Relaxed);
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// What makes upgrades and attempts comparable.
    #[must_use]
    pub const fn fingerprints(&self) -> &Fingerprints {
        &self.fingerprints
    }

    /// The refusal that the gateway would give to this attempt again.
    ///
    /// An attempt that needs the approval which a pairing request of its device already waits for is the same as the
    /// one that filed the request, whatever scopes it asks for.
    pub async fn find(&self, attempt: &Attempt) -> Option<Arc<Remembered>> {
        for key in [Some(attempt.exact), attempt.unapproved()]
            .into_iter()
            .flatten()
        {
            let Some(found) = self.refusals.get(&key).await else {
                continue;
            };
            if found.holds_for(&attempt.footing) {
                return Some(found);
            }
            self.forget(&found).await;
        }
        None
    }

    /// Remembers what the gateway answered to an attempt, if the same would come again.
    pub async fn remember(&self, attempt: &Attempt, absorption: Absorption) {
        self.remembers();
        self.heard(attempt).await;
        let mut keys = vec![attempt.exact];
        if absorption.refusal.wants_pairing() {
            keys.extend(attempt.pairing);
        }
        let refusal = Arc::new(Remembered::new(attempt, absorption, keys));
        for key in refusal.keys() {
            self.refusals.insert(*key, Arc::clone(&refusal)).await;
        }
        let longest = attempt.longest_wait;
        self.follow(attempt.trace, refusal, |pace| {
            pace.refused(Instant::now(), longest)
        })
        .await;
    }

    /// Whether an upgrade of this kind is most likely the next attempt of a client that was refused for certain.
    pub async fn expects(&self, trace: &Trace) -> bool {
        let Some(known) = self.loops.get(trace).await else {
            return false;
        };
        let expected = {
            let known = lock(&known);
            known.refusal.is_valid() && known.pace.expects(Instant::now())
        };
        expected && !self.sent_back.contains_key(trace)
    }

    /// Notes that the attempt is a repeat, and returns which one: 1 is the first.
    pub async fn repeated(&self, trace: Trace, refusal: &Arc<Remembered>) -> u32 {
        self.follow(trace, Arc::clone(refusal), |pace| {
            pace.arrived(Instant::now())
        })
        .await;
        refusal.count()
    }

    /// Notes that a repeat has been answered, or has left.
    pub async fn answered(&self, trace: Trace) {
        if let Some(known) = self.loops.get(&trace).await {
            lock(&known).pace.left(Instant::now());
        }
    }

    /// Lets upgrades of this kind go to the gateway until this attempt has come back: it was not the expected repeat.
    pub async fn send_back(&self, trace: Trace, attempt: Option<&Attempt>) {
        self.remembers();
        let attempt = attempt.map(|attempt| attempt.exact);
        self.sent_back.insert(trace, attempt).await;
    }

    /// Notes that the gateway has answered an attempt.
    pub async fn heard(&self, attempt: &Attempt) {
        if self.sent_back.get(&attempt.trace).await == Some(Some(attempt.exact)) {
            self.sent_back.invalidate(&attempt.trace).await;
        }
    }

    /// A place for one more client that is answered without a gateway; `None` where there are too many.
    #[must_use]
    pub fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.holds).try_acquire_owned().ok()
    }

    /// Forgets one refusal: who waits for it to be given again is released.
    pub async fn forget(&self, refusal: &Remembered) {
        refusal.forget();
        for key in refusal.keys() {
            self.refusals.invalidate(key).await;
        }
    }

    /// Forgets everything.
    pub async fn forget_all(&self) {
        for refusal in self.all() {
            self.forget(&refusal).await;
        }
    }

    fn all(&self) -> impl Iterator<Item = Arc<Remembered>> {
        self.refusals.iter().map(|(_, refusal)| refusal)
    }

    async fn follow(&self, trace: Trace, refusal: Arc<Remembered>, note: impl FnOnce(&mut Pace)) {
        let fresh = async {
            Arc::new(Mutex::new(Loop {
                refusal: Arc::clone(&refusal),
                pace: Pace::new(Instant::now()),
            }))
        };
        let known = self.loops.get_with(trace, fresh).await;
        let mut known = lock(&known);
        note(&mut known.pace);
        known.refusal = refusal;
    }
}

fn lock(known: &Mutex<Loop>) -> MutexGuard<'_, Loop> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Attempt {
    /// What an attempt looks like to the breaker.
    #[must_use]
    pub fn new(
        fingerprints: &Fingerprints,
        trace: Trace,
        connect: &Connect,
        direct_local: bool,
        device: Option<DeviceId>,
        footing: Footing,
    ) -> Self {
        let requested = connect.claims.requested();
        Self {
            trace,
            needs_approval: !footing.covers(&connect.claims.role, &requested),
            footing,
            requested,
            longest_wait: pace::longest_wait(&connect.claims),
            exact: fingerprints.exact(&trace, connect, direct_local),
            pairing: device
                .as_ref()
                .map(|_| fingerprints.pairing(&trace, connect, direct_local)),
            device,
        }
    }

    fn unapproved(&self) -> Option<Digest> {
        self.pairing.filter(|_| self.needs_approval)
    }
}

/// Refusals, and kinds of upgrade, that are remembered at a time.
const CAPACITY: u64 = 2_000;
/// Clients that are answered without a gateway at a time; a local flood must not fill the memory with waiting ones.
const HOLDS: usize = 256;
/// Nothing is remembered for longer than a refusal, in milliseconds.
const LONGEST_MS: u64 = absorb::LONGEST.as_secs() * 1000;
/// Longer than any client waits between two attempts (30 s), so that one which was sent away finds the way open.
const WAY_OPEN: Duration = Duration::from_secs(45);

#[cfg(test)]
mod tests;
