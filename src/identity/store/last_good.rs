//! What a store last said, for the time that it cannot be read.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::findings::Findings;
use super::{BoxFuture, DeviceStore, Snapshot, StoreError};

/// Serves the last good snapshot of a store while the store cannot be read, as long as nobody knows better.
///
/// A gateway of the 2026.2 versions writes its files in place, so a half-written one is a matter of milliseconds: that
/// is bridged. After that the gateway itself is asked, which tells of a device that was removed meanwhile; only while it
/// does not answer either, the last snapshot serves on for a time. A store that is gone is believed at once:
/// [`StoreError::Missing`] is never bridged.
pub struct LastGood<S> {
    store: S,
    gateway: Arc<dyn DeviceStore>,
    ttl: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    good: Option<(Arc<Snapshot>, Instant)>,
    findings: Findings,
}

impl State {
    fn good_within(&self, time: Duration) -> Option<Arc<Snapshot>> {
        let (snapshot, at) = self.good.as_ref()?;
        (at.elapsed() < time).then(|| Arc::clone(snapshot))
    }
}

impl<S: DeviceStore> LastGood<S> {
    /// Bridges failures of `store` for `ttl` after its last success where `gateway` cannot be asked, either.
    pub fn new(store: S, gateway: Arc<dyn DeviceStore>, ttl: Duration) -> Self {
        Self {
            store,
            gateway,
            ttl,
            state: Mutex::default(),
        }
    }

    /// The store itself.
    pub fn store(&self) -> &S {
        &self.store
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read(&self) -> Result<Arc<Snapshot>, StoreError> {
        let error = match self.store.snapshot().await {
            Ok(snapshot) => {
                let mut state = self.state();
                state.findings.tell([&""; 0]);
                state.good = Some((Arc::clone(&snapshot), Instant::now()));
                return Ok(snapshot);
            }
            Err(error) => error,
        };
        self.state().findings.tell([&error]);
        match &error {
            StoreError::Missing { .. } => {
                self.state().good = None;
                return Err(error);
            }
            StoreError::Corrupt { .. } | StoreError::Locked { .. } => {
                if let Some(good) = self.state().good_within(A_MOMENT.min(self.ttl)) {
                    return Ok(good);
                }
            }
            _ => {}
        }
        match self.gateway.snapshot().await {
            Ok(snapshot) => Ok(snapshot),
            Err(_) => self.state().good_within(self.ttl).ok_or(error),
        }
    }
}

impl<S: DeviceStore> DeviceStore for LastGood<S> {
    fn snapshot(&self) -> BoxFuture<'_, Result<Arc<Snapshot>, StoreError>> {
        Box::pin(self.read())
    }

    fn describe(&self) -> String {
        self.store.describe()
    }

    fn watched(&self) -> Vec<PathBuf> {
        self.store.watched()
    }
}

/// How long a file may be half written, or a database locked, at the most, when all is well.
const A_MOMENT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use std::fs;

    use tempfile::TempDir;

    use super::*;
    use crate::identity::store::JsonStore;

    /// What the gateway says when it is asked.
    struct Asked(Result<Arc<Snapshot>, StoreError>);

    impl Asked {
        fn silent() -> Arc<Self> {
            let why = "it is down".to_owned();
            Arc::new(Self(Err(StoreError::Unanswered { why })))
        }
    }

    impl DeviceStore for Asked {
        fn snapshot(&self) -> BoxFuture<'_, Result<Arc<Snapshot>, StoreError>> {
            Box::pin(async { self.0.clone() })
        }

        fn describe(&self) -> String {
            "the gateway".to_owned()
        }

        fn watched(&self) -> Vec<PathBuf> {
            Vec::new()
        }
    }

    /// A state directory whose store knows one device.
    fn state_of_one() -> (TempDir, PathBuf) {
        let state = tempfile::tempdir().unwrap();
        let paired = state.path().join("devices/paired.json");
        fs::create_dir(state.path().join("devices")).unwrap();
        fs::write(&paired, r#"{"d":{"publicKey":"k"}}"#).unwrap();
        (state, paired)
    }

    #[tokio::test]
    async fn a_damaged_store_is_bridged_until_the_time_is_up_and_a_vanished_one_is_not() {
        let (state, paired) = state_of_one();
        let ttl = Duration::from_millis(200);
        let store = LastGood::new(JsonStore::new(state.path()), Asked::silent(), ttl);
        let good = Instant::now();
        assert_eq!(store.snapshot().await.unwrap().devices.len(), 1);

        fs::write(&paired, r#"{"d":{"publ"#).unwrap();
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

        fs::write(&paired, r#"{"d":{"publicKey":"k"}}"#).unwrap();
        assert_eq!(store.snapshot().await.unwrap().devices.len(), 1);
        fs::remove_dir_all(state.path()).unwrap();
        let error = store.snapshot().await.unwrap_err();
        assert!(matches!(error, StoreError::Missing { .. }), "{error}");
    }

    #[tokio::test]
    async fn of_a_store_that_cannot_be_read_the_gateway_is_asked_and_believed() {
        let (state, paired) = state_of_one();
        let nobody = Arc::new(Asked(Ok(Arc::default())));
        let ttl = Duration::from_secs(60);
        let store = LastGood::new(JsonStore::new(state.path()), nobody, ttl);
        assert_eq!(store.snapshot().await.unwrap().devices.len(), 1);
        fs::remove_file(&paired).unwrap();
        fs::create_dir(&paired).unwrap();
        assert!(store.snapshot().await.unwrap().is_empty());
        fs::remove_dir(&paired).unwrap();
        fs::write(&paired, r#"{"d":{"publicKey":"k"}}"#).unwrap();
        assert_eq!(store.snapshot().await.unwrap().devices.len(), 1);
    }

    #[tokio::test]
    async fn a_store_that_cannot_be_read_is_bridged_while_the_gateway_is_silent() {
        let (state, paired) = state_of_one();
        let ttl = Duration::from_secs(60);
        let store = LastGood::new(JsonStore::new(state.path()), Asked::silent(), ttl);
        assert_eq!(store.snapshot().await.unwrap().devices.len(), 1);
        fs::remove_file(&paired).unwrap();
        fs::create_dir(&paired).unwrap();
        assert_eq!(store.snapshot().await.unwrap().devices.len(), 1);
    }
}
