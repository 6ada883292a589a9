//! Letting a new process take over, from the side of the old one: whatever goes wrong, this one goes on as before.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tracing::{error, info};

use super::opening::Running;
use super::succession::{Heir, Start};
use super::{Shim, saved, signals, systemd};
use crate::{admin, confine};

impl Running {
    /// Lets nobody in any more, at any door.
    pub(super) fn lock_up(&self) {
        self.shim.stop.cancel();
    }

    /// Has a new process take over; its id.
    pub(super) async fn hand_over(&mut self, start: &Start) -> Result<u32, String> {
        let outcome = self
            .try_to_hand_over(start)
            .await
            .map_err(confine::explained);
        match &outcome {
            Ok(pid) => {
                systemd::succeeded_by(*pid);
                crate::log::name_process(true);
                info!(pid, "a new process has taken over");
            }
            Err(why) => {
                self.admin.reclaim().await;
                error!("not upgraded, this process goes on: {why}");
            }
        }
        outcome
    }

    async fn try_to_hand_over(&mut self, start: &Start) -> Result<u32, String> {
        may_hand_over(&self.shim)?;
        let known = self.shim.configs();
        let mut heir = Heir::start(start).await?;
        // Whatever was asked of this process is done, and what is asked from now on is the new one's to do.
        let shim = Arc::clone(&self.shim);
        let turn = timeout(PATIENCE, shim.changes.write()).await;
        let _turn = turn.map_err(|_| "what this shim was asked for before is still under way")?;
        // The new one finds it as soon as it serves.
        let older = admin::start_older(Arc::clone(&shim)).await;
        let pid = heir.take_over().await?;
        self.older = Some(older);
        self.heir = Some(heir);
        let _ = shim.successor.set(pid);
        if !Arc::ptr_eq(&known, &shim.configs()) {
            // It may have read the configuration before that was changed.
            signals::reload(pid);
        }
        Ok(pid)
    }
}

fn may_hand_over(shim: &Shim) -> Result<(), String> {
    if std::process::id() == 1 {
        let text = "this is the first process of a container, which ends with it; start a new container instead";
        return Err(text.to_owned());
    }
    if is_job_of_launchd() {
        let text = "launchd looks after this process alone: it would start another beside the new one; restart the job \
                    instead: launchctl kickstart -k gui/$(id -u)/ai.scope-shim";
        return Err(text.to_owned());
    }
    for (served, config) in shim.fleet().each() {
        let mode = served.mode.get();
        if saved::resolve(config).mode != mode {
            saved::keep(config, mode).map_err(|error| {
                let file = saved::file(&config.data);
                let mode = mode.as_str();
                format!(
                    "the new process would not know of the mode {mode}: {}: {error}",
                    file.display()
                )
            })?;
        }
    }
    Ok(())
}

/// Whether launchd has started this process. A terminal sets the variable, too, but launchd is the parent of its own
/// jobs alone.
fn is_job_of_launchd() -> bool {
    #[cfg(unix)]
    let parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
    #[cfg(not(unix))]
    let parent = None;
    launchd_started(std::env::var_os("XPC_SERVICE_NAME").is_some(), parent)
}

const fn launchd_started(names_a_service: bool, parent: Option<i32>) -> bool {
    names_a_service && matches!(parent, Some(1))
}

/// How long what is under way may take before a new process has to be started once more.
const PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn launchd_is_the_parent_of_its_jobs_and_a_terminal_or_another_init_is_not_launchd() {
        assert!(launchd_started(true, Some(1)));
        assert!(!launchd_started(true, Some(501)));
        assert!(!launchd_started(false, Some(1)));
        assert!(!launchd_started(true, None));
    }
}
