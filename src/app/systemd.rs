//! What systemd is told, where it asked for it (`NOTIFY_SOCKET`): sd_notify(3).

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tracing::debug;

use super::Sessions;

/// The shim serves.
pub(super) fn ready() {
    notify(&[State::Ready, State::Status("serving")]);
}

/// The configuration is read again; followed by [`ready`].
pub(super) fn reloading() {
    #[cfg(unix)]
    if !SUCCEEDED.load(Ordering::Relaxed)
        && let Ok(now) = sd_notify::NotifyState::monotonic_usec_now()
    {
        tell(&[sd_notify::NotifyState::Reloading, now]);
    }
}

/// The shim ends.
pub(super) fn stopping(sessions: &Sessions) {
    let status = format!("stopping; live sessions: {}", sessions.len());
    notify(&[State::Stopping, State::Status(&status)]);
}

/// Has systemd wait for as long as this goes on, however short its own patience with a service that stops is.
pub(super) async fn ask_for_time() {
    loop {
        #[cfg(unix)]
        tell(&[sd_notify::NotifyState::ExtendTimeoutUsec(MORE_TIME_USEC)]);
        tokio::time::sleep(BETWEEN_REQUESTS).await;
    }
}

/// Another process is the service now: whether that is ready, reloading or stopping is no longer this one's to say.
pub(super) fn succeeded_by(pid: u32) {
    notify(&[State::MainPid(pid), State::Ready]);
    SUCCEEDED.store(true, Ordering::Relaxed);
}

/// Tells systemd that the shim lives, twice in the time that it waits for that; for as long as timers fire and tasks
/// are run, which is what a hung shim would no longer do.
pub(super) async fn watchdog() {
    #[cfg(unix)]
    if let Some(patience) = sd_notify::watchdog_enabled() {
        let mut beat = tokio::time::interval((patience / 2).max(SHORTEST_BEAT));
        loop {
            beat.tick().await;
            if tokio::spawn(tokio::task::yield_now()).await.is_ok() {
                tell(&[sd_notify::NotifyState::Watchdog]);
            }
        }
    }
}

enum State<'a> {
    Ready,
    Stopping,
    Status(&'a str),
    MainPid(u32),
}

fn notify(states: &[State<'_>]) {
    #[cfg(unix)]
    if !SUCCEEDED.load(Ordering::Relaxed) {
        let states: Vec<_> = states
            .iter()
            .map(|state| match state {
                State::Ready => sd_notify::NotifyState::Ready,
                State::Stopping => sd_notify::NotifyState::Stopping,
                State::Status(status) => sd_notify::NotifyState::Status(status),
                State::MainPid(pid) => sd_notify::NotifyState::MainPid(*pid),
            })
            .collect();
        tell(&states);
    }
    #[cfg(not(unix))]
    let _ = states;
}

#[cfg(unix)]
fn tell(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        debug!("cannot tell systemd: {error}");
    }
}

static SUCCEEDED: AtomicBool = AtomicBool::new(false);

/// Longer than the time between two requests for more.
#[cfg(unix)]
const MORE_TIME_USEC: u32 = 30_000_000;
const BETWEEN_REQUESTS: Duration = Duration::from_secs(10);
const SHORTEST_BEAT: Duration = Duration::from_millis(10);
