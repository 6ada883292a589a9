//! Who listens where the shim would.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::OnceLock;

use tokio::net::TcpSocket;

use crate::text::safe;

/// The process that holds the address, as `node (process 4711)`; `None` where the system does not tell, as for the
/// processes of other users.
pub(super) fn holder(address: SocketAddr) -> Option<String> {
    let known = || {
        let mut known = KNOWN.get()?.iter();
        known.find_map(|(held, by)| (*held == address).then(|| by.clone()))
    };
    seen(address).or_else(known)
}

/// Looks who holds these addresses now, for whoever asks later: a process that is confined sees into no other (Landlock
/// holds for `/proc/<pid>/fd` as it does for ptrace). The kernel takes tens of milliseconds to tell of its sockets, whether
/// there are many or not: it is asked only where somebody is in the way.
pub(crate) fn look(addresses: impl Iterator<Item = SocketAddr>) {
    let taken = addresses.filter(|&address| is_taken(address));
    let held = taken.filter_map(|address| Some((address, seen(address)?)));
    let _ = KNOWN.set(held.collect());
}

/// Whether somebody listens there. Asked without listening, so that no client comes in meanwhile.
fn is_taken(address: SocketAddr) -> bool {
    let tried = || {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        }?;
        // As the listener itself: connections that have ended are in nobody's way.
        #[cfg(unix)]
        socket.set_reuseaddr(true)?;
        socket.bind(address)
    };
    tried().is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
}

/// By whom addresses were held when this process began.
static KNOWN: OnceLock<Vec<(SocketAddr, String)>> = OnceLock::new();

fn seen(address: SocketAddr) -> Option<String> {
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| listening(&table, Some(address.port())))
        .collect();
    if inodes.is_empty() {
        return None;
    }
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let numbered = processes.filter_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        Some((pid, entry.path()))
    });
    numbered
        .filter(|(_, process)| holds(process, &inodes))
        .map(|(pid, process)| {
            let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
            format!("{} (process {pid})", safe(name.trim()))
        })
        .next()
}

/// The sockets that listen, on this port where one is given: `local_address` is the second column, `st` the fourth, `inode` the tenth, and
/// 0A is TCP_LISTEN (proc_pid_net(5)).
pub(crate) fn listening(table: &str, port: Option<u16>) -> Vec<String> {
    let suffix = port.map_or_else(String::new, |port| format!(":{port:04X}"));
    let lines = table.lines().skip(1);
    lines
        .filter_map(|line| {
            let columns: Vec<&str> = line.split_whitespace().collect();
            let (local, state, inode) = (columns.get(1)?, columns.get(3)?, columns.get(9)?);
            (local.ends_with(&suffix) && *state == "0A").then(|| format!("socket:[{inode}]"))
        })
        .collect()
}

fn holds(process: &Path, inodes: &[String]) -> bool {
    let open = fs::read_dir(process.join("fd")).into_iter().flatten();
    open.flatten()
        .filter_map(|file| fs::read_link(file.path()).ok())
        .any(|link| {
            inodes
                .iter()
                .any(|inode| link.as_os_str() == inode.as_str())
        })
}

#[cfg(all(test, target_os = "linux"))]
#[expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;

    #[test]
    fn whoever_listens_is_named() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let holder = holder(address).unwrap();
        let own = format!("(process {})", std::process::id());
        assert!(holder.ends_with(&own), "{holder}");
    }

    #[test]
    fn an_address_is_taken_for_as_long_as_somebody_listens() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert!(is_taken(address));
        drop(listener);
        assert!(!is_taken(address));
    }
}
