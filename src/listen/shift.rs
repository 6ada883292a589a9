//! Letting clients in: one worker at a time does, and serves those that it let in.
//!
//! A client that is served where it was let in waits for no second thread to wake up. When another worker has clearly less
//! to do, it is that one's turn, and the client that has just come is its first.

use std::io;
use std::net::{IpAddr, TcpListener as StdListener, TcpStream as StdStream};
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
    /// A client that has come and is not served yet.
    next: Option<(StdStream, IpAddr, Found)>,
    room: Room,
    connections: TaskTracker,
    door: Arc<Door>,
    workers: Arc<Workers>,
}

impl Shift {
    /// Before the first client.
    pub(super) fn new(
        listener: StdListener,
        room: Room,
        door: Arc<Door>,
        workers: Arc<Workers>,
    ) -> Self {
        Self {
            listener,
            next: None,
            room,
            connections: TaskTracker::new(),
            door,
            workers,
        }
    }

    /// Lets clients in until the door is closed, and completes when the last of them has left.
    pub(super) async fn run(self) {
        let (connections, workers) = (self.connections.clone(), Arc::clone(&self.workers));
        let mut shift = Some(self);
        while let Some((now, worker)) = shift.take().zip(workers.least_busy()) {
            let turn = worker.spawn(now.turn(worker.clone()));
            shift = AbortOnDropHandle::new(turn).await.ok().flatten();
        }
        connections.close();
        connections.wait().await;
    }

    /// Lets clients in on this thread until it is another worker's turn; `None` when the door is closed.
    async fn turn(mut self, worker: Worker) -> Option<Self> {
        if let Some((stream, address, found)) = self.next.take() {
            match TcpStream::from_std(stream) {
                Ok(stream) => self.serve(stream, address, found, &worker),
                Err(error) => warn!(client = %address, "cannot serve a client: {error}"),
            }
        }
        let closed = self.door.closed().clone();
        closed.run_until_cancelled(self.accept_all(&worker)).await?;
        Some(self)
    }

    /// Completes when another worker has clearly less to do; it is to serve the client that has come then.
    async fn accept_all(&mut self, worker: &Worker) {
        let listener = self.listener_here().await;
        loop {
            let accepted = accept(&listener, &mut self.room, self.door.limits()).await;
            let Some((stream, address, found)) = accepted else {
                continue;
            };
            if !self.workers.is_outdone(worker) {
                self.serve(stream, address, found, worker);
            } else if let Ok(stream) = stream.into_std() {
                self.next = Some((stream, address, found));
                return;
            }
        }
    }

    fn serve(&self, stream: TcpStream, address: IpAddr, found: Found, worker: &Worker) {
        let served = attend(
            stream,
            address,
            Arc::clone(&self.door),
            found,
            worker.load(),
        );
        self.connections.spawn(async move {
            if let Err(error) = served.await {
                debug!(client = %address, "a client connection ended: {error}");
            }
        });
    }

    /// The listener as this worker's thread is told of clients; it stays open whatever becomes of that.
    async fn listener_here(&self) -> TcpListener {
        loop {
            match self.listener.try_clone().and_then(TcpListener::from_std) {
                Ok(listener) => return listener,
                Err(error) => pause(&error).await,
            }
        }
    }
}

/// `None` where there was nobody, or how many there may be has changed.
async fn accept(
    listener: &TcpListener,
    room: &mut Room,
    mut limits: watch::Receiver<Limits>,
) -> Option<(TcpStream, IpAddr, Found)> {
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
        Ok((stream, peer)) => Some((stream, peer.ip(), room.find(most).await)),
        Err(error) => {
            pause(&error).await;
            None
        }
    }
}

/// Out of descriptors, mostly: connections stay in the queue, so a pause is all that helps.
async fn pause(error: &io::Error) {
    warn!("cannot accept a client: {error}");
    tokio::time::sleep(PAUSE).await;
}

const PAUSE: Duration = Duration::from_millis(100);
