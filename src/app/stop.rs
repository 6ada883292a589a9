//! How a run ends: nobody comes in any more, what is under way may finish for a while, and what is left is sent away in
//! a way that makes it come back at once.

use std::time::Duration;

use futures_util::future::join_all;
use tracing::{info, warn};

use super::opening::Running;
use super::systemd;
use crate::config::Config;

/// How long sessions may go on after the shim was told to stop: as long as the most patient gateway says. `None`:
/// until they end by themselves.
pub(super) fn patience(configs: &[Config]) -> Option<Duration> {
    let mut each = configs.iter().map(|config| config.limits.drain);
    each.try_fold(Duration::ZERO, |most, one| Some(most.max(one?)))
}

impl Running {
    /// Ends the run. `hurry` cuts the patience short.
    pub(super) async fn stop(&mut self, hurry: impl Future<Output = ()>) {
        let sessions = self.shim.sessions.clone();
        systemd::stopping(&sessions);
        self.lock_up();
        let patience = patience(&self.shim.configs());
        if !sessions.is_empty() {
            let wait = patience.map_or_else(
                || "until the live sessions end".to_owned(),
                |patience| format!("up to {patience:?} for the live sessions to end"),
            );
            info!(
                sessions = sessions.len(),
                "stopped listening; waiting {wait}; a second signal ends them at once"
            );
        }
        tokio::select! {
            () = self.idle() => {}
            () = over(patience) => {}
            () = hurry => {}
            () = systemd::ask_for_time() => {}
        }
        if !sessions.is_empty() {
            warn!(
                sessions = sessions.len(),
                "closing the sessions that are left"
            );
        }
        sessions.end();
        let _ = tokio::time::timeout(FAREWELL, self.idle()).await;
        self.answered().await;
        info!("stopped");
    }

    /// Completes when no request and no session is left: the last request may still become a session.
    pub(super) async fn idle(&self) {
        self.doors.wait().await;
        self.shim.sessions.ended().await;
    }

    /// Takes no more questions, and waits until those who asked something have their answer. Whoever only watches has to
    /// look elsewhere.
    pub(super) async fn answered(&self) {
        let surfaces = [Some(&self.admin), self.older.as_ref()];
        let each = surfaces.into_iter().flatten().map(|admin| async {
            admin.resign();
            admin.ended().await;
        });
        let _ = tokio::time::timeout(LAST_ANSWER, join_all(each)).await;
    }
}

async fn over(patience: Option<Duration>) {
    match patience {
        Some(patience) => tokio::time::sleep(patience).await,
        None => std::future::pending().await,
    }
}

/// How long the clients that are sent away may take to leave.
const FAREWELL: Duration = Duration::from_secs(2);
/// How long an answer of the admin surface may take that is under way.
const LAST_ANSWER: Duration = Duration::from_secs(1);
