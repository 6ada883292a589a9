//! What is to lead where, found out before anything is changed.

use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use thiserror::Error;

use super::exempt::{Apart, Exempt, Ids, NotApart};
use super::shim::{Door, Running};
use super::sockets::{self, Socket};
use super::table::Table;
use super::{AdminSocket, Family, Meant, Redirect};
use crate::admin::ClientError;
use crate::text::safe;

/// Everything that `up` puts in place.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Whose connections are not redirected: the shim's.
    pub exempt: Exempt,
    /// Who the shim runs as.
    pub shim: Ids,
    /// Who listens on the gateway's port.
    pub gateway: Vec<Ids>,
    /// What leads where; never nothing.
    pub redirects: Vec<Redirect>,
    /// What leads where for connections from other machines, and the address of the gateway that they go to.
    pub for_others: Vec<(Redirect, IpAddr)>,
    /// The gateway's addresses at which clients still reach it directly.
    pub uncovered: Vec<Uncovered>,
    pub(super) socket: AdminSocket,
}

/// A family of addresses on which the gateway listens, and the shim does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uncovered {
    /// One that would be redirected.
    pub gateway: SocketAddr,
    /// Where the shim would have to listen.
    pub shim: SocketAddr,
}

/// Why it would not work. The text says what to do.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Refused {
    /// No shim answers.
    #[error(transparent)]
    NoShim(#[from] ClientError),
    /// Nothing can tell it from the others.
    #[error(transparent)]
    NotApart(#[from] NotApart),
    /// The gateway is elsewhere.
    #[error(
        "the gateway at {0} is not on this machine: only connections within this machine can be redirected; run \
         `scope-shim intercept` there"
    )]
    Elsewhere(String),
    /// The gateway's clients speak TLS, which leads to a shim that would have to hold the gateway's certificate.
    #[error(
        "the gateway at {0} speaks TLS itself: its clients expect its own certificate, which the shim cannot show; point \
         them at the shim instead"
    )]
    Tls(String),
    /// Clients reach the shim already.
    #[error(
        "the shim itself listens on the gateway's port {0}: clients reach it already, and there is nothing to redirect"
    )]
    SamePort(u16),
    /// More than one gateway is behind the shim's port, told apart by what a client calls it.
    #[error(
        "more than one gateway is behind the shim's port {0}, told apart by name; clients that are redirected know \
         nothing of names: give each of these gateways a port of the shim (`listen`)"
    )]
    SharedPort(u16),
    /// The shim claims what its configuration does not.
    #[error(
        "the running shim says that {listen} leads to the gateway at {gateway}, which {by} does not name; a port of this machine is \
         redirected on the word of the configuration, never on that of the shim's user alone: give the --config, or the \
         --listen and --gateway, that it was started with"
    )]
    NotConfigured {
        /// Where it says that it listens.
        listen: SocketAddr,
        /// The gateway that it says that this is for.
        gateway: String,
        /// Which configuration.
        by: Configuration,
    },
    /// The configuration says what the shim does not.
    #[error(
        "{by} says that {listen} leads to the gateway at {gateway}, and the running shim does not: restart it with this \
         configuration, or give the --config that it was started with"
    )]
    NotServed {
        /// Where it should listen.
        listen: SocketAddr,
        /// For which gateway.
        gateway: String,
        /// Which configuration.
        by: Configuration,
    },
    /// Somebody else listens there.
    #[error(
        "a process of user {user} listens on {at}, where the shim, which runs as user {shim}, should: stop it, and start \
         the shim"
    )]
    NotTheShim {
        /// Where.
        at: SocketAddr,
        /// Who.
        user: u32,
        /// Who runs the shim.
        shim: u32,
    },
    /// It does not listen where it says.
    #[error(
        "the running shim does not listen on {0}: give the --config, or the --listen and --gateway, that it was started \
         with"
    )]
    NotListening(SocketAddr),
    /// What is redirected arrives at loopback.
    #[error(
        "the shim listens on {0}, but what is redirected arrives at a loopback address: let it listen on 127.0.0.1, or on \
         0.0.0.0"
    )]
    NotOnLoopback(SocketAddr),
    /// What comes from other machines arrives elsewhere.
    #[error(
        "--remote: the shim listens on {0}, which connections from other machines do not reach: let it listen on \
         0.0.0.0 or [::]"
    )]
    OnlyLoopback(SocketAddr),
    /// Redirecting what comes from other machines would open it to them.
    #[error(
        "--remote: the gateway listens on loopback alone, so that no other machine reaches it; a redirect would change that"
    )]
    GatewayOnLoopback,
    /// Who it is cannot be found out.
    #[error(
        "nobody listens on the gateway's port {0}: start the gateway first, so that the shim can be told from it"
    )]
    NoGateway(u16),
    /// Both listen, but one only on IPv4 and the other only on IPv6.
    #[error(
        "the gateway listens on {gateway}, and the shim on {shim}: let the shim listen on an address of the same family"
    )]
    Families {
        /// The gateway's address.
        gateway: SocketAddr,
        /// The shim's.
        shim: SocketAddr,
    },
    /// The kernel does not tell.
    #[error("the kernel does not tell who listens: {0}")]
    Unreadable(#[from] io::Error),
}

