//! When the demo is to end.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that end a demo: Ctrl-C, `kill`, and a terminal that is closed. A real gateway hears none of them, and
/// has to be stopped.
pub(super) struct Farewell {
    signals: [Signal; 3],
}

impl Farewell {
    /// Listens from now on.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            signals: [
                signal(SignalKind::interrupt())?,
                signal(SignalKind::terminate())?,
                signal(SignalKind::hangup())?,
            ],
        })
    }

    /// Waits for one of them.
    pub(super) async fn said(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.signals;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

/// What a demo says that was stopped before it had shown everything.
pub(super) const INTERRUPTED: &str = "stopped before the story was told";
