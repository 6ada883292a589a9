//! What systemd is told, where it asked for it (`NOTIFY_SOCKET`): sd_notify(3).

#[cfg(unix)]
mod teller;

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::Sessions;

/// The shim serves.
pub(super) fn ready() {
    notify(vec![State::Ready, State::Status(SERVING.into())]);
}

/// The configuration is read again; followed by [`reloaded`].
pub(super) fn reloading() {
    notify(vec![State::Reloading]);
}

/// The configuration was read again, and serves; one that was refused is seen in `systemctl status`.
pub(super) fn reloaded(taken: bool) {
    let status = if taken {
        SERVING
    } else {
        "serving; the configuration was refused when it was last read, and the one before it holds"
    };
    notify(vec![State::Ready, State::Status(status.into())]);
}

/// The shim ends.
pub(super) fn stopping(sessions: &Sessions) {
    let status = format!("stopping; live sessions: {}", sessions.len());
    notify(vec![State::Stopping, State::Status(status.into())]);
}

/// Has systemd wait for as long as this goes on, however short its own patience with a service that stops is.
pub(super) async fn ask_for_time() {
    loop {
        tell(State::MoreTime);
        tokio::time::sleep(BETWEEN_REQUESTS).await;
    }
}

/// Another process is the service now: whether that is ready, reloading or stopping is no longer this one's to say.
pub(super) fn succeeded_by(pid: u32) {
    notify(vec![State::MainPid(pid), State::Ready]);
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
                tell(State::Alive);
            }
        }
    }
}

/// What can be said.
#[cfg_attr(not(unix), expect(dead_code, reason = "there is nobody to tell"))]
enum State {
    Ready,
    Reloading,
    Stopping,
    Status(Cow<'static, str>),
    MainPid(u32),
    MoreTime,
    Alive,
}

/// Says it, and waits for a moment until it is said.
fn notify(states: Vec<State>) {
    if SUCCEEDED.load(Ordering::Relaxed) {
        return;
    }
    #[cfg(unix)]
    teller::said(states);
    #[cfg(not(unix))]
    drop(states);
}

fn tell(state: State) {
    #[cfg(unix)]
    teller::say(vec![state], || {});
    #[cfg(not(unix))]
    drop(state);
}

static SUCCEEDED: AtomicBool = AtomicBool::new(false);

const BETWEEN_REQUESTS: Duration = Duration::from_secs(10);
#[cfg(unix)]
const SHORTEST_BEAT: Duration = Duration::from_millis(10);

const SERVING: &str = "serving";
