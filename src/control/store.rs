//! The pairing store as the gateway itself tells it, for a gateway whose files cannot be read from here.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::json;
use tokio::sync::Mutex;

use super::Control;
use crate::identity::store::{DeviceStore, Snapshot, StoreError};

/// `device.pair.list` over the control connection.
///
/// The list names devices, keys and scopes, but no tokens: a device that authenticates with its own token cannot be
/// verified here, and is left to the gateway.
#[derive(Debug)]
pub struct ControlStore {
    control: Control,
    latest: Mutex<Option<Latest>>,
}

/// What the gateway said last.
#[derive(Debug)]
struct Latest {
    /// When it was asked for; a failure counts from when it came.
    began: Instant,
    /// What the gateway had told of by then: a number that moves whenever pairing changes.
    events: u64,
    /// An answer that does not come is waited for by one, and not by each.
    outcome: Result<Arc<Snapshot>, StoreError>,
}

impl ControlStore {
    /// Asks over this connection.
    #[must_use]
    pub fn new(control: Control) -> Self {
        Self {
            control,
            latest: Mutex::default(),
        }
    }

    /// One answer is for everybody who asks within a moment: each of thousands of sessions is held against the list when
    /// pairing has changed.
    async fn read(&self) -> Result<Arc<Snapshot>, StoreError> {
        let mut latest = self.latest.lock().await;
        let events = *self.control.pairing_changes().borrow();
        if let Some(latest) = &*latest
            && latest.events == events
            && latest.began.elapsed() < MOMENT
        {
            return latest.outcome.clone();
        }
        let mut began = Instant::now();
        let outcome = self.ask().await;
        if outcome.is_err() {
            began = Instant::now();
        }
        *latest = Some(Latest {
            began,
            events,
            outcome: outcome.clone(),
        });
        outcome
    }

    async fn ask(&self) -> Result<Arc<Snapshot>, StoreError> {
        let list = self.control.call("device.pair.list", json!({})).await;
        let list = list.map_err(|error| StoreError::Unanswered {
            why: error.to_string(),
        })?;
        Snapshot::from_pair_list(&list).map(Arc::new)
    }
}

impl DeviceStore for ControlStore {
    fn snapshot(&self) -> BoxFuture<'_, Result<Arc<Snapshot>, StoreError>> {
        self.read().boxed()
    }

    fn describe(&self) -> String {
        "the gateway's own device.pair.list".to_owned()
    }

    fn watched(&self) -> Vec<PathBuf> {
        Vec::new()
    }
}

/// Gateways tell of requests and decisions, but not of a device that is removed or a token that is revoked (2026.2.19 to
/// 2026.9.6), so an answer is soon an old one.
const MOMENT: Duration = Duration::from_millis(200);
