//! The sessions under way: whether there are any left, and how they are told that the shim ends.

use std::future::Future;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// All sessions of the process. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Sessions {
    under_way: TaskTracker,
    ending: CancellationToken,
}

impl Sessions {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.under_way.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Completes when all have ended; to be asked when no more can begin.
    pub(super) async fn ended(&self) {
        self.under_way.close();
        self.under_way.wait().await;
    }

    /// Ends all of them, in a way that makes their clients come back at once.
    pub(super) fn end(&self) {
        self.ending.cancel();
    }

    /// Those that will share something.
    pub(super) fn circle(&self) -> Circle {
        let own = TaskTracker::new();
        own.close();
        Circle {
            all: self.clone(),
            _there: own.token(),
            own,
        }
    }
}

/// The sessions that share an engine. As long as a clone of this is left, there may be more of them.
#[derive(Clone, Debug)]
pub struct Circle {
    all: Sessions,
    own: TaskTracker,
    _there: TaskTrackerToken,
}

impl Circle {
    /// Runs a session.
    pub fn spawn(&self, session: impl Future<Output = ()> + Send + 'static) {
        let session = self.own.track_future(session);
        self.all.under_way.spawn(session);
    }

    /// Cancelled when all sessions have to end.
    #[must_use]
    pub fn ending(&self) -> CancellationToken {
        self.all.ending.clone()
    }

    /// Completes when the last session has ended and there can be no other.
    pub(super) fn over(&self) -> impl Future<Output = ()> + Send + 'static {
        let own = self.own.clone();
        async move { own.wait().await }
    }
}
