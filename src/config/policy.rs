//! What the operator grants, caps and switches off.

use std::collections::BTreeMap;
use std::time::Duration;

use super::named::Named;
use super::problem::{Finding, closest};
use super::reader::Reader;
use super::value;
use super::warning::Warning;
use super::words::{DeviceLess, EntitledRepairs, LocalUpgrades};
use crate::scope::{self, ScopeSet};

/// The operator's rules. They narrow, except for `grant`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// No session that the shim rewrites holds a scope outside of the closure of these.
    pub max_scopes: ScopeSet,
    /// What becomes of local clients that show no device.
    pub device_less: DeviceLess,
    /// What becomes of pairing requests that widen nothing.
    pub entitled_repairs: EntitledRepairs,
    /// What becomes of local devices that ask for more than was approved for them.
    pub local_upgrades: LocalUpgrades,
    /// How long a session that needs an approval waits for it before it is refused; `None` does not wait.
    pub wait_for_approval: Option<Duration>,
    /// Exceptions by `client.id`.
    pub clients: BTreeMap<String, ClientPolicy>,
    /// What the users hold whom a trusted proxy names; `*` is everybody else of them.
    pub users: BTreeMap<String, UserPolicy>,
}

/// What a user holds whom a trusted proxy names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserPolicy {
    /// The scopes; none is none.
    pub scopes: ScopeSet,
}

/// The operator's rules for one `client.id`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientPolicy {
    /// Scopes that the client is entitled to beyond what its device was approved for.
    pub grant: ScopeSet,
    /// A cap of its own, on top of the one for all.
    pub max_scopes: Option<ScopeSet>,
    /// Overrides [`Policy::device_less`].
    pub device_less: Option<DeviceLess>,
}

/// What a cap keeps from a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capped {
    /// The scopes.
    pub scopes: ScopeSet,
    /// The configuration's key that says so.
    pub setting: String,
}

impl Policy {
    /// What becomes of local clients of that id which show no device.
    #[must_use]
    pub fn device_less(&self, client_id: &str) -> DeviceLess {
        let own = self
            .clients
            .get(client_id)
            .and_then(|client| client.device_less);
        own.unwrap_or(self.device_less)
    }

    /// What the operator grants a client of that id on top of its approved scopes.
    #[must_use]
    pub fn granted(&self, client_id: &str) -> ScopeSet {
        let client = self.clients.get(client_id);
        client.map_or_else(ScopeSet::new, |client| client.grant.clone())
    }

    /// What a user holds; `None` for one whom the configuration leaves to the gateway.
    #[must_use]
    pub fn user(&self, name: &str) -> Option<&UserPolicy> {
        self.users.get(name).or_else(|| self.users.get(ANY_USER))
    }

    /// Whether a client of that id may hold `scope` at all.
    #[must_use]
    pub fn allows(&self, client_id: &str, scope: &str) -> bool {
        let own = self
            .clients
            .get(client_id)
            .and_then(|client| client.max_scopes.as_ref());
        self.max_scopes.implies(scope) && own.is_none_or(|own| own.implies(scope))
    }

    /// What of these scopes a client of that id may not hold, and the key that says so; `None` where it may hold all.
    #[must_use]
    pub fn cap(&self, client_id: &str, scopes: &ScopeSet) -> Option<Capped> {
        let forbidden = scopes.iter().filter(|scope| !self.allows(client_id, scope));
        let scopes: ScopeSet = forbidden.collect();
        let first = scopes.iter().next()?;
        let setting = if self.max_scopes.implies(first) {
            format!("policy.clients.{client_id}.max_scopes")
        } else {
            "policy.max_scopes".to_owned()
        };
        Some(Capped { scopes, setting })
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let default = Self::default();
        let max_scopes = reader.read("policy.max_scopes", default.max_scopes, value::scopes);
        let device_less = reader.read("policy.device_less", default.device_less, value::word);
        let entitled_repairs = reader.read(
            "policy.entitled_repairs",
            default.entitled_repairs,
            value::word,
        );
        let local_upgrades =
            reader.read("policy.local_upgrades", default.local_upgrades, value::word);
        let wait_for_approval =
            reader.read("policy.wait_for_approval", None, value::timeout_or_off);
        let clients = reader.named("policy.clients", |section| {
            doubt_client(section);
            let client = ClientPolicy {
                grant: section.read("grant", value::scopes).unwrap_or_default(),
                max_scopes: section.read("max_scopes", value::scopes),
                device_less: section.read("device_less", value::word),
            };
            let caps = client.max_scopes.iter();
            for scope in caps.chain([&client.grant]).flat_map(ScopeSet::iter) {
                if let Some(finding) = doubt_scope(scope) {
                    section.finding(finding);
                }
            }
            client
        });
        let users = reader.named("policy.users", |section| {
            let scopes = section.read("scopes", value::scopes).unwrap_or_default();
            for finding in scopes.iter().filter_map(doubt_scope) {
                section.finding(finding);
            }
            UserPolicy { scopes }
        });
        for scope in max_scopes.iter() {
            reader.findings.extend(doubt_scope(scope));
        }
        Self {
            max_scopes,
            device_less,
            entitled_repairs,
            local_upgrades,
            wait_for_approval,
            clients: clients.into_iter().collect(),
            users: users.into_iter().collect(),
        }
    }
}

/// What holds where the configuration says nothing.
impl Default for Policy {
    fn default() -> Self {
        Self {
            max_scopes: scope::ALL.into_iter().collect(),
            device_less: DeviceLess::Local,
            entitled_repairs: EntitledRepairs::Approve,
            local_upgrades: LocalUpgrades::Ask,
            wait_for_approval: None,
            clients: BTreeMap::new(),
            users: BTreeMap::new(),
        }
    }
}

/// Stands for every user that is not named.
const ANY_USER: &str = "*";

/// A later gateway may know more scopes, so that an unknown one is not an error.
fn doubt_scope(scope: &str) -> Option<Finding> {
    if scope::ALL.contains(&scope) {
        return None;
    }
    let message = format!("no gateway up to 2026.9.6 knows the scope {scope:?}");
    Some(Finding::new(
        Warning::UnknownScope,
        message,
        "check the name",
    ))
}

/// A later gateway may know more clients, but one that never connects is more likely a slip.
fn doubt_client(section: &mut Named<'_, '_>) {
    if CLIENT_IDS.contains(&section.name) {
        return;
    }
    let fix = closest(section.name, CLIENT_IDS).map_or_else(
        || format!("one of: {}", CLIENT_IDS.join(", ")),
        value::did_you_mean,
    );
    let message = format!(
        "no gateway up to 2026.9.6 admits a client with the id {:?}",
        section.name
    );
    section.finding(Finding::new(Warning::UnknownClient, message, fix));
}

/// Every `client.id` that a gateway from 2026.2.19 to 2026.9.6 admits.
const CLIENT_IDS: [&str; 17] = [
    "cli",
    "openclaw-control-ui",
    "gateway-client",
    "openclaw-tui",
    "webchat",
    "webchat-ui",
    "openclaw-browser-copilot",
    "openclaw-macos",
    "openclaw-linux",
    "openclaw-ios",
    "openclaw-watchos",
    "openclaw-android",
    "node-host",
    "openclaw-worker",
    "openclaw-probe",
    "fingerprint",
    "test",
];
