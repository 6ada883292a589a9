//! How a run ends.

use std::time::Duration;

use tokio_util::task::TaskTracker;
use tracing::{info, warn};

/// Completes when the process is told to stop.
pub(super) async fn signal() {
    let interrupt = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => tokio::select! {
                () = interrupt => {}
                _ = terminate.recv() => {}
            },
            Err(_) => interrupt.await,
        }
    }
    #[cfg(not(unix))]
    interrupt.await;
}

/// Lets the sessions under way end by themselves, for a while.
pub(super) async fn drain(sessions: &TaskTracker) {
    sessions.close();
    if !sessions.is_empty() {
        info!(
            sessions = sessions.len(),
            "stopped listening; waiting up to {DRAIN:?} for live sessions"
        );
    }
    if tokio::time::timeout(DRAIN, sessions.wait()).await.is_err() {
        warn!(
            sessions = sessions.len(),
            "closing the sessions that are left"
        );
    }
}

/// How long sessions may go on after the shim was told to stop.
const DRAIN: Duration = Duration::from_secs(5);
