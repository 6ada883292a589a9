//! The table: how it is written, and how it is read back.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;

use serde_json::Value;

use super::{Exempt, Family, Redirect};

/// Its family and name.
pub(super) const NAME: &str = "inet scope_shim";

/// What the table is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    /// The shim; nobody where nothing is redirected.
    pub(super) exempt: Option<Exempt>,
    /// The user whose sockets may answer what is redirected, beside root's: who runs the shim.
    pub(super) owner: u32,
    /// None while a watcher waits for the shim.
    pub(super) redirects: Vec<Redirect>,
    /// The same for connections from other machines: to the addresses on which the gateway is there for them.
    pub(super) for_others: Vec<(Redirect, IpAddr)>,
    pub(super) socket: PathBuf,
    /// The process with which the table is to vanish.
    pub(super) watcher: Option<u32>,
}

impl Table {
    /// Commands that put it in the place of one that is there, in one transaction, on one line.
    pub(super) fn script(&self) -> String {
        let mut commands = vec![
            // Deleting what is not there is an error, adding what is there is none.
            format!("add table {NAME}"),
            format!("delete table {NAME}"),
            match self.watcher {
                Some(_) => format!("add table {NAME} {{ flags owner; }}"),
                None => format!("add table {NAME}"),
            },
            format!("add chain {NAME} {ABOUT}"),
            format!(
                "add rule {NAME} {ABOUT} counter comment \"{}\"",
                self.about()
            ),
        ];
        if let Some(exempt) = self.exempt {
            let others = format!(
                "meta {} != {} fib daddr type local",
                exempt.key(),
                exempt.id()
            );
            let redirects = self.redirects.iter();
            let rules = redirects.map(|redirect| rule(redirect, &others));
            chain("output", rules, &mut commands);
        }
        if !self.for_others.is_empty() {
            let redirects = self.for_others.iter();
            let rules = redirects.map(|(redirect, address)| {
                let reached = match address {
                    address if address.is_unspecified() => "fib daddr type local".to_owned(),
                    IpAddr::V4(address) => format!("ip daddr {address}"),
                    IpAddr::V6(address) => format!("ip6 daddr {address}"),
                };
                rule(redirect, &format!("iifname != \"lo\" {reached}"))
            });
            chain("prerouting", rules, &mut commands);
        }
        self.guard(&mut commands);
        commands.join("; ")
    }

    /// Whoever else gets hold of the shim's port gets nothing of what is redirected there, not even for the moment in
    /// which nobody has noticed: the answer that would open the connection is made one that refuses it.
    ///
    /// The kernel names the owner of the socket that answers, not of the one that is asked. Where it does not tell, as
    /// with SYN cookies, the connection is refused as well.
    fn guard(&self, commands: &mut Vec<String>) {
        let everyone = self.for_others.iter().map(|(redirect, _)| redirect);
        let ports = self.redirects.iter().chain(everyone);
        let ports: BTreeSet<_> = ports.map(|way| (way.from, way.to)).collect();
        if ports.is_empty() {
            return;
        }
        commands.push(format!(
            "add chain {NAME} guard {{ type filter hook output priority {PRIORITY_OF_GUARD}; policy accept; }}"
        ));
        let owners = match self.owner {
            0 => "0".to_owned(),
            owner => format!("{{ 0, {owner} }}"),
        };
        for (from, to) in ports {
            let opens = format!(
                "add rule {NAME} guard tcp sport {to} tcp flags & (syn | ack) == syn | ack ct direction reply \
                 ct status dnat ct original proto-dst {from}"
            );
            commands.push(format!("{opens} meta skuid {owners} accept"));
            commands.push(format!("{opens} counter tcp flags set {RST_ACK}"));
        }
    }

    /// What whoever asks later has to know.
    fn about(&self) -> String {
        let exempt = self.exempt.iter();
        let mut words: Vec<String> = exempt
            .map(|exempt| format!("{}={}", exempt.key(), exempt.id()))
            .collect();
        if let Some(Exempt::Group(_)) = self.exempt {
            words.push(format!("user={}", self.owner));
        }
        words.extend(self.watcher.map(|pid| format!("watcher={pid}")));
        let said = words.join(" ");
        let socket = format!("{said} socket={}", self.socket.display());
        let socket = socket.trim_start();
        if fits_a_comment(socket) {
            socket.to_owned()
        } else {
            said
        }
    }
}

fn chain(hook: &str, rules: impl Iterator<Item = String>, commands: &mut Vec<String>) {
    commands.push(format!(
        "add chain {NAME} {hook} {{ type nat hook {hook} priority {PRIORITY}; policy accept; }}"
    ));
    commands.extend(rules.map(|rule| format!("add rule {NAME} {hook} {rule}")));
}

fn rule(redirect: &Redirect, whose: &str) -> String {
    let Redirect { family, from, to } = redirect;
    let family = family.name();
    format!("meta nfproto {family} {whose} tcp dport {from} counter redirect to :{to}")
}

