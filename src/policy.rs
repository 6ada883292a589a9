//! What the operator of the shim allows beyond, or short of, what the gateway approved.

use std::collections::HashMap;

use crate::scope::ScopeSet;

/// The rules of `[policy]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// No rewritten session gets more than the closure of these; `None` is no cap.
    pub max_scopes: Option<ScopeSet>,
    /// Whether local clients without a device may be given scopes.
    pub device_less: DeviceLess,
    /// Exceptions by `client.id`.
    pub clients: HashMap<String, ClientPolicy>,
}

/// The rules of `[policy.clients.<id>]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientPolicy {
    /// Added to what the gateway approved.
    pub grant: ScopeSet,
    /// Caps this client below `policy.max_scopes`.
    pub max_scopes: Option<ScopeSet>,
    /// Overrides `policy.device_less`.
    pub device_less: Option<DeviceLess>,
}

/// What becomes of clients that bring no device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceLess {
    /// A direct local client with the shared secret stands for the host's own device.
    #[default]
    Local,
    /// They are left to the gateway.
    Off,
}

impl Policy {
    /// What is added for this client.
    #[must_use]
    pub fn grant(&self, client_id: &str) -> Option<&ScopeSet> {
        self.clients.get(client_id).map(|client| &client.grant)
    }

    /// Whether both caps let this client hold `scope`.
    #[must_use]
    pub fn permits(&self, client_id: &str, scope: &str) -> bool {
        let client_cap = self
            .clients
            .get(client_id)
            .and_then(|client| client.max_scopes.as_ref());
        [self.max_scopes.as_ref(), client_cap]
            .into_iter()
            .flatten()
            .all(|cap| cap.implies(scope))
    }

    /// What becomes of this client when it brings no device.
    #[must_use]
    pub fn device_less(&self, client_id: &str) -> DeviceLess {
        self.clients
            .get(client_id)
            .and_then(|client| client.device_less)
            .unwrap_or(self.device_less)
    }
}
