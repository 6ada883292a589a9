//! The sockets that the shim listens on: bound by itself, or handed over by whoever started it.
//!
//! systemd hands them over (`LISTEN_FDS`), and so does a shim that lets a new version take its place. Whoever holds them
//! keeps the queue of clients that nobody has accepted yet, so that none of them is refused while nobody serves.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::net::TcpListener;

use crate::listen;

/// The sockets that this process listens on, or may.
#[derive(Debug, Default)]
pub struct Sockets(Mutex<Vec<Held>>);

#[derive(Debug)]
struct Held {
    address: SocketAddr,
    listener: StdListener,
    claimed: bool,
}

impl Sockets {
    /// Sockets that were handed over.
    ///
    /// # Errors
    ///
    /// When one of them cannot be used.
    pub fn inherited(listeners: Vec<StdListener>) -> io::Result<Self> {
        let held = listeners.into_iter().map(|listener| {
            listener.set_nonblocking(true)?;
            Ok(Held {
                address: listener.local_addr()?,
                listener,
                claimed: false,
            })
        });
        Ok(Self(Mutex::new(held.collect::<io::Result<_>>()?)))
    }

    /// Listens on an address: on the socket for it that was handed over, else on one of its own.
    ///
    /// # Errors
    ///
    /// When the address is taken or not this machine's.
    pub async fn bind(&self, address: SocketAddr) -> io::Result<TcpListener> {
        let found = self.claim(address).transpose()?;
        let listener = match found {
            Some(listener) => listener,
            None => {
                let listener = listen::bind(address).await?.into_std()?;
                self.lock().push(Held {
                    address: listener.local_addr()?,
                    listener: listener.try_clone()?,
                    claimed: true,
                });
                listener
            }
        };
        TcpListener::from_std(listener)
    }

    fn claim(&self, wanted: SocketAddr) -> Option<io::Result<StdListener>> {
        let mut held = self.lock();
        let found = held
            .iter_mut()
            .find(|held| !held.claimed && serves(held.address, wanted))?;
        found.claimed = true;
        Some(found.listener.try_clone())
    }

    /// The addresses of sockets that were handed over and that nobody has asked for.
    #[must_use]
    pub fn unclaimed(&self) -> Vec<SocketAddr> {
        let held = self.lock();
        let unclaimed = held.iter().filter(|held| !held.claimed);
        unclaimed.map(|held| held.address).collect()
    }

    /// Closes those that nobody has asked for: their clients would wait for ever.
    pub fn close_unclaimed(&self) {
        self.lock().retain(|held| held.claimed);
    }

    /// Whether any were handed over.
    #[must_use]
    pub fn any(&self) -> bool {
        !self.lock().is_empty()
    }

    /// Those in use, for another process.
    ///
    /// # Errors
    ///
    /// When there are too many open files.
    pub(super) fn copies(&self) -> io::Result<Vec<StdListener>> {
        let held = self.lock();
        let used = held.iter().filter(|held| held.claimed);
        used.map(|held| held.listener.try_clone()).collect()
    }

    /// Lets go of the one at this address, which nobody listens on any more.
    pub(super) fn release(&self, address: SocketAddr) {
        self.lock().retain(|held| held.address != address);
    }

    /// Lets go of them: nobody comes in through this process any more.
    pub(super) fn close(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Held>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a socket is what was meant. One for every address of both families, which is what a bare port in a systemd
/// unit gives, serves for every IPv4 address, but never for a single one: that would let in more than was asked for.
fn serves(address: SocketAddr, wanted: SocketAddr) -> bool {
    let both_families = address.port() == wanted.port()
        && address.is_ipv6()
        && address.ip().is_unspecified()
        && wanted.ip().is_unspecified();
    address == wanted || both_families
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_for_everybody_is_not_taken_for_one_of_loopback() {
        let at = |text: &str| -> SocketAddr { text.parse().unwrap_or_else(|_| ([0; 4], 0).into()) };
        assert!(serves(at("127.0.0.1:1"), at("127.0.0.1:1")));
        assert!(serves(at("[::]:1"), at("0.0.0.0:1")));
        assert!(!serves(at("[::]:1"), at("127.0.0.1:1")));
        assert!(!serves(at("0.0.0.0:1"), at("127.0.0.1:1")));
        assert!(!serves(at("127.0.0.1:2"), at("127.0.0.1:1")));
    }
}