/// The file that the settings come from, if any.
#[derive(Debug)]
pub struct Configuration(pub(super) Option<PathBuf>);

impl Display for Configuration {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(file) => f.write_str(&safe(&file.display().to_string())),
            None => f.write_str("what is set here"),
        }
    }
}

impl Plan {
    /// Finds out what is to lead where.
    ///
    /// # Errors
    ///
    /// When it would not work.
    pub(super) async fn make(meant: Meant<'_>, other_machines: bool) -> Result<Self, Refused> {
        let shim = Running::ask(meant).await?;
        let mut gateway = Vec::new();
        let mut redirects = BTreeSet::new();
        let mut uncovered = Vec::new();
        let mut for_others = BTreeSet::new();
        for door in &shim.doors {
            check(door, &shim.doors)?;
            let ends = Ends::find(door, &shim)?;
            gateway.extend(ends.gateway.iter().map(sockets::ids_behind));
            let (covered, not) = ends.families()?;
            if other_machines {
                let reached = ends.for_others()?.into_iter();
                for_others
                    .extend(reached.map(|(family, address)| (door.redirect(family), address)));
            }
            redirects.extend(covered.into_iter().map(|family| door.redirect(family)));
            uncovered.extend(not.into_iter().map(|family| {
                let redirect = door.redirect(family);
                Uncovered {
                    gateway: redirect.gateway(),
                    shim: redirect.shim(),
                }
            }));
        }
        let apart = Apart {
            shim: shim.ids,
            gateway: &gateway,
            caller: caller(),
        };
        Ok(Self {
            exempt: apart.exempt()?,
            shim: shim.ids,
            gateway,
            redirects: redirects.into_iter().collect(),
            for_others: for_others.into_iter().collect(),
            uncovered,
            socket: shim.socket,
        })
    }

    /// The table that this comes to.
    pub(super) fn table(&self, watcher: Option<u32>) -> Table {
        Table {
            exempt: Some(self.exempt),
            owner: self.shim.user,
            redirects: self.redirects.clone(),
            for_others: self.for_others.clone(),
            socket: self.socket.clone(),
            watcher,
        }
    }
}

impl Door {
    const fn redirect(&self, family: Family) -> Redirect {
        Redirect {
            family,
            from: self.gateway.port,
            to: self.listen.port(),
        }
    }
}

fn check(door: &Door, doors: &[Door]) -> Result<(), Refused> {
    let Door { listen, gateway } = door;
    if !gateway.is_loopback() && !gateway.ip().is_some_and(is_own) {
        return Err(Refused::Elsewhere(gateway.authority()));
    }
    if gateway.tls {
        return Err(Refused::Tls(gateway.authority()));
    }
    if gateway.port == listen.port() {
        return Err(Refused::SamePort(gateway.port));
    }
    let others = doors.iter().filter(|other| other.listen == *listen);
    if others.count() > 1 {
        return Err(Refused::SharedPort(listen.port()));
    }
    Ok(())
}

/// The sockets at both ends of a redirect.
struct Ends {
    door: SocketAddr,
    gateway: Vec<Socket>,
    shim: Vec<Socket>,
}

