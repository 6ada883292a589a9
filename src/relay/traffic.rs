//! How much went through a session, readable while it runs.

use std::sync::atomic::{AtomicU64, Ordering};

use super::RelayStats;

/// The bytes of one session. Each direction is written by the one task that relays it.
#[derive(Debug, Default)]
pub struct Traffic {
    to_gateway: AtomicU64,
    to_client: AtomicU64,
}

impl Traffic {
    /// What went through so far.
    #[must_use]
    pub fn stats(&self) -> RelayStats {
        RelayStats {
            to_gateway: self.to_gateway.load(Ordering::Relaxed),
            to_client: self.to_client.load(Ordering::Relaxed),
        }
    }

    /// So much went through, where a test says so.
    #[cfg(test)]
    pub(crate) fn add(&self, to_gateway: u64, to_client: u64) {
        self.to_gateway(to_gateway);
        self.to_client(to_client);
    }

    pub(super) fn to_gateway(&self, bytes: u64) {
        self.to_gateway.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn to_client(&self, bytes: u64) {
        self.to_client.fetch_add(bytes, Ordering::Relaxed);
    }
}
