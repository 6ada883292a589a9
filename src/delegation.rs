//! Delegated sessions: rewritten, and therefore the shim's to police.
//!
//! The gateway knows such a session as the delegate's. When the client's own record is removed, its token revoked or
//! its approved scopes shrink below what the session holds, nobody but the shim can end it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use crate::device::DeviceId;
use crate::ws::Close;
use crate::ws::close::POLICY_VIOLATION;

/// The sessions that run in the delegate's name.
#[derive(Debug, Default)]
pub struct Delegations {
    next: AtomicU64,
    live: Mutex<HashMap<u64, Entry>>,
}

/// One session, as far as policing it needs.
#[derive(Debug)]
struct Entry {
    device: Option<DeviceId>,
    check: Arc<dyn Check>,
    stop: Option<oneshot::Sender<Close>>,
}

/// Whether a session may go on, asked whenever pairing changed.
pub trait Check: std::fmt::Debug + Send + Sync {
    /// `Some` with the reason if it may not.
    fn objection(&self) -> futures_util::future::BoxFuture<'_, Option<String>>;
}

/// A delegated session's place in the register; leaving it takes the session out.
#[derive(Debug)]
pub struct Delegation {
    id: u64,
    register: Arc<Delegations>,
    check: Arc<dyn Check>,
}

impl Delegations {
    /// Enters a session before it is known to be accepted, so that no later change of its record goes unseen.
    pub fn enter(
        self: &Arc<Self>,
        device: Option<DeviceId>,
        check: Arc<dyn Check>,
    ) -> (Delegation, oneshot::Receiver<Close>) {
        let (stop, stopped) = oneshot::channel();
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let entry = Entry {
            device,
            check: Arc::clone(&check),
            stop: Some(stop),
        };
        self.lock().insert(id, entry);
        let delegation = Delegation {
            id,
            register: Arc::clone(self),
            check,
        };
        (delegation, stopped)
    }

    /// Ends every session that may no longer go on, and says which devices they belonged to.
    pub async fn review(&self) -> Vec<(Option<DeviceId>, String)> {
        let checks: Vec<_> = self
            .lock()
            .iter()
            .map(|(id, entry)| (*id, Arc::clone(&entry.check)))
            .collect();
        let mut ended = Vec::new();
        for (id, check) in checks {
            if let Some(reason) = check.objection().await
                && let Some(device) = self.stop(id, &reason)
            {
                ended.push((device, reason));
            }
        }
        ended
    }

    /// Ends every session, with the same reason, and says how many there were.
    pub fn end_all(&self, reason: &str) -> usize {
        let live: Vec<u64> = self.lock().keys().copied().collect();
        let ended = live
            .into_iter()
            .filter(|id| self.stop(*id, reason).is_some());
        ended.count()
    }

    /// Whether no session runs in the delegate's name.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn stop(&self, id: u64, reason: &str) -> Option<Option<DeviceId>> {
        let mut live = self.lock();
        let entry = live.get_mut(&id)?;
        let stop = entry.stop.take()?;
        let _ = stop.send(Close::new(
            POLICY_VIOLATION,
            format!("scope-shim: {reason}"),
        ));
        Some(entry.device.clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Entry>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Delegation {
    /// Whether the session may still go on: asked once more before the client hears that it is connected.
    pub async fn objection(&self) -> Option<String> {
        self.check.objection().await
    }
}

impl Drop for Delegation {
    fn drop(&mut self) {
        self.register.lock().remove(&self.id);
    }
}