/// Whether nftables can keep it: its strings know no escapes, and 128 bytes are all there is.
fn fits_a_comment(text: &str) -> bool {
    let odd = |c: char| c == '"' || c == char::REPLACEMENT_CHARACTER || c.is_control();
    text.len() <= LONGEST_COMMENT && !text.contains(odd)
}

/// A table that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InPlace {
    /// Whose connections are not redirected.
    pub exempt: Option<Exempt>,
    /// The user whose sockets may answer what is redirected, beside root's; `None` where nothing tells.
    pub owner: Option<u32>,
    /// The process that holds it, and waits for the shim where there are no redirects.
    pub watcher: Option<u32>,
    /// The admin socket of the shim that it was made for.
    pub socket: Option<PathBuf>,
    /// What leads where.
    pub redirects: Vec<InPlaceRedirect>,
}

/// A redirect that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InPlaceRedirect {
    /// What leads where.
    pub redirect: Redirect,
    /// For connections from other machines, instead of those from this one.
    pub other_machines: bool,
    /// How many connections it has taken.
    pub connections: u64,
}

impl InPlace {
    /// Reads what `nft -j list table` says.
    pub(super) fn parse(listing: &Value) -> Self {
        let items = listing["nftables"].as_array().into_iter().flatten();
        let mut table = Self {
            exempt: None,
            owner: None,
            watcher: None,
            socket: None,
            redirects: Vec::new(),
        };
        for rule in items.filter_map(|item| item.get("rule")) {
            match rule["chain"].as_str() {
                Some(ABOUT) => table.learn(rule["comment"].as_str().unwrap_or_default()),
                Some(chain) => table.redirects.extend(redirect(rule, chain)),
                None => {}
            }
        }
        table
    }

    fn learn(&mut self, about: &str) {
        let (words, socket) = about
            .split_once("socket=")
            .map_or((about, None), |(words, path)| (words, Some(path)));
        self.socket = socket.map(PathBuf::from);
        for (key, value) in words.split(' ').filter_map(|word| word.split_once('=')) {
            let Ok(number) = value.parse() else { continue };
            match key {
                "skuid" => {
                    self.exempt = Some(Exempt::User(number));
                    self.owner = Some(number);
                }
                "user" => self.owner = Some(number),
                "skgid" => self.exempt = Some(Exempt::Group(number)),
                "watcher" => self.watcher = Some(number),
                _ => {}
            }
        }
    }
}

fn redirect(rule: &Value, chain: &str) -> Option<InPlaceRedirect> {
    let expressions = rule["expr"].as_array()?;
    let port = |value: &Value| value.as_u64().and_then(|port| u16::try_from(port).ok());
    let to = expressions
        .iter()
        .find_map(|expression| port(&expression["redirect"]["port"]))?;
    let matched = |pointer: &str, name: &str| {
        let matches = expressions.iter().map(|expression| &expression["match"]);
        let mut right = matches
            .filter(|matched| matched.pointer(pointer).is_some_and(|key| key == name))
            .map(|matched| &matched["right"]);
        right.next()
    };
    let from = port(matched("/left/payload/field", "dport")?)?;
    let family = matched("/left/meta/key", "nfproto")?.as_str()?;
    let family = Family::ALL
        .into_iter()
        .find(|known| known.name() == family)?;
    let connections = expressions
        .iter()
        .find_map(|expression| expression["counter"]["packets"].as_u64());
    Some(InPlaceRedirect {
        redirect: Redirect { family, from, to },
        other_machines: chain != "output",
        connections: connections.unwrap_or_default(),
    })
}

/// The chain that no packet meets; its one rule's comment says what the table is.
const ABOUT: &str = "about";

/// Before the rules of container engines, which have a gateway's published port lead to its container (-100).
const PRIORITY: i32 = -110;

/// Any order among filters does: this one is there before a firewall's own.
const PRIORITY_OF_GUARD: i32 = -110;

/// The flags of a segment that refuses a connection.
const RST_ACK: &str = "0x14";

