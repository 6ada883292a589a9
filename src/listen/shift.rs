//! Letting clients in: one worker at a time does, and serves those that it let in.
//!
//! A client that is served where it was let in waits for no second thread to wake up. When another worker has clearly less
//! to do, it is that one's turn.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tracing::{debug, warn};

use super::places::{Found, Room};
use super::{Limits, attend};
use crate::served::Door;
use crate::workers::{Worker, Workers};

/// What goes from one worker to the next.
pub(super) struct Shift {
    listener: StdListener,
    room: Room,
    connections: TaskTracker,
    door: Arc<Door>,
    workers: Arc<Workers>,
}

impl Shift {
    /// Before the first client.
    pub(super) fn new(listener: StdListener, door: Arc<Door>, workers: Arc<Workers>) -> Self {
        Self {
            listener,
            room: Room::default(),
            connections: TaskTracker::new(),
            door,
            workers,
        }
    }

    /// Lets clients in until the door is closed, and completes when the last of them has left.
    pub(super) async fn run(self) {
        let (connections, workers) = (self.connections.clone(), Arc::clone(&self.workers));
        let mut next = Some(self);
        while let Some((shift, worker)) = next.take().zip(workers.least_busy()) {
            let turn = worker.spawn(shift.turn(worker.clone()));
            next = match AbortOnDropHandle::new(turn).await {
                Ok(Ok(next)) => next,
                Ok(Err(error)) => return warn!("cannot accept clients any more: {error}"),
                Err(_) => break,
            };
        }
        connections.close();
        connections.wait().await;
    }

    /// Lets clients in on this thread until it is another worker's turn; `None` when the door is closed.
    async fn turn(mut self, worker: Worker) -> io::Result<Option<Self>> {
        let listener = TcpListener::from_std(self.listener)?;
        let closed = self.door.closed().clone();
        while !self.workers.is_outdone(&worker) {
            let accepted = tokio::select! {
                () = closed.cancelled() => return Ok(None),
                accepted = accept(&listener, &mut self.room, self.door.limits()) => accepted,
            };
            let Some((stream, peer, found)) = accepted else {
                continue;
            };
            let attended = attend(
                stream,
                peer.ip(),
                Arc::clone(&self.door),
                found,
                worker.load(),
            );
            self.connections.spawn(async move {
                if let Err(error) = attended.await {
                    debug!(client = %peer.ip(), "a client connection ended: {error}");
                }
            });
        }
        self.listener = listener.into_std()?;
        Ok(Some(self))
    }
}

/// `None` where there was nobody, or how many there may be has changed.
async fn accept(
    listener: &TcpListener,
    room: &mut Room,
    mut limits: watch::Receiver<Limits>,
) -> Option<(TcpStream, SocketAddr, Found)> {
    let most = limits.borrow_and_update().connections;
    let accepted = async {
        room.ready(most).await;
        listener.accept().await
    };
    let accepted = tokio::select! {
        Ok(()) = limits.changed() => return None,
        accepted = accepted => accepted,
    };
    match accepted {
        Ok((stream, peer)) => Some((stream, peer, room.find(most))),
        Err(error) => {
            // Out of descriptors, mostly: the connection stays in the queue, so a pause is all that helps.
            warn!("cannot accept a client: {error}");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
