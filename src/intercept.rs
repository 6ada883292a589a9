//! Interception: the gateway's own port leads to the shim, so that nothing else has to be told, the gateway's own
//! agents included.
//!
//! One nftables table, `inet scope_shim`, redirects connections that begin on this machine and go to the gateway's
//! port at one of this machine's addresses. The shim itself is exempt, by its user or by its group; whoever else is
//! not redirected never meets it. The table lives in the kernel alone: nothing is written to any file, and nothing is
//! left after a restart of the machine.

mod exempt;
mod nft;
mod plan;
mod proof;
mod shim;
mod sockets;
mod standing;
mod table;
mod watch;
mod word;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

pub use exempt::{Apart, Exempt, Ids, NotApart};
pub use nft::{NftError, is_in_place, may_change};
pub use plan::{Plan, Refused, Uncovered};
pub use proof::{Proof, Unproven};
pub(crate) use sockets::stranger;
pub use standing::{End, Standing, Way};
pub use table::{InPlace, InPlaceRedirect};
pub use watch::watch;
pub use word::{Person, vouched};

use crate::admin;
use crate::config::Config;

/// One of the two families of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// 127.0.0.1 and its like.
    V4,
    /// `::1` and its like.
    V6,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// Where a redirected connection arrives (`redirect` on the output path leads to loopback), and where a proof
    /// begins.
    #[must_use]
    pub const fn loopback(self) -> IpAddr {
        match self {
            Self::V4 => IpAddr::V4(Ipv4Addr::LOCALHOST),
            Self::V6 => IpAddr::V6(Ipv6Addr::LOCALHOST),
        }
    }

    /// Its name in nftables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::V4 => "ipv4",
            Self::V6 => "ipv6",
        }
    }
}

/// One port that leads to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Redirect {
    /// For connections of this family.
    pub family: Family,
    /// The gateway's port, which clients connect to.
    pub from: u16,
    /// The shim's, where they arrive.
    pub to: u16,
}

impl Redirect {
    /// The gateway's address on loopback.
    #[must_use]
    pub const fn gateway(&self) -> SocketAddr {
        SocketAddr::new(self.family.loopback(), self.from)
    }

    /// The shim's address on loopback.
    #[must_use]
    pub const fn shim(&self) -> SocketAddr {
        SocketAddr::new(self.family.loopback(), self.to)
    }
}

/// Why interception is not as it was asked to be. The text says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel's rules cannot be read or changed.
    #[error(transparent)]
    Nft(#[from] NftError),
    /// It would not work, or harm.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The same, while one that was put in place before is still there.
    #[error("{0}. The redirect that was in place before still is: scope-shim intercept status")]
    Left(#[source] Refused),
    /// It was put in place, did not work, and was taken away again.
    #[error("{0}; the redirect was taken away again, and clients reach the gateway directly")]
    Unproven(#[from] Unproven),
    /// Another process holds it.
    #[error(
        "process {0} (`scope-shim intercept up --watch`) holds the redirect already; end it first: scope-shim intercept down"
    )]
    Watched(u32),
    /// A watcher was asked to end and did not.
    #[error(
        "process {0}, which holds the redirect, was asked to end, and has not; end it: kill -KILL {0}"
    )]
    Stuck(u32),
}

/// The shim that is meant, and what whoever asks for the redirect says that it does.
///
/// The shim itself is asked, too, but never believed alone: its user could redirect any port of the machine.
#[derive(Clone, Copy, Debug)]
pub struct Meant<'a> {
    /// Its gateways.
    pub configs: &'a [Config],
    /// Whether they are all that it has; else one was chosen, and the others stay as they are.
    pub all: bool,
}

impl Meant<'_> {
    /// Where the shim is asked.
    fn socket(&self) -> AdminSocket {
        let first = self.configs.first();
        let said = first.and_then(|config| config.admin.socket.clone());
        said.unwrap_or_else(|| {
            first.map_or_else(PathBuf::new, |config| admin::socket(&config.base))
        })
    }
}

/// What is in place now.
#[derive(Debug)]
pub struct Up {
    /// What was put there.
    pub plan: Plan,
    /// That it works.
    pub proofs: Vec<Proof>,
}

/// Puts the redirect in place, in the place of one that is there, and proves that it works.
///
/// # Errors
///
/// When it would not work, or does not: nothing is in place then.
pub async fn up(meant: Meant<'_>, other_machines: bool) -> Result<Up, Error> {
    if let Some(pid) = nft::list()?.and_then(|table| table.watcher) {
        return Err(Error::Watched(pid));
    }
    let plan = match Plan::make(meant, other_machines).await {
        Ok(plan) => plan,
        Err(refused) if nft::list()?.is_some() => return Err(Error::Left(refused)),
        Err(refused) => return Err(refused.into()),
    };
    nft::apply(&plan.table(None).script())?;
    match proof::prove_all(&plan.redirects).await {
        Ok(proofs) => Ok(Up { plan, proofs }),
        Err(unproven) => {
            nft::delete()?;
            Err(unproven.into())
        }
    }
}

/// What `down` did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Down {
    /// There was nothing.
    WasNotUp,
    /// The table is gone.
    Removed,
    /// The process that held it has ended, and the table with it.
    Ended(u32),
}

/// Takes the redirect away, whoever put it there. It needs neither a configuration nor a shim.
///
/// # Errors
///
/// When the kernel's rules cannot be changed, or a process that holds them does not end.
pub fn down() -> Result<Down, Error> {
    let Some(table) = nft::list()? else {
        return Ok(Down::WasNotUp);
    };
    match table.watcher {
        Some(pid) if watch::is_watcher(pid) => {
            watch::end(pid)?;
            Ok(Down::Ended(pid))
        }
        _ => {
            nft::delete()?;
            Ok(Down::Removed)
        }
    }
}

/// What is in place, and whether it leads anywhere; `None` where nothing is.
///
/// # Errors
///
/// When the kernel's rules cannot be read.
pub async fn status() -> Result<Option<Standing>, Error> {
    match nft::list()? {
        Some(table) => Ok(Some(Standing::of(table).await)),
        None => Ok(None),
    }
}

/// The admin socket of a shim, as it is kept in the table for whoever asks later.
type AdminSocket = PathBuf;