const LONGEST_COMMENT: usize = 127;

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use serde_json::json;

    use super::*;

    fn table() -> Table {
        let redirect = |family| Redirect {
            family,
            from: 18789,
            to: 18780,
        };
        Table {
            exempt: Some(Exempt::User(998)),
            owner: 998,
            redirects: Family::ALL.map(redirect).to_vec(),
            for_others: Vec::new(),
            socket: PathBuf::from("/var/lib/scope-shim/admin.sock"),
            watcher: None,
        }
    }

    #[test]
    fn the_table_is_replaced_in_one_transaction() {
        insta::assert_snapshot!(table().script().replace("; add", ";\nadd"), @r#"
        add table inet scope_shim; delete table inet scope_shim;
        add table inet scope_shim;
        add chain inet scope_shim about;
        add rule inet scope_shim about counter comment "skuid=998 socket=/var/lib/scope-shim/admin.sock";
        add chain inet scope_shim output { type nat hook output priority -110; policy accept; };
        add rule inet scope_shim output meta nfproto ipv4 meta skuid != 998 fib daddr type local tcp dport 18789 counter redirect to :18780;
        add rule inet scope_shim output meta nfproto ipv6 meta skuid != 998 fib daddr type local tcp dport 18789 counter redirect to :18780;
        add chain inet scope_shim guard { type filter hook output priority -110; policy accept; };
        add rule inet scope_shim guard tcp sport 18780 tcp flags & (syn | ack) == syn | ack ct direction reply ct status dnat ct original proto-dst 18789 meta skuid { 0, 998 } accept;
        add rule inet scope_shim guard tcp sport 18780 tcp flags & (syn | ack) == syn | ack ct direction reply ct status dnat ct original proto-dst 18789 counter tcp flags set 0x14
        "#);
        let reached = table().redirects[0];
        let held = Table {
            watcher: Some(4321),
            exempt: Some(Exempt::Group(997)),
            owner: 501,
            for_others: vec![
                (reached, "0.0.0.0".parse().unwrap()),
                (reached, "192.0.2.1".parse().unwrap()),
            ],
            ..table()
        };
        insta::assert_snapshot!(held.script().replace("; add", ";\nadd"), @r#"
        add table inet scope_shim; delete table inet scope_shim;
        add table inet scope_shim { flags owner; };
        add chain inet scope_shim about;
        add rule inet scope_shim about counter comment "skgid=997 user=501 watcher=4321 socket=/var/lib/scope-shim/admin.sock";
        add chain inet scope_shim output { type nat hook output priority -110; policy accept; };
        add rule inet scope_shim output meta nfproto ipv4 meta skgid != 997 fib daddr type local tcp dport 18789 counter redirect to :18780;
        add rule inet scope_shim output meta nfproto ipv6 meta skgid != 997 fib daddr type local tcp dport 18789 counter redirect to :18780;
        add chain inet scope_shim prerouting { type nat hook prerouting priority -110; policy accept; };
        add rule inet scope_shim prerouting meta nfproto ipv4 iifname != "lo" fib daddr type local tcp dport 18789 counter redirect to :18780;
        add rule inet scope_shim prerouting meta nfproto ipv4 iifname != "lo" ip daddr 192.0.2.1 tcp dport 18789 counter redirect to :18780;
        add chain inet scope_shim guard { type filter hook output priority -110; policy accept; };
        add rule inet scope_shim guard tcp sport 18780 tcp flags & (syn | ack) == syn | ack ct direction reply ct status dnat ct original proto-dst 18789 meta skuid { 0, 501 } accept;
        add rule inet scope_shim guard tcp sport 18780 tcp flags & (syn | ack) == syn | ack ct direction reply ct status dnat ct original proto-dst 18789 counter tcp flags set 0x14
        "#);
    }

    #[test]
    fn a_table_that_waits_for_the_shim_redirects_nothing() {
        let waiting = Table {
            exempt: None,
            redirects: Vec::new(),
            watcher: Some(1),
            ..table()
        };
        assert!(!waiting.script().contains("redirect"));
        assert!(!waiting.script().contains("hook"));
    }

    #[test]
    fn root_alone_answers_for_a_shim_that_runs_as_root() {
        let of_root = Table {
            exempt: Some(Exempt::Group(997)),
            owner: 0,
            ..table()
        };
        assert!(of_root.script().contains("meta skuid 0 accept"));
    }

    #[test]
    fn a_path_that_a_comment_cannot_hold_is_left_out() {
        for path in ["/a\"b/admin.sock", "/a\nb", &"/long".repeat(40)] {
            let odd = Table {
                socket: PathBuf::from(path),
                ..table()
            };
            assert!(!odd.script().contains("socket="), "{path}");
        }
    }

    #[test]
    fn what_nft_lists_is_read_back() {
        let rule = |chain: &str, extra: Value| {
            json!({"rule": {"chain": chain, "expr": [
                {"match": {"op": "==", "left": {"meta": {"key": "nfproto"}}, "right": "ipv6"}},
                extra,
                {"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": 18789}},
                {"counter": {"packets": 3, "bytes": 180}},
                {"redirect": {"port": 18780}}]}})
        };
        let skuid =
            json!({"match": {"op": "!=", "left": {"meta": {"key": "skuid"}}, "right": 998}});
        let listing = json!({"nftables": [
            {"metainfo": {}},
            {"table": {"family": "inet", "name": "scope_shim"}},
            {"rule": {"chain": "about", "comment": "skuid=998 watcher=7 socket=/a b/admin.sock", "expr": []}},
            rule("output", skuid),
            rule("prerouting", json!({})),
            {"rule": {"chain": "output", "expr": [{"accept": null}]}},
        ]});
        let redirect = |other_machines| InPlaceRedirect {
            redirect: Redirect {
                family: Family::V6,
                from: 18789,
                to: 18780,
            },
            other_machines,
            connections: 3,
        };
        let expected = InPlace {
            exempt: Some(Exempt::User(998)),
            owner: Some(998),
            watcher: Some(7),
            socket: Some(PathBuf::from("/a b/admin.sock")),
            redirects: vec![redirect(false), redirect(true)],
        };
        assert_eq!(InPlace::parse(&listing), expected);
    }
}
