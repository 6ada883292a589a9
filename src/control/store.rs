//! The pairing store as the gateway itself tells it, for a gateway whose files cannot be read from here.

use std::path::PathBuf;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::json;

use super::Control;
use crate::identity::store::{DeviceStore, Snapshot, StoreError};

/// `device.pair.list` over the control connection.
///
/// The list names devices, keys and scopes, but no tokens: a device that authenticates with its own token cannot be
/// verified here, and is left to the gateway.
#[derive(Clone, Debug)]
pub struct ControlStore(Control);

impl ControlStore {
    /// Asks over this connection.
    #[must_use]
    pub const fn new(control: Control) -> Self {
        Self(control)
    }
}

impl DeviceStore for ControlStore {
    fn snapshot(&self) -> BoxFuture<'_, Result<Arc<Snapshot>, StoreError>> {
        async {
            let list = self.0.call("device.pair.list", json!({})).await;
            let list = list.map_err(|error| StoreError::Unanswered {
                why: error.to_string(),
            })?;
            Snapshot::from_pair_list(&list).map(Arc::new)
        }
        .boxed()
    }

    fn describe(&self) -> String {
        "the gateway's own device.pair.list".to_owned()
    }

    fn watched(&self) -> Vec<PathBuf> {
        Vec::new()
    }
}
