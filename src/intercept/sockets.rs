//! Who listens where, as the kernel tells it: `/proc/net/tcp`, `/proc/net/tcp6` and the descriptors of processes.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::MetadataExt as _;

use super::{Family, Ids};

/// A TCP socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Socket {
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    pub(super) listens: bool,
    /// The user whose process made it.
    pub(super) user: u32,
    pub(super) inode: u64,
}

impl Socket {
    /// Whether it accepts what a redirect sends to loopback.
    pub(super) fn accepts(&self, family: Family) -> bool {
        let ip = self.local.ip();
        let anywhere = ip == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        // A socket on all IPv6 addresses takes IPv4 as well, unless it was told not to, which the shim's is not.
        match family {
            Family::V4 => {
                anywhere || ip.is_ipv4() && (ip.is_unspecified() || ip == family.loopback())
            }
            Family::V6 => anywhere || ip == family.loopback(),
        }
    }

    /// Whether it accepts what comes from other machines.
    pub(super) fn accepts_from_other_machines(&self, family: Family) -> bool {
        self.local.ip().is_unspecified() && self.accepts(family)
    }

    /// Whether a shim that runs as `user` can have made it: itself, or root, as systemd does for it.
    pub(super) fn is_of(&self, user: u32) -> bool {
        self.user == user || self.user == 0
    }

    /// Whether it listens on an address of this family at all.
    pub(super) fn serves(&self, family: Family) -> bool {
        match family {
            Family::V4 => self.local.is_ipv4() || self.accepts(family),
            Family::V6 => self.local.is_ipv6(),
        }
    }
}

/// Those that listen on `port`, in this network namespace.
pub(super) fn listeners(port: u16) -> io::Result<Vec<Socket>> {
    let mut sockets = all()?;
    sockets.retain(|socket| socket.listens && socket.local.port() == port);
    Ok(sockets)
}

/// A user whose process takes what is sent to `at`, and who is neither `user` nor root; nobody where that cannot be seen.
pub(crate) fn stranger(at: SocketAddr, user: u32) -> Option<u32> {
    stranger_among(&listeners(at.port()).unwrap_or_default(), at.ip(), user)
}

fn stranger_among(listeners: &[Socket], ip: IpAddr, user: u32) -> Option<u32> {
    let ip = ip.to_canonical();
    let takes = |socket: &&Socket| {
        let local = socket.local.ip();
        local.is_unspecified() || local.to_canonical() == ip
    };
    let others = listeners.iter().filter(takes);
    let mut others = others.filter(|socket| !socket.is_of(user));
    others.next().map(|socket| socket.user)
}

/// Whether the other end of a connection from `client` is a socket on `port`.
pub(super) fn arrived(client: SocketAddr, port: u16) -> bool {
    all().is_ok_and(|sockets| {
        sockets.iter().any(|socket| {
            socket.local.port() == port
                && socket.remote.port() == client.port()
                && socket.remote.ip().to_canonical() == client.ip().to_canonical()
        })
    })
}

fn all() -> io::Result<Vec<Socket>> {
    let mut sockets = parse(&fs::read_to_string("/proc/thread-self/net/tcp")?);
    // A kernel without IPv6 has no such file.
    if let Ok(text) = fs::read_to_string("/proc/thread-self/net/tcp6") {
        sockets.extend(parse(&text));
    }
    Ok(sockets)
}

/// One row for each socket, after a line of titles: `proc_pid_net(5)`.
fn parse(text: &str) -> Vec<Socket> {
    text.lines().skip(1).filter_map(row).collect()
}

fn row(line: &str) -> Option<Socket> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    Some(Socket {
        local: address(fields.get(1)?)?,
        remote: address(fields.get(2)?)?,
        listens: *fields.get(3)? == LISTEN,
        user: fields.get(7)?.parse().ok()?,
        inode: fields.get(9)?.parse().ok()?,
    })
}

