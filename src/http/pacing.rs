//! The gateway's budget for unfinished handshakes.
//!
//! From 2026.4.21 a gateway holds at most 32 sockets per client address that have not connected yet, and answers 503
//! to more. All local clients share 127.0.0.1, so the shim lets them in one after the other.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Hands out places per client address.
#[derive(Debug)]
pub struct Pacing {
    per_address: usize,
    addresses: Mutex<HashMap<IpAddr, Weak<Semaphore>>>,
}

/// No place became free in time. The text is for the client.
#[derive(Clone, Copy, Debug, Error)]
#[error("scope-shim: too many handshakes of this address are waiting for the gateway; try again")]
pub struct NoPlace;

impl Pacing {
    /// So many places for each address.
    #[must_use]
    pub fn new(per_address: usize) -> Self {
        Self {
            per_address,
            addresses: Mutex::default(),
        }
    }

    /// Waits for a place.
    ///
    /// # Errors
    ///
    /// When there is none in time.
    pub async fn place(&self, address: IpAddr) -> Result<OwnedSemaphorePermit, NoPlace> {
        timeout(PATIENCE, self.semaphore(address).acquire_owned())
            .await
            .map_err(|_| NoPlace)?
            .map_err(|_| NoPlace)
    }

    fn semaphore(&self, address: IpAddr) -> Arc<Semaphore> {
        let mut addresses = self
            .addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(semaphore) = addresses.get(&address).and_then(Weak::upgrade) {
            return semaphore;
        }
        addresses.retain(|_, semaphore| semaphore.strong_count() > 0);
        let semaphore = Arc::new(Semaphore::new(self.per_address));
        addresses.insert(address, Arc::downgrade(&semaphore));
        semaphore
    }
}

/// Clients give up after ten seconds at the latest; so does the queue.
const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_full_address_waits_and_the_others_do_not() {
        let pacing = Pacing::new(1);
        let (local, other) = ("127.0.0.1".parse().unwrap(), "192.0.2.7".parse().unwrap());
        let first = pacing.place(local).await.unwrap();
        assert!(pacing.place(other).await.is_ok());
        assert!(
            pacing.place(local).await.is_err(),
            "the only place is taken"
        );
        drop(first);
        assert!(pacing.place(local).await.is_ok());
    }
}