impl Ends {
    fn find(door: &Door, running: &Running) -> Result<Self, Refused> {
        let mut shim = sockets::listeners(door.listen.port())?;
        let foreign = shim.iter().find(|socket| !socket.is_of(running.ids.user));
        let foreign = foreign.map(|socket| Refused::NotTheShim {
            at: socket.local,
            user: socket.user,
            shim: running.ids.user,
        });
        // Under socket activation systemd has the same socket open; another program's is none of ours.
        let held = |inode| running.pid.is_none_or(|pid| sockets::holds(pid, inode));
        shim.retain(|socket| socket.is_of(running.ids.user) && held(socket.inode));
        if shim.is_empty() {
            return Err(foreign.unwrap_or(Refused::NotListening(door.listen)));
        }
        let gateway = sockets::listeners(door.gateway.port)?;
        if gateway.is_empty() {
            return Err(Refused::NoGateway(door.gateway.port));
        }
        Ok(Self {
            door: door.listen,
            gateway,
            shim,
        })
    }

    /// The families that can be redirected, and those in which only the gateway listens.
    fn families(&self) -> Result<(Vec<Family>, Vec<Family>), Refused> {
        let shim = |family| self.shim.iter().any(|socket| socket.accepts(family));
        let served = Family::ALL
            .into_iter()
            .filter(|family| self.gateway.iter().any(|socket| socket.serves(*family)));
        let (covered, uncovered): (Vec<_>, Vec<_>) = served.partition(|family| shim(*family));
        if !Family::ALL.into_iter().any(shim) {
            return Err(Refused::NotOnLoopback(self.door));
        }
        match (covered.is_empty(), self.gateway.first()) {
            (true, Some(gateway)) => Err(Refused::Families {
                gateway: gateway.local,
                shim: self.door,
            }),
            _ => Ok((covered, uncovered)),
        }
    }

    /// Where other machines reach the gateway, and would reach the shim.
    fn for_others(&self) -> Result<Vec<(Family, IpAddr)>, Refused> {
        let reached = |family| {
            let mut sockets = self.shim.iter();
            sockets.any(|socket| socket.accepts_from_other_machines(family))
        };
        let open = self.gateway.iter().map(|socket| socket.local.ip());
        let open: Vec<IpAddr> = open.filter(|ip| !ip.to_canonical().is_loopback()).collect();
        if open.is_empty() {
            return Err(Refused::GatewayOnLoopback);
        }
        let mut ways = Vec::new();
        for family in Family::ALL.into_iter().filter(|family| reached(*family)) {
            // A socket on all IPv6 addresses takes IPv4 as well.
            let serves = |ip: &&IpAddr| match family {
                Family::V4 => ip.is_ipv4() || ip.is_unspecified(),
                Family::V6 => ip.is_ipv6(),
            };
            ways.extend(open.iter().filter(serves).map(|ip| (family, *ip)));
        }
        match ways.is_empty() {
            true => Err(Refused::OnlyLoopback(self.door)),
            false => Ok(ways),
        }
    }
}

/// Who asked for it: behind sudo, who called that.
fn caller() -> Ids {
    let said = |name| std::env::var(name).ok()?.parse::<u32>().ok();
    let own = Ids {
        user: rustix::process::getuid().as_raw(),
        group: Some(rustix::process::getgid().as_raw()),
    };
    match (said("SUDO_UID"), said("SUDO_GID")) {
        (Some(user), group) if own.user == 0 => Ids { user, group },
        _ => own,
    }
}

