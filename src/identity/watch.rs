//! Notices that the gateway's pairing store has changed, and makes the resolver forget.

mod directories;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

use self::directories::Directories;
use super::resolver::Resolver;

/// The task that watches a resolver's store. It ends when this is dropped.
#[derive(Debug)]
#[must_use = "the store is watched only as long as this lives"]
pub struct Watch {
    _task: AbortOnDropHandle<()>,
}

impl Watch {
    /// Watches the files of the resolver's store, and [refreshes](Resolver::refresh) the resolver within 300 ms of
    /// a change that may matter to a session.
    ///
    /// A store without files is left to whoever asks it. Has to be called within a tokio runtime.
    pub fn start(resolver: Resolver) -> Self {
        Self::with(resolver, Directories::new)
    }

    fn with(resolver: Resolver, watcher: Watcher) -> Self {
        Self {
            _task: AbortOnDropHandle::new(tokio::spawn(run(resolver, watcher).in_current_span())),
        }
    }
}

/// Makes the watches: a test may have none.
type Watcher = fn(&[PathBuf], Arc<Notify>) -> Directories;

async fn run(resolver: Resolver, watcher: Watcher) {
    let files = resolver.store().watched();
    if files.is_empty() {
        return;
    }
    let woken = Arc::new(Notify::new());
    let mut directories = watcher(&files, Arc::clone(&woken));
    loop {
        // Before the read: what changes after it raises an event.
        let watching = spawn_blocking(move || directories.watched());
        // It fails only when the runtime ends.
        let Ok((watched, followed)) = watching.await else {
            return;
        };
        directories = watched;
        let poll = if followed { SAFETY_POLL } else { POLL };
        let began = Instant::now();
        resolver.refresh().await;
        // A gateway may write its database all the time; reading along must stay the smaller part of the work.
        let pause = (began.elapsed() * 4).clamp(DEBOUNCE, LONGEST_DEBOUNCE);
        if tokio::time::timeout(poll, woken.notified()).await.is_ok() {
            tokio::time::sleep(pause).await;
        }
    }
}

/// How long a burst of events is collected.
const DEBOUNCE: Duration = Duration::from_millis(50);
/// How long it is collected where a read takes long.
const LONGEST_DEBOUNCE: Duration = Duration::from_millis(150);
/// How often the store is looked at while its directories cannot be watched, or are not there yet.
const POLL: Duration = Duration::from_millis(200);
/// How often it is looked at anyway: events get lost, and network file systems raise none.
const SAFETY_POLL: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
