//! A running shim, as the admin surface sees it.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use tokio::sync::{RwLock, RwLockReadGuard};
use tokio_util::sync::CancellationToken;

use super::succession::Wishes;
use super::{Reloads, Sessions};
use crate::served::{Door, Served};
use crate::telemetry::Telemetry;
use crate::workers::Workers;

/// A running shim.
#[derive(Debug)]
pub struct Shim {
    /// The gateways that it stands before, in the order of the configuration.
    pub served: Vec<Arc<Served>>,
    /// Where clients come in.
    pub doors: Vec<Arc<Door>>,
    /// What it knows of its own work.
    pub telemetry: Telemetry,
    /// When it started.
    pub started: Instant,
    /// The sessions under way, those of the past configurations included.
    pub sessions: Sessions,
    /// The configuration that holds, and how it is read again.
    pub reloads: Reloads,
    /// The threads that serve clients.
    pub(super) workers: Arc<Workers>,
    pub(super) wishes: Wishes,
    /// Cancelled when nobody may come in any more.
    pub(super) stop: CancellationToken,
    /// Held by whoever changes something, and by the process itself alone while another takes its place.
    pub(super) changes: RwLock<()>,
    /// The process that has taken the place of this one.
    pub(super) successor: OnceLock<u32>,
}

impl Shim {
    /// Where clients of this gateway come in.
    #[must_use]
    pub fn door(&self, served: &Served) -> Option<SocketAddr> {
        let leads_there =
            |door: &&Arc<Door>| door.served.iter().any(|one| std::ptr::eq(&**one, served));
        self.doors.iter().find(leads_there).map(|door| door.address)
    }

    /// Whether it has stopped listening, and waits for its sessions to end.
    #[must_use]
    pub fn draining(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// The process that has taken the place of this one, where one has.
    #[must_use]
    pub fn successor(&self) -> Option<u32> {
        self.successor.get().copied()
    }

    /// To be held while something is changed that a process which takes over has to know of.
    ///
    /// # Errors
    ///
    /// The id of the process that has taken over: it is to be asked instead.
    pub async fn change(&self) -> Result<RwLockReadGuard<'_, ()>, u32> {
        let turn = self.changes.read().await;
        match self.successor() {
            None => Ok(turn),
            Some(pid) => Err(pid),
        }
    }

    /// Lets a new version take over; returns the id of its process. This one keeps the sessions that it has.
    ///
    /// # Errors
    ///
    /// Why this one goes on.
    pub async fn upgrade(&self) -> Result<u32, String> {
        let outcome = match self.draining() {
            true => Err("this shim is about to end".to_owned()),
            false => self.wishes.ask().await,
        };
        match (outcome, self.successor()) {
            (Err(_), Some(pid)) => Err(format!("process {pid} has taken over from this one")),
            (outcome, _) => outcome,
        }
    }
}
