//! From a device id to its record, through one cache.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::future::Cache;
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use super::store::{DeviceStore, Snapshot, StoreError};
use crate::device::{DeviceId, DeviceRecord};
use crate::telemetry::lookups::{Lookup, Lookups};

/// How long the cache remembers, and how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheSettings {
    /// How long a record is served before the store is asked again.
    pub ttl: Duration,
    /// How long the absence of a record is served.
    pub negative_ttl: Duration,
    /// The number of devices that are remembered, present and absent ones together.
    pub capacity: u64,
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(30),
            negative_ttl: Duration::from_secs(2),
            capacity: 10_000,
        }
    }
}

/// Looks devices up in one [`DeviceStore`], and remembers the answers.
///
/// Cheap to clone; every clone shares the cache.
#[derive(Clone)]
pub struct Resolver {
    store: Arc<dyn DeviceStore>,
    cache: Cache<Key, Answer>,
    generation: watch::Sender<u64>,
    basis: Arc<Mutex<Basis>>,
    lookups: Lookups,
}

/// What the answers of the present generation rest on.
#[derive(Debug, Default)]
enum Basis {
    /// Nothing was read yet.
    #[default]
    Unknown,
    /// The store could not be read.
    Failure,
    /// The store held this, when it was read at this time.
    Table(Arc<Snapshot>, Instant),
}

/// The generation is part of the key: a load that began before an invalidation ends in an entry that nobody asks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    generation: u64,
    device: DeviceId,
}

type Answer = Option<Arc<DeviceRecord>>;

impl Resolver {
    /// A resolver with an empty cache.
    #[must_use]
    pub fn new(store: Arc<dyn DeviceStore>, settings: CacheSettings) -> Self {
        let cache = Cache::builder()
            .max_capacity(settings.capacity)
            .expire_after(BySign(settings))
            .build();
        Self {
            store,
            cache,
            generation: watch::Sender::new(0),
            basis: Arc::default(),
            lookups: Lookups::default(),
        }
    }

    /// The same, counting its lookups here.
    #[must_use]
    pub fn counted(self, lookups: Lookups) -> Self {
        Self { lookups, ..self }
    }

    /// The record of a device, or `None` if the gateway has not paired it.
    ///
    /// Any number of lookups of one device at a time cost one read of the store. What this returns was never read
    /// before the latest [`invalidate`](Self::invalidate): a read that one overtakes is done again.
    ///
    /// # Errors
    ///
    /// The store's, which is not remembered: the next lookup asks again.
    pub async fn resolve(
        &self,
        device: &DeviceId,
    ) -> Result<Option<Arc<DeviceRecord>>, StoreError> {
        let started = Instant::now();
        let found = self.look_up(device).await;
        let lookup = match &found {
            Ok((_, lookup)) => *lookup,
            Err(_) => Lookup::Error,
        };
        self.lookups.count(lookup, started.elapsed());
        found.map(|(answer, _)| answer)
    }

    async fn look_up(&self, device: &DeviceId) -> Result<(Answer, Lookup), StoreError> {
        loop {
            let generation = self.generation();
            let key = Key {
                generation,
                device: device.clone(),
            };
            if let Some(answer) = self.cache.get(&key).await
                && self.generation() == generation
            {
                return Ok((answer, Lookup::Hit));
            }
            // Elsewhere, because it is rare and takes room.
            let load = Box::pin(self.load(device, generation));
            let found = Box::pin(self.cache.entry(key).or_try_insert_with(load)).await;
            // Without a limit, because the caller has one, and an invalidation needs a change that somebody made.
            if self.generation() == generation {
                let entry = found.map_err(|error| StoreError::clone(&error))?;
                let lookup = if entry.is_fresh() {
                    Lookup::Miss
                } else {
                    Lookup::Hit
                };
                return Ok((entry.into_value(), lookup));
            }
        }
    }

    /// Forgets every answer: the store has changed.
    pub fn invalidate(&self) {
        self.forget(&mut self.basis());
    }

    /// Looks at the store, and forgets every answer if it no longer says the same.
    ///
    /// An unreadable store counts as a change, and so does its recovery; the error itself is for the next lookup.
    pub async fn refresh(&self) {
        let generation = self.generation();
        let began = Instant::now();
        let now = self.store.snapshot().await;
        self.note(generation, now.as_ref(), began).await;
    }

