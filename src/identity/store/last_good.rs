//! What a store last said, for the time that it cannot be read.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::findings::Findings;
use super::{BoxFuture, DeviceStore, Snapshot, StoreError};

/// Serves the last good snapshot of a store while the store is damaged, locked or unreadable.
///
/// A gateway of the 2026.2 versions writes its files in place, so a half-written one is a matter of milliseconds. What
/// only the shim's user may not read is another matter: the gateway can, and is asked, so that whoever is removed or
/// narrowed meanwhile is. A store that is gone is believed at once: [`StoreError::Missing`] is never bridged.
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

impl<S: DeviceStore> LastGood<S> {
    /// Bridges failures of `store` for `ttl` after its last success, unless `gateway` knows better.
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

    fn settle(
        &self,
        outcome: Result<Arc<Snapshot>, StoreError>,
    ) -> Result<Arc<Snapshot>, StoreError> {
        let mut state = self.state();
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

    /// What the gateway says in the place of a store that it can read and the shim may not.
    async fn ask(&self) -> Option<Arc<Snapshot>> {
        let told = self.gateway.snapshot().await.ok()?;
        let good = self.state().good.clone();
        Some(match good {
            Some((known, _)) => Arc::new(told.with_what_is_known(&known)),
            None => told,
        })
    }

    async fn read(&self) -> Result<Arc<Snapshot>, StoreError> {
        let outcome = self.store.snapshot().await;
        let forbidden = outcome.as_ref().is_err_and(StoreError::is_forbidden);
        let settled = self.settle(outcome);
        match forbidden {
            true => self.ask().await.map_or(settled, Ok),
            false => settled,
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

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use std::{fs, io};

    use tempfile::TempDir;

    use super::*;
    use crate::device::{DeviceRecord, OperatorToken};
    use crate::fixture::record;
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

    /// A store whose files the shim's user may read no more, after it has read them once.
    struct TakenAway(Mutex<Option<Arc<Snapshot>>>);

    impl DeviceStore for TakenAway {
        fn snapshot(&self) -> BoxFuture<'_, Result<Arc<Snapshot>, StoreError>> {
            let denied =
                || StoreError::unreadable("paired.json", io::ErrorKind::PermissionDenied.into());
            let outcome = self.0.lock().unwrap().take().ok_or_else(denied);
            Box::pin(async { outcome })
        }

        fn describe(&self) -> String {
            "paired.json".to_owned()
        }

        fn watched(&self) -> Vec<PathBuf> {
            Vec::new()
        }
    }

    fn of_one(record: DeviceRecord) -> Arc<Snapshot> {
        let devices = [(record.device_id.clone(), Arc::new(record))];
        Arc::new(Snapshot {
            devices: devices.into_iter().collect(),
            pending: Vec::new(),
        })
    }

    /// A store that was read once, and then may not be read any more.
    async fn taken_away(record: DeviceRecord, gateway: Arc<Asked>) -> LastGood<TakenAway> {
        let store = TakenAway(Mutex::new(Some(of_one(record))));
        let store = LastGood::new(store, gateway, Duration::from_secs(60));
        assert_eq!(store.snapshot().await.unwrap().devices.len(), 1);
        store
    }

    #[tokio::test]
    async fn of_a_store_that_may_not_be_read_the_gateway_is_asked_and_believed() {
        let nobody = Arc::new(Asked(Ok(Arc::default())));
        let store = taken_away(record("d", "k", &[]), nobody).await;
        assert!(store.snapshot().await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_store_that_may_not_be_read_is_bridged_while_the_gateway_is_silent() {
        let store = taken_away(record("d", "k", &[]), Asked::silent()).await;
        assert_eq!(store.snapshot().await.unwrap().devices.len(), 1);
    }

    #[tokio::test]
    async fn what_the_gateway_leaves_untold_is_as_it_was_until_it_tells_of_another_approval() {
        let approved = record("d", "k", &["operator.read", "operator.write"]);
        let stored = DeviceRecord {
            scopes: ["operator.read"].into_iter().collect(),
            ..approved
        };
        let told = |scope: &'static str| {
            let told = DeviceRecord {
                operator_token: OperatorToken::Withheld,
                ..record("d", "k", &[scope])
            };
            Arc::new(Asked(Ok(of_one(told))))
        };
        let scopes_once = async |gateway| {
            let store = taken_away(stored.clone(), gateway).await;
            let snapshot = store.snapshot().await.unwrap();
            let record = &snapshot.devices[&stored.device_id];
            assert!(matches!(record.operator_token, OperatorToken::Withheld));
            record.approved_scopes.clone()
        };
        assert_eq!(
            scopes_once(told("operator.read")).await,
            stored.approved_scopes
        );
        let narrowed = ["operator.pairing"].into_iter().collect();
        assert_eq!(scopes_once(told("operator.pairing")).await, narrowed);
    }

    #[tokio::test]
    async fn the_gateway_is_not_asked_for_what_it_cannot_read_either() {
        let (state, paired) = state_of_one();
        let nobody = Arc::new(Asked(Ok(Arc::default())));
        let ttl = Duration::from_secs(60);
        let store = LastGood::new(JsonStore::new(state.path()), nobody, ttl);
        assert_eq!(store.snapshot().await.unwrap().devices.len(), 1);
        fs::remove_file(&paired).unwrap();
        fs::create_dir(&paired).unwrap();
        assert_eq!(store.snapshot().await.unwrap().devices.len(), 1);
    }
}
