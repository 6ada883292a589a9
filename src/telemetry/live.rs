//! The sessions that run.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use super::Handshake;
use crate::relay::{RelayStats, Traffic};

/// The register of the sessions that run. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Live(Arc<Mutex<Register>>);

#[derive(Debug, Default)]
struct Register {
    next: u64,
    sessions: BTreeMap<u64, Arc<Session>>,
    /// What went through the sessions that are over, by gateway.
    over: BTreeMap<Arc<str>, RelayStats>,
}

/// What is known of one session while it runs.
#[derive(Debug)]
pub struct Session {
    /// The gateway that it goes to.
    pub gateway: Arc<str>,
    /// The client's address.
    pub from: IpAddr,
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
    pub fn enter(&self, gateway: Arc<str>, from: IpAddr) -> Row {
        let session = Arc::new(Session {
            gateway,
            from,
            since: Instant::now(),
            traffic: Arc::default(),
            handshake: OnceLock::new(),
        });
        let mut register = self.lock();
        let key = register.next;
        register.next += 1;
        register.sessions.insert(key, Arc::clone(&session));
        Row {
            key,
            session,
            live: self.clone(),
        }
    }

    /// The sessions that run, the oldest first.
    #[must_use]
    pub fn sessions(&self) -> Vec<Arc<Session>> {
        self.lock().sessions.values().cloned().collect()
    }

    /// What went through so far, by gateway, those sessions included that are over. It never shrinks.
    #[must_use]
    pub fn traffic(&self) -> BTreeMap<Arc<str>, RelayStats> {
        let register = self.lock();
        let mut traffic = register.over.clone();
        for session in register.sessions.values() {
            add(&mut traffic, session);
        }
        traffic
    }

    fn lock(&self) -> MutexGuard<'_, Register> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn add(traffic: &mut BTreeMap<Arc<str>, RelayStats>, session: &Session) {
    let stats = session.traffic.stats();
    let sum = traffic.entry(Arc::clone(&session.gateway)).or_default();
    sum.to_gateway += stats.to_gateway;
    sum.to_client += stats.to_client;
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
        // In one go, so that no sum in between misses what this session has moved.
        let mut register = self.live.lock();
        register.sessions.remove(&self.key);
        add(&mut register.over, &self.session);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_there_for_as_long_as_it_runs() {
        let live = Live::default();
        let enter = || live.enter("a".into(), IpAddr::from([127, 0, 0, 1]));
        let (first, second) = (enter(), enter());
        assert_eq!(live.sessions().len(), 2);
        drop(first);
        assert_eq!(live.sessions().len(), 1);
        assert!(Arc::ptr_eq(&live.sessions()[0].traffic, &second.traffic()));
        drop(second);
        assert!(live.sessions().is_empty());
    }

    #[test]
    fn what_went_through_a_session_outlives_it() {
        let live = Live::default();
        let row = live.enter("a".into(), IpAddr::from([127, 0, 0, 1]));
        row.traffic().add(3, 4);
        let sum = RelayStats {
            to_gateway: 3,
            to_client: 4,
        };
        assert_eq!(live.traffic().get("a"), Some(&sum));
        drop(row);
        assert_eq!(live.traffic().get("a"), Some(&sum));
    }
}