    /// A number that moves at every invalidation, for those who have to look again at what they were told.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    /// The store behind the cache.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn DeviceStore> {
        &self.store
    }

    fn generation(&self) -> u64 {
        *self.generation.borrow()
    }

    async fn load(&self, device: &DeviceId, generation: u64) -> Result<Answer, StoreError> {
        if let Some(table) = self.just_asked(generation) {
            return Ok(table.devices.get(device).cloned());
        }
        let began = Instant::now();
        let snapshot = self.store.snapshot().await;
        self.note(generation, snapshot.as_ref(), began).await;
        Ok(snapshot?.devices.get(device).cloned())
    }

    /// What the store said a moment ago, where it is the gateway that says it: when pairing has changed, each of thousands
    /// of sessions is held against it, and one answer is for all of them. It is never older than the change.
    fn just_asked(&self, generation: u64) -> Option<Arc<Snapshot>> {
        let basis = self.basis();
        let Basis::Table(table, read_at) = &*basis else {
            return None;
        };
        let fits = self.generation() == generation && read_at.elapsed() < MOMENT;
        (fits && self.store.is_asked()).then(|| Arc::clone(table))
    }

    /// Sees to it that all answers of one generation rest on the same table.
    ///
    /// Compared with every read, not only with those of whoever watches the store: a lookup may have seen a state
    /// that came and went between two looks of the watch.
    async fn note(
        &self,
        generation: u64,
        now: Result<&Arc<Snapshot>, &StoreError>,
        began: Instant,
    ) {
        while let Some((before, now)) = self.to_be_compared(generation, now, began) {
            let same = same_standing(&before, &now).await;
            let mut basis = self.basis();
            if self.generation() != generation {
                return;
            }
            // Another read may have been noted meanwhile; then this one is held against that.
            if matches!(&*basis, Basis::Table(known, _) if Arc::ptr_eq(known, &before)) {
                if same {
                    *basis = Basis::Table(now, began);
                } else {
                    // Which of the two is the older one is not known, so neither is kept.
                    self.forget(&mut basis);
                }
                drop(basis);
                return let_go(before);
            }
        }
    }

    /// The table that the answers rest on, and the one that was read now, where these are two. Whatever else was read is
    /// noted at once.
    fn to_be_compared(
        &self,
        generation: u64,
        now: Result<&Arc<Snapshot>, &StoreError>,
        began: Instant,
    ) -> Option<(Arc<Snapshot>, Arc<Snapshot>)> {
        let mut basis = self.basis();
        if self.generation() != generation {
            return None;
        }
        match (&*basis, now) {
            (Basis::Table(before, _), Ok(now)) if Arc::ptr_eq(before, now) => {
                *basis = Basis::Table(Arc::clone(now), began);
            }
            (Basis::Table(before, _), Ok(now)) => {
                return Some((Arc::clone(before), Arc::clone(now)));
            }
            (Basis::Unknown, Ok(now)) => *basis = Basis::Table(Arc::clone(now), began),
            (Basis::Unknown | Basis::Failure, Err(_)) => *basis = Basis::Failure,
            _ => self.forget(&mut basis),
        }
        None
    }

    fn forget(&self, basis: &mut Basis) {
        *basis = Basis::Unknown;
        self.generation
            .send_modify(|generation| *generation = generation.wrapping_add(1));
        self.cache.invalidate_all();
    }

    fn basis(&self) -> MutexGuard<'_, Basis> {
        self.basis.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Two large tables are compared where no session waits for its turn.
async fn same_standing(one: &Arc<Snapshot>, other: &Arc<Snapshot>) -> bool {
    if one.devices.len() <= QUICKLY_COMPARED {
        return one.same_standing(other);
    }
    let (before, now) = (Arc::clone(one), Arc::clone(other));
    let compared = spawn_blocking(move || before.same_standing(&now));
    // It fails only when the runtime ends; forgetting is always right.
    compared.await.unwrap_or(false)
}

/// Giving back the memory of a large table takes time as well.
fn let_go(table: Arc<Snapshot>) {
    if table.devices.len() > QUICKLY_COMPARED {
        spawn_blocking(move || drop(table));
    }
}

/// How long an answer of the gateway is good for others who ask.
const MOMENT: Duration = Duration::from_millis(200);
/// So many records are compared in less time than it takes to ask another thread.
const QUICKLY_COMPARED: usize = 500;

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver")
            .field("store", &self.store.describe())
            .field("generation", &self.generation())
            .finish_non_exhaustive()
    }
}

/// Present and absent records expire after times of their own.
struct BySign(CacheSettings);

impl Expiry<Key, Answer> for BySign {
    fn expire_after_create(&self, _: &Key, answer: &Answer, _: Instant) -> Option<Duration> {
        Some(match answer {
            Some(_) => self.0.ttl,
            None => self.0.negative_ttl,
        })
    }
}

#[cfg(test)]
mod tests;