/// Hexadecimal words as they lie in memory, in network order.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let words: Vec<[u8; 4]> = (0..ip.len() / 8)
        .map(|word| {
            let digits = ip.get(word * 8..word * 8 + 8)?;
            u32::from_str_radix(digits, 16).ok().map(u32::to_ne_bytes)
        })
        .collect::<Option<_>>()?;
    let ip = match words.as_slice() {
        [word] => IpAddr::V4(Ipv4Addr::from(*word)),
        [_, _, _, _] => {
            let bytes: [u8; 16] = words.concat().try_into().ok()?;
            IpAddr::V6(Ipv6Addr::from(bytes))
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

/// Whether the process has the socket open.
pub(super) fn holds(pid: u32, inode: u64) -> bool {
    let wanted = format!("socket:[{inode}]");
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    descriptors
        .flatten()
        .filter_map(|descriptor| fs::read_link(descriptor.path()).ok())
        .any(|target| target.as_os_str() == wanted.as_str())
}

/// Who a process with this socket runs as; the group is not known where no such process can be seen.
pub(super) fn ids_behind(socket: &Socket) -> Ids {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let mut holders = pids.filter(|pid| holds(*pid, socket.inode));
    holders.next().and_then(ids_of).unwrap_or(Ids {
        user: socket.user,
        group: None,
    })
}

/// Who a process runs as: its directory in `/proc` is its effective user's and group's.
fn ids_of(pid: u32) -> Option<Ids> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let effective = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().nth(1)?.parse().ok()
    };
    let user = effective("Uid:").or_else(|| {
        let directory = fs::metadata(format!("/proc/{pid}")).ok()?;
        Some(directory.uid())
    })?;
    Some(Ids {
        user,
        group: effective("Gid:"),
    })
}

const LISTEN: &str = "0A";

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn rows_are_read_as_the_kernel_writes_them() {
        let titles = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
        let v4 = "   0: 0100007F:495C 00000000:0000 0A 00000000:00000000 00:00000000 00000000  998 0 1819123 1 00 100 0 0 10 0\n";
        let v6 = "   0: 00000000000000000000000001000000:4965 00000000000000000000000000000000:0000 0A 0:0 00:0 0 1000 0 42 1 0 0\n";
        let sockets = parse(&format!("{titles}{v4}{v6}\nnonsense\n"));
        let locals: Vec<String> = sockets.iter().map(|s| s.local.to_string()).collect();
        if cfg!(target_endian = "little") {
            assert_eq!(locals, ["127.0.0.1:18780", "[::1]:18789"]);
        }
        assert!(sockets.iter().all(|socket| socket.listens));
        assert_eq!((sockets[0].user, sockets[1].inode), (998, 42));
    }

    #[test]
    fn a_listener_and_the_other_end_of_a_connection_are_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let found = listeners(port).unwrap();
        assert_eq!(found.len(), 1);
        assert!(holds(std::process::id(), found[0].inode));
        let own = ids_behind(&found[0]);
        assert_eq!(own.user, rustix::process::geteuid().as_raw());
        assert_eq!(own.group, Some(rustix::process::getegid().as_raw()));
        let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (_accepted, _) = listener.accept().unwrap();
        assert!(arrived(client.local_addr().unwrap(), port));
        assert!(!arrived(client.local_addr().unwrap(), port ^ 1));
    }

    #[test]
    fn whoever_else_took_the_port_of_a_shim_is_a_stranger() {
        let socket = |local: &str, user| Socket {
            local: local.parse().unwrap(),
            remote: "0.0.0.0:0".parse().unwrap(),
            listens: true,
            user,
            inode: 0,
        };
        let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
        for (local, user, stranger) in [
            ("127.0.0.1:18781", 998, None),
            ("127.0.0.1:18781", 0, None),
            ("127.0.0.1:18781", 1000, Some(1000)),
            ("0.0.0.0:18781", 1000, Some(1000)),
            ("[::]:18781", 1000, Some(1000)),
            ("192.0.2.5:18781", 1000, None),
        ] {
            let found = stranger_among(&[socket(local, user)], here, 998);
            assert_eq!(found, stranger, "{local} of user {user}");
        }
    }

    #[test]
    fn a_socket_accepts_what_its_address_covers() {
        let socket = |address: &str| Socket {
            local: address.parse().unwrap(),
            remote: "0.0.0.0:0".parse().unwrap(),
            listens: true,
            user: 0,
            inode: 0,
        };
        let accepts = |address: &str| {
            let socket = socket(address);
            Family::ALL.map(|family| {
                (
                    socket.accepts(family),
                    socket.accepts_from_other_machines(family),
                )
            })
        };
        let (no, here, all) = ((false, false), (true, false), (true, true));
        assert_eq!(accepts("127.0.0.1:1"), [here, no]);
        assert_eq!(accepts("[::1]:1"), [no, here]);
        assert_eq!(accepts("0.0.0.0:1"), [all, no]);
        assert_eq!(accepts("[::]:1"), [all, all]);
        assert_eq!(accepts("192.0.2.1:1"), [no, no]);
    }
}
