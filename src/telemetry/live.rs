//! The sessions that run.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use super::Handshake;
use crate::relay::Traffic;

/// The register of the sessions that run. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Live(Arc<Register>);

#[derive(Debug, Default)]
struct Register {
    next: AtomicU64,
    sessions: Mutex<BTreeMap<u64, Arc<Session>>>,
}

/// What is known of one session while it runs.
#[derive(Debug)]
pub struct Session {
    /// When its upgrade came.
    pub since: Instant,
    /// What went through, since its handshake.
    pub traffic: Arc<Traffic>,
    handshake: OnceLock<Arc<Handshake>>,
}

impl Session {
    /// What came of its handshake; `None` before it is over, and for ever where nobody looked.
    #[must_use]
    pub fn handshake(&self) -> Option<&Arc<Handshake>> {
        self.handshake.get()
    }
}

impl Live {
    /// A session begins. It is in the register for as long as the row lives.
    #[must_use]
    pub fn enter(&self) -> Row {
        let key = self.0.next.fetch_add(1, Ordering::Relaxed);
        let session = Arc::new(Session {
            since: Instant::now(),
            traffic: Arc::default(),
            handshake: OnceLock::new(),
        });
        self.lock().insert(key, Arc::clone(&session));
        Row {
            key,
            session,
            live: self.clone(),
        }
    }

    /// The sessions that run, the oldest first.
    #[must_use]
    pub fn sessions(&self) -> Vec<Arc<Session>> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Arc<Session>>> {
        self.0
            .sessions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one session in the register.
#[derive(Debug)]
pub struct Row {
    key: u64,
    session: Arc<Session>,
    live: Live,
}

impl Row {
    /// Where its bytes are counted.
    #[must_use]
    pub fn traffic(&self) -> Arc<Traffic> {
        Arc::clone(&self.session.traffic)
    }

    pub(super) fn seen(&self, handshake: Arc<Handshake>) {
        let _ = self.session.handshake.set(handshake);
    }
}

impl Drop for Row {
    fn drop(&mut self) {
        self.live.lock().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_there_for_as_long_as_it_runs() {
        let live = Live::default();
        let (first, second) = (live.enter(), live.enter());
        assert_eq!(live.sessions().len(), 2);
        drop(first);
        assert_eq!(live.sessions().len(), 1);
        assert!(Arc::ptr_eq(&live.sessions()[0].traffic, &second.traffic()));
        drop(second);
        assert!(live.sessions().is_empty());
    }
}
