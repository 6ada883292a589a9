//! What a store last said, for the time that it cannot be read.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::findings::Findings;
use super::{BoxFuture, DeviceStore, Snapshot, StoreError};

/// Serves the last good snapshot of a store while the store is damaged, locked or unreadable.
///
/// A gateway of the 2026.2 versions writes its files in place, so a half-written one is a matter of milliseconds. A
/// store that is gone is believed at once: [`StoreError::Missing`] is never bridged.
pub struct LastGood<S> {
    store: S,
    ttl: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    good: Option<(Arc<Snapshot>, Instant)>,
    findings: Findings,
}

impl<S: DeviceStore> LastGood<S> {
    /// Bridges failures of `store` for `ttl` after its last success.
    pub fn new(store: S, ttl: Duration) -> Self {
        Self {
            store,
            ttl,
            state: Mutex::default(),
        }
    }

    /// The store itself.
    pub fn store(&self) -> &S {
        &self.store
    }

    fn settle(
        &self,
        outcome: Result<Arc<Snapshot>, StoreError>,
    ) -> Result<Arc<Snapshot>, StoreError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let error = match outcome {
            Ok(snapshot) => {
                state.findings.tell([&""; 0]);
                state.good = Some((Arc::clone(&snapshot), Instant::now()));
                return Ok(snapshot);
            }
            Err(error) => error,
        };
        state.findings.tell([&error]);
        if matches!(error, StoreError::Missing { .. }) {
            state.good = None;
        }
        match &state.good {
            Some((snapshot, at)) if at.elapsed() < self.ttl => Ok(Arc::clone(snapshot)),
            _ => Err(error),
        }
    }
}

impl<S: DeviceStore> DeviceStore for LastGood<S> {
    fn snapshot(&self) -> BoxFuture<'_, Result<Arc<Snapshot>, StoreError>> {
        Box::pin(async move { self.settle(self.store.snapshot().await) })
    }

    fn describe(&self) -> String {
        self.store.describe()
    }

    fn watched(&self) -> Vec<PathBuf> {
        self.store.watched()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use super::*;
    use crate::identity::store::JsonStore;

    #[tokio::test]
    async fn a_damaged_store_is_bridged_until_the_time_is_up_and_a_vanished_one_is_not() {
        let state = tempfile::tempdir().unwrap();
        let paired = state.path().join("devices/paired.json");
        std::fs::create_dir(state.path().join("devices")).unwrap();
        std::fs::write(&paired, r#"{"d":{"publicKey":"k"}}"#).unwrap();
        let ttl = Duration::from_millis(200);
        let store = LastGood::new(JsonStore::new(state.path()), ttl);
        let good = Instant::now();
        assert_eq!(store.snapshot().await.unwrap().devices.len(), 1);

        std::fs::write(&paired, r#"{"d":{"publ"#).unwrap();
        assert_eq!(store.snapshot().await.unwrap().devices.len(), 1);
        let error = loop {
            match store.snapshot().await {
                Ok(_) => assert!(good.elapsed() < Duration::from_secs(10), "bridged for ever"),
                Err(error) => break error,
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        assert!(good.elapsed() >= ttl);
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");

        std::fs::write(&paired, r#"{"d":{"publicKey":"k"}}"#).unwrap();
        assert_eq!(store.snapshot().await.unwrap().devices.len(), 1);
        std::fs::remove_dir_all(state.path()).unwrap();
        let error = store.snapshot().await.unwrap_err();
        assert!(matches!(error, StoreError::Missing { .. }), "{error}");
    }
}