fn is_own(ip: std::net::IpAddr) -> bool {
    std::net::TcpListener::bind((ip, 0)).is_ok()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;
    use crate::config::GatewayUrl;

    fn door(listen: &str, gateway: &str) -> Door {
        Door {
            listen: listen.parse().unwrap(),
            gateway: GatewayUrl::parse(gateway).unwrap(),
        }
    }

    fn socket(address: &str) -> Socket {
        Socket {
            local: address.parse().unwrap(),
            remote: "0.0.0.0:0".parse().unwrap(),
            listens: true,
            user: 1,
            inode: 1,
        }
    }

    fn ends(gateway: &[&str], shim: &[&str]) -> Ends {
        Ends {
            door: "127.0.0.1:18780".parse().unwrap(),
            gateway: gateway.iter().map(|address| socket(address)).collect(),
            shim: shim.iter().map(|address| socket(address)).collect(),
        }
    }

    fn families(gateway: &[&str], shim: &[&str]) -> String {
        match ends(gateway, shim).families() {
            Ok((covered, uncovered)) => format!("{covered:?} not {uncovered:?}"),
            Err(refused) => refused.to_string(),
        }
    }

    fn for_others(gateway: &[&str], shim: &[&str]) -> String {
        match ends(gateway, shim).for_others() {
            Ok(ways) => format!("{ways:?}"),
            Err(refused) => refused.to_string(),
        }
    }

    #[test]
    fn a_family_is_redirected_where_both_listen() {
        let both = ["127.0.0.1:18789", "[::1]:18789"];
        for (gateway, shim, expected) in [
            (&both[..], &["127.0.0.1:18780"][..], "[V4] not [V6]"),
            (
                &both,
                &["127.0.0.1:18780", "[::1]:18780"],
                "[V4, V6] not []",
            ),
            (&both, &["[::]:18780"], "[V4, V6] not []"),
            (&["127.0.0.1:18789"], &["[::]:18780"], "[V4] not []"),
            (&["[::1]:18789"], &["[::1]:18780"], "[V6] not []"),
            (&["0.0.0.0:18789"], &["127.0.0.1:18780"], "[V4] not []"),
            (&["192.0.2.1:18789"], &["127.0.0.1:18780"], "[V4] not []"),
        ] {
            assert_eq!(families(gateway, shim), expected, "{gateway:?} {shim:?}");
        }
    }

    #[test]
    fn a_redirect_that_would_lead_nowhere_is_refused() {
        for (shim, part) in [
            ("[::1]:18780", "same family"),
            ("192.0.2.1:18780", "let it listen on 127.0.0.1"),
        ] {
            let refused = families(&["127.0.0.1:18789"], &[shim]);
            assert!(refused.contains(part), "{refused}");
        }
    }

    #[test]
    fn other_machines_are_led_to_the_shim_where_they_reach_the_gateway_and_nowhere_else() {
        let everywhere = &["0.0.0.0:18780"][..];
        assert_eq!(
            for_others(&["0.0.0.0:18789"], everywhere),
            "[(V4, 0.0.0.0)]"
        );
        assert_eq!(for_others(&["[::]:18789"], everywhere), "[(V4, ::)]");
        assert_eq!(
            for_others(&["127.0.0.1:18789", "100.64.0.1:18789"], everywhere),
            "[(V4, 100.64.0.1)]"
        );
        for (gateway, shim, part) in [
            ("127.0.0.1:18789", "0.0.0.0:18780", "on loopback alone"),
            (
                "0.0.0.0:18789",
                "127.0.0.1:18780",
                "let it listen on 0.0.0.0",
            ),
        ] {
            let refused = for_others(&[gateway], &[shim]);
            assert!(refused.contains(part), "{refused}");
        }
    }

    #[test]
    fn gateways_that_cannot_be_redirected_are_refused() {
        let plain = door("127.0.0.1:18780", "ws://127.0.0.1:18789");
        assert!(check(&plain, std::slice::from_ref(&plain)).is_ok());
        let second = door("127.0.0.1:18780", "ws://127.0.0.1:18889");
        for (refused, part) in [
            (
                check(&door("127.0.0.1:18780", "ws://192.0.2.1:18789"), &[]),
                "not on this machine",
            ),
            (
                check(&door("127.0.0.1:18780", "wss://127.0.0.1:18789"), &[]),
                "speaks TLS itself",
            ),
            (
                check(&door("0.0.0.0:18789", "ws://127.0.0.1:18789"), &[]),
                "nothing to redirect",
            ),
            (
                check(&plain, &[plain.clone(), second]),
                "told apart by name",
            ),
        ] {
            let text = refused.unwrap_err().to_string();
            assert!(text.contains(part), "{text}");
        }
    }
}
