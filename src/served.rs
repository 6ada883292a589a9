//! The gateways that the shim stands before, and the doors through which clients come to them.

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use hyper::Request;

use crate::engine::ModeSwitch;
use crate::http::Front;
use crate::telemetry::meters::Connection;

/// One gateway, and all that its sessions share.
#[derive(Debug)]
pub struct Served {
    /// What the operator calls it.
    pub name: String,
    /// The host names that lead to it, in lower case; none where it is the only one behind its door.
    pub hosts: Vec<String>,
    /// On, observing or off, for its next handshake. A reload keeps it.
    pub mode: Arc<ModeSwitch>,
    front: ArcSwap<Front>,
}

impl Served {
    /// A gateway behind this front.
    #[must_use]
    pub fn new(name: String, hosts: Vec<String>, front: Front) -> Self {
        Self {
            name,
            hosts,
            mode: Arc::clone(&front.engine.mode),
            front: ArcSwap::from_pointee(front),
        }
    }

    /// What the next session goes through.
    #[must_use]
    pub fn front(&self) -> Arc<Front> {
        self.front.load_full()
    }

    /// Lets the next session go through another; those under way keep theirs.
    pub fn replace(&self, front: Front) {
        self.front.store(Arc::new(front));
    }
}

/// Where clients come in.
#[derive(Debug)]
pub struct Door {
    /// The address that is listened on.
    pub address: SocketAddr,
    /// The gateways behind it, never none.
    pub served: Vec<Arc<Served>>,
}

impl Door {
    /// Counts a client connection for as long as what is returned lives.
    #[must_use]
    pub fn connection(&self) -> Option<Connection> {
        let served = self.served.first()?;
        Some(served.front().engine.telemetry.all().connection())
    }

    /// The gateway that a request is for; `None` where it names a host that leads nowhere.
    #[must_use]
    pub fn leads<B>(&self, _request: &Request<B>) -> Option<Arc<Front>> {
        self.served.first().map(|served| served.front())
    }
}
