//! Networks of a test's own, in which nothing of this machine is to be seen.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::process::Command;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A network namespace with loopback alone; dropping it takes it away.
pub(crate) struct Network(String);

impl Network {
    pub(crate) fn new(name: &str) -> io::Result<Self> {
        let network = Self(format!("scope-shim-{}-{name}", std::process::id()));
        ip(&["netns", "add", &network.0])?;
        ip(&["-n", &network.0, "link", "set", "lo", "up"])?;
        Ok(network)
    }

    /// Moves this thread, and whatever it starts from now on, there.
    pub(crate) fn enter(&self) -> io::Result<()> {
        let namespace = File::open(format!("/run/netns/{}", self.0))?;
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
        Ok(())
    }

    /// Its name, by which `ip` knows it.
    pub(crate) fn name(&self) -> &str {
        &self.0
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // What is left of it goes with the machine.
        let _ = ip(&["netns", "del", &self.0]);
    }
}

/// Runs `ip`.
pub(crate) fn ip(arguments: &[&str]) -> io::Result<()> {
    let output = Command::new("ip").args(arguments).output()?;
    match output.status.success() {
        true => Ok(()),
        false => Err(io::Error::other(
            String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        )),
    }
}
