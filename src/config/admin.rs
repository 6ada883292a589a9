//! Where the admin surface is.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::load::absolute;
use super::problem::Origin;
use super::reader::Reader;
use super::show::Show as _;
use super::value;
use crate::admin;

/// Where the shim's own commands, a browser and monitoring reach the shim itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// The Unix socket, for whoever may enter its directory; `None` where there is none.
    pub socket: Option<PathBuf>,
    /// A port on loopback, for whoever has the token.
    pub listen: Option<SocketAddr>,
    /// A port that answers nothing but `/live` and `/ready`, for anybody.
    pub probes: Option<SocketAddr>,
}

impl Admin {
    /// `listen` is where clients connect.
    pub(super) fn read(reader: &mut Reader<'_>, data: &Path, listen: SocketAddr) -> Self {
        let socket = socket(reader, data);
        let port = reader.read("admin.listen", DEFAULT_LISTEN, value::loopback_or_off);
        let probes = reader.read("admin.probes", None, value::address_or_off);
        let ports = [("admin.listen", port), ("admin.probes", probes)];
        let taken = [("listen", Some(listen)), ("admin.listen", port)];
        for ((key, own), (other, address)) in ports.into_iter().zip(taken) {
            refuse_shared(reader, (key, own), (other, address));
        }
        refuse_shared(reader, ("admin.probes", probes), ("listen", Some(listen)));
        Self {
            socket,
            listen: port,
            probes,
        }
    }
}

fn socket(reader: &mut Reader<'_>, data: &Path) -> Option<PathBuf> {
    let (socket, origin) = match reader.read_or_auto("admin.socket", value::path) {
        Some((text, origin)) if text == "off" => (None, origin),
        Some((text, origin)) => {
            let path = absolute(reader.raw.environment, &text, &origin);
            (Some(path), origin)
        }
        None if cfg!(unix) => (Some(admin::socket(data)), Origin::Default),
        None => (None, Origin::Default),
    };
    let shown = socket
        .as_ref()
        .map_or_else(|| "off".to_owned(), |path| path.show());
    if let Some(path) = &socket {
        refuse_unusable(reader, path, &origin);
    }
    reader.resolved("admin.socket", shown, origin);
    socket
}

fn refuse_unusable(reader: &mut Reader<'_>, path: &Path, origin: &Origin) {
    let length = path.as_os_str().len();
    let (message, hint) = if cfg!(not(unix)) {
        (
            "`admin.socket`: this system has no Unix sockets".to_owned(),
            "write \"off\", and use admin.listen".to_owned(),
        )
    } else if length > LONGEST_SOCKET {
        let path = path.display();
        (
            format!(
                "`admin.socket`: {path} has {length} bytes, and the system takes at most {LONGEST_SOCKET}"
            ),
            "name a shorter one, such as \"/run/scope-shim/admin.sock\", or \"off\"".to_owned(),
        )
    } else {
        return;
    };
    reader.problem(origin.clone(), message, Some(hint));
}

fn refuse_shared(
    reader: &mut Reader<'_>,
    (key, own): (&'static str, Option<SocketAddr>),
    (other, address): (&str, Option<SocketAddr>),
) {
    let (Some(own), Some(address)) = (own, address) else {
        return;
    };
    let overlap =
        own.ip() == address.ip() || own.ip().is_unspecified() || address.ip().is_unspecified();
    if own.port() == 0 || own.port() != address.port() || !overlap {
        return;
    }
    let message = format!("`{key}`: {own} is taken by `{other}`, {address}");
    let hint = "give each a port of its own".to_owned();
    let origin = match reader.origin(key) {
        Origin::Default => reader.origin(other),
        said => said,
    };
    reader.problem(origin, message, Some(hint));
}

/// The longest path of a Unix socket, in bytes: `sun_path` less the zero at its end.
const LONGEST_SOCKET: usize = if cfg!(target_os = "linux") { 107 } else { 103 };
/// Where there are Unix sockets, nothing else is needed.
const DEFAULT_LISTEN: Option<SocketAddr> = if cfg!(unix) {
    None
} else {
    Some(SocketAddr::new(
        std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
        18_781,
    ))
};
