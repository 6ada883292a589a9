//! The gateways that the shim stands before, and the doors through which clients come to them.

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use hyper::Request;
use hyper::header::HOST;

use crate::engine::ModeSwitch;
use crate::http::Front;

/// One gateway, and all that its sessions share.
#[derive(Debug)]
pub struct Served {
    /// What the operator calls it.
    pub name: String,
    /// The host names that lead to it, in lower case, some as `*.suffix`; none where it takes every other host.
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
    /// The gateway that a request is for; `None` where it names a host that leads nowhere, or two that lead to
    /// different gateways. `sni` is the host that a client under TLS has asked for, where it did.
    #[must_use]
    pub fn leads<B>(&self, request: &Request<B>, sni: Option<&str>) -> Option<Arc<Served>> {
        if let [only] = self.served.as_slice()
            && only.hosts.is_empty()
        {
            return Some(Arc::clone(only));
        }
        let mut hosts = request.headers().get_all(HOST).iter();
        let host = hosts.next().map(|host| host.to_str().unwrap_or_default());
        if hosts.next().is_some() {
            return None;
        }
        let asked = host.map(host_name);
        // A proxy's client names the host in the request line, too.
        let target = request.uri().host().map(host_name);
        let found = self.behind(asked.as_deref().or(target.as_deref()))?;
        let agrees = |name: Option<String>| {
            name.is_none_or(|name| {
                let other = self.behind(Some(&name));
                other.is_some_and(|other| Arc::ptr_eq(other, found))
            })
        };
        (agrees(target) && agrees(sni.map(host_name))).then(|| Arc::clone(found))
    }

    /// By the whole name, else by the longest suffix, else the gateway that takes every other host.
    fn behind(&self, name: Option<&str>) -> Option<&Arc<Served>> {
        let name = name.unwrap_or_default();
        let matches = self.served.iter().flat_map(|served| {
            let hosts = served.hosts.iter();
            hosts.filter_map(move |host| Some((closeness(host, name)?, served)))
        });
        let nearest = matches.max_by_key(|(closeness, _)| *closeness);
        let nearest = nearest.map(|(_, served)| served);
        nearest.or_else(|| self.served.iter().find(|served| served.hosts.is_empty()))
    }
}

/// How well a host of the configuration fits a name: the longer the better, and a whole name best.
fn closeness(host: &str, name: &str) -> Option<usize> {
    match host.strip_prefix('*') {
        Some(suffix) => {
            (name.len() > suffix.len() && name.ends_with(suffix)).then_some(suffix.len())
        }
        None => (host == name).then_some(usize::MAX),
    }
}

/// The name in `name:port`, in the one form of it that the configuration has.
fn host_name(authority: &str) -> String {
    let name = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    if let Ok(address) = name.parse::<std::net::IpAddr>() {
        return address.to_string();
    }
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_name_fits_best_and_then_the_longest_suffix() {
        assert_eq!(closeness("a.example", "a.example"), Some(usize::MAX));
        assert_eq!(closeness("a.example", "b.a.example"), None);
        assert!(closeness("*.a.example", "b.a.example") > closeness("*.example", "b.a.example"));
        for name in ["example", ".example", "aexample", "example.evil", ""] {
            assert_eq!(closeness("*.example", name), None, "{name}");
        }
    }

    #[test]
    fn a_host_is_its_name_whatever_the_spelling() {
        for (authority, name) in [
            ("A.Example:443", "a.example"),
            ("a.example.", "a.example"),
            ("[::1]:18780", "::1"),
            ("[0:0::1]", "::1"),
            ("127.0.0.1:1", "127.0.0.1"),
            ("", ""),
        ] {
            assert_eq!(host_name(authority), name, "{authority}");
        }
    }
}
