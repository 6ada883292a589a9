//! The thread that talks to systemd.
//!
//! Its socket takes no more than a few messages that nobody has read, and whoever writes to it then waits for as long as
//! the service manager pleases: no thread that serves clients may.

use std::sync::LazyLock;
use std::sync::mpsc::{self, SyncSender};
use std::thread;
use std::time::Duration;

use sd_notify::NotifyState;
use tracing::debug;

use super::State;

/// Says it, and waits for a moment until it is said.
pub(super) fn said(states: Vec<State>) {
    let (done, heard) = mpsc::channel();
    say(states, move || {
        let _ = done.send(());
    });
    let _ = heard.recv_timeout(A_MOMENT);
}

/// Says it, and does this then.
pub(super) fn say(states: Vec<State>, then: impl FnOnce() + Send + 'static) {
    let saying = Box::new(move || {
        let states: Vec<_> = states.iter().flat_map(words).collect();
        if let Err(error) = sd_notify::notify(&states) {
            debug!("cannot tell systemd: {error}");
        }
        then();
    });
    if TELLER.try_send(saying).is_err() {
        debug!("systemd does not listen");
    }
}

/// What systemd calls it.
fn words(state: &State) -> Vec<NotifyState<'_>> {
    match state {
        State::Ready => vec![NotifyState::Ready],
        State::Reloading => {
            let now = NotifyState::monotonic_usec_now().ok();
            [NotifyState::Reloading].into_iter().chain(now).collect()
        }
        State::Stopping => vec![NotifyState::Stopping],
        State::Status(status) => vec![NotifyState::Status(status)],
        State::MainPid(pid) => vec![NotifyState::MainPid(*pid)],
        State::MoreTime => vec![NotifyState::ExtendTimeoutUsec(MORE_TIME_USEC)],
        State::Alive => vec![NotifyState::Watchdog],
    }
}

type Saying = Box<dyn FnOnce() + Send>;

static TELLER: LazyLock<SyncSender<Saying>> = LazyLock::new(|| {
    let (sender, sayings) = mpsc::sync_channel::<Saying>(UNSAID);
    let telling = move || sayings.into_iter().for_each(|say| say());
    let started = thread::Builder::new().name("systemd".into()).spawn(telling);
    if let Err(error) = started {
        debug!("nobody tells systemd: {error}");
    }
    sender
});

/// How long somebody waits until something is said.
const A_MOMENT: Duration = Duration::from_millis(500);
/// How much waits to be said.
const UNSAID: usize = 16;
/// Longer than the time between two requests for more.
const MORE_TIME_USEC: u32 = 30_000_000;
