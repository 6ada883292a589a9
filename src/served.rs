//! The gateways that the shim stands before, and the doors through which clients come to them.

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use hyper::Request;
use hyper::header::HOST;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::engine::ModeSwitch;
use crate::http::Front;
use crate::listen::Limits;
use crate::telemetry::meters::Connection;
use crate::tls::Listening;

/// One gateway, and all that its sessions share.
#[derive(Debug)]
pub struct Served {
    /// What the operator calls it.
    pub name: String,
    /// On, observing or off, for its next handshake. A reload keeps it.
    pub mode: Arc<ModeSwitch>,
    front: ArcSwap<Front>,
}

impl Served {
    /// A gateway behind this front.
    #[must_use]
    pub fn new(name: String, front: Front) -> Self {
        Self {
            name,
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
    /// The address that is listened on, as the configuration says it.
    pub configured: SocketAddr,
    /// The address that is listened on.
    pub address: SocketAddr,
    /// What clients are shown who have to speak TLS; `None` where they speak plaintext.
    pub tls: Option<Arc<Listening>>,
    ways: ArcSwap<Vec<Way>>,
    limits: watch::Sender<Limits>,
    closed: CancellationToken,
}

/// What leads through a door to one gateway.
#[derive(Clone, Debug)]
pub struct Way {
    /// The host names, in lower case, some as `*.suffix`; none where it takes every other host.
    pub hosts: Vec<String>,
    /// Whose they are.
    pub served: Arc<Served>,
}

impl Door {
    /// A door that leads nowhere yet. It is closed with `closed`, or by itself.
    #[must_use]
    pub fn new(
        configured: SocketAddr,
        address: SocketAddr,
        tls: Option<Arc<Listening>>,
        limits: Limits,
        closed: &CancellationToken,
    ) -> Self {
        Self {
            configured,
            address,
            tls,
            ways: ArcSwap::default(),
            limits: watch::Sender::new(limits),
            closed: closed.child_token(),
        }
    }

    /// Leads to other gateways, or by other hosts, from the next request on.
    pub fn lead(&self, ways: Vec<Way>) {
        self.ways.store(Arc::new(ways));
    }

    /// What leads through it.
    #[must_use]
    pub fn ways(&self) -> Arc<Vec<Way>> {
        self.ways.load_full()
    }

    /// The first gateway behind it, which its clients' proxies are known to; `None` once it is closed.
    #[must_use]
    pub fn first(&self) -> Option<Arc<Served>> {
        let ways = self.ways.load();
        Some(Arc::clone(&ways.first()?.served))
    }

    /// Whether the operator has given the names by which this gateway is reached here.
    #[must_use]
    pub fn names(&self, served: &Arc<Served>) -> bool {
        let ways = self.ways.load();
        let mut leading_there = ways.iter().filter(|way| Arc::ptr_eq(&way.served, served));
        leading_there.any(|way| !way.hosts.is_empty())
    }

    /// How many clients, and how patient the shim is with each, as it changes.
    #[must_use]
    pub fn limits(&self) -> watch::Receiver<Limits> {
        self.limits.subscribe()
    }

    /// Has other limits from the next client on.
    pub fn limit(&self, limits: Limits) {
        self.limits.send_if_modified(|held| {
            let differs = *held != limits;
            *held = limits;
            differs
        });
    }

    /// Lets nobody in any more; what is under way goes on.
    pub fn close(&self) {
        self.closed.cancel();
        self.lead(Vec::new());
    }

    /// Cancelled when it is closed.
    #[must_use]
    pub fn closed(&self) -> &CancellationToken {
        &self.closed
    }

    /// Counts a client connection for as long as what is returned lives.
    #[must_use]
    pub fn connection(&self) -> Option<Connection> {
        let served = self.first()?;
        Some(served.front().engine.telemetry.all().connection())
    }

    /// Counts a client connection that was not let in.
    pub fn turned_away(&self, reason: &str) {
        if let Some(served) = self.first() {
            served.front().engine.telemetry.all().turned_away(reason);
        }
    }

    /// The gateway that a request is for; `None` where it names a host that leads nowhere, or two that lead to
    /// different gateways. `sni` is the host that a client under TLS has asked for, where it did.
    #[must_use]
    pub fn leads<B>(&self, request: &Request<B>, sni: Option<&str>) -> Option<Arc<Served>> {
        let ways = self.ways.load();
        if let [only] = ways.as_slice()
            && only.hosts.is_empty()
        {
            return Some(Arc::clone(&only.served));
        }
        let mut hosts = request.headers().get_all(HOST).iter();
        let host = hosts.next().map(|host| host.to_str().unwrap_or_default());
        if hosts.next().is_some() {
            return None;
        }
        // A proxy's client names the host in the request line, too.
        let names = [host, request.uri().host(), sni];
        let found = route(names.map(|name| name.map(host_name)), |name| {
            behind(ways.iter().map(|way| &way.hosts), name)
        });
        found.and_then(|index| Some(Arc::clone(&ways.get(index)?.served)))
    }
}

/// Where all names lead that there are; `None` where they lead nowhere, or not to the same.
fn route(names: [Option<String>; 3], lead: impl Fn(&str) -> Option<usize>) -> Option<usize> {
    let mut named = names.iter().flatten();
    let first = named.next().map_or("", String::as_str);
    let found = lead(first)?;
    named.all(|name| lead(name) == Some(found)).then_some(found)
}

/// Which of the gateways with these hosts a name leads to: by the whole name, else by the longest suffix, else the one
/// that takes every other host.
fn behind<'a>(
    gateways: impl Iterator<Item = &'a Vec<String>> + Clone,
    name: &str,
) -> Option<usize> {
    let fitting = gateways.clone().enumerate().flat_map(|(index, hosts)| {
        let hosts = hosts.iter();
        hosts.filter_map(move |host| Some((closeness(host, name)?, index)))
    });
    let nearest = fitting.max_by_key(|(closeness, _)| *closeness);
    let nearest = nearest.map(|(_, index)| index);
    nearest.or_else(|| {
        gateways
            .enumerate()
            .find(|(_, hosts)| hosts.is_empty())
            .map(|(index, _)| index)
    })
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

    fn leads(host: Option<&str>, target: Option<&str>, sni: Option<&str>) -> Option<usize> {
        let hosts = [vec!["a.example", "*.example"], vec!["b.example"], vec![]];
        let hosts = hosts.map(|hosts| hosts.into_iter().map(str::to_owned).collect::<Vec<_>>());
        route(
            [host, target, sni].map(|name| name.map(host_name)),
            |name| behind(hosts.iter(), name),
        )
    }

    #[test]
    fn the_gateway_without_hosts_takes_what_no_other_does() {
        assert_eq!(leads(Some("a.example:1"), None, None), Some(0));
        assert_eq!(
            leads(Some("b.example"), None, None),
            Some(1),
            "a whole name before a suffix"
        );
        assert_eq!(leads(Some("c.example"), None, None), Some(0));
        assert_eq!(leads(Some("127.0.0.1:1"), None, None), Some(2));
        assert_eq!(leads(None, None, None), Some(2));
    }

    #[test]
    fn names_that_lead_to_different_gateways_lead_nowhere() {
        let (a, b) = (Some("a.example:1"), Some("b.example"));
        assert_eq!(leads(a, None, Some("a.example")), Some(0));
        assert_eq!(
            leads(a, None, Some("c.example")),
            Some(0),
            "the same gateway"
        );
        assert_eq!(leads(a, None, b), None);
        assert_eq!(leads(a, b, None), None);
        assert_eq!(leads(None, b, None), Some(1));
        assert_eq!(leads(b, None, Some("elsewhere")), None);
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
