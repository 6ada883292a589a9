//! Whether a delegated session is still entitled to what it holds.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::time::timeout;

use super::who::LOOKUP_PATIENCE;
use super::{Engine, Visit, case};
use crate::config::DeviceLess;
use crate::decide;
use crate::delegation::Check;
use crate::device::{DeviceId, DeviceRecord, OperatorToken};
use crate::handshake::message::Claims;
use crate::identity::Identity;
use crate::identity::identify;

/// Holds what a session was granted against the record of its device as it is now.
#[derive(Debug)]
pub struct EntitledStill {
    /// Where the record is looked up.
    pub engine: Arc<Engine>,
    /// What the session claims.
    pub claims: Claims,
    /// Who it was when it was granted.
    pub identity: Identity,
    /// Where it came from.
    pub visit: Visit,
}

impl Check for EntitledStill {
    fn objection(&self) -> BoxFuture<'_, Option<String>> {
        self.check().boxed()
    }
}

impl EntitledStill {
    async fn check(&self) -> Option<String> {
        let (then, device) = match &self.identity {
            Identity::User { name, .. } => return self.unmapped(name),
            Identity::Device { record, .. } => (record, &record.device_id),
            Identity::HostDevice(record) => {
                if let Some(objection) = self.device_less() {
                    return Some(objection);
                }
                (record, &record.device_id)
            }
            // Nothing was approved for it, so only what the operator allows can be less than it was.
            Identity::FreshLocal => {
                let lacking = || self.lacking(&self.identity, "the policy no longer allows");
                return self.device_less().or_else(lacking);
            }
            Identity::Unknown(_) => return None,
        };
        // A store that cannot be read at the moment is no reason to end a session.
        let now = self.engine.resolver.resolve(device);
        let now = timeout(LOOKUP_PATIENCE, now).await.ok()?.ok()?;
        objection(then, now.as_ref(), device).or_else(|| self.shrunk(with_its_token(now?, then)))
    }

    /// Whether the operator has no client without a device repaired any more.
    fn device_less(&self) -> Option<String> {
        let rules = self.engine.rules();
        let off = rules.policy.device_less(&self.claims.client_id) == DeviceLess::Off;
        off.then(|| "the policy no longer has clients without a device repaired".to_owned())
    }

    /// The proxy is asked no more; but the map, and the gateway's list of users, may have changed.
    fn unmapped(&self, name: &str) -> Option<String> {
        let rules = self.engine.rules();
        match identify::user(name, &self.claims.auth, &rules.auth, &rules.policy) {
            Some(user) => self.lacking(&user, "this user is no longer mapped to"),
            None => Some("this user is no longer mapped to any scope".to_owned()),
        }
    }

    fn shrunk(&self, now: Arc<DeviceRecord>) -> Option<String> {
        let identity = match &self.identity {
            Identity::Device {
                credential,
                payload,
                ..
            } => Identity::Device {
                record: now,
                credential: *credential,
                payload: *payload,
            },
            _ => Identity::HostDevice(now),
        };
        self.lacking(&identity, "this device is no longer approved for")
    }

    fn lacking(&self, identity: &Identity, what: &str) -> Option<String> {
        let (standing, rules) = (self.engine.control.standing(), self.engine.rules());
        let case = case(
            &self.claims,
            identity,
            &self.visit,
            &standing,
            &rules.policy,
        );
        let missing = decide::not_entitled(case);
        (!missing.is_empty()).then(|| format!("{what} {missing}"))
    }
}

/// Where the gateway's list stands in for a store, it tells that there is a token and nothing of it; it counts as it was.
fn with_its_token(now: Arc<DeviceRecord>, then: &DeviceRecord) -> Arc<DeviceRecord> {
    match now.operator_token {
        OperatorToken::Withheld => Arc::new(DeviceRecord {
            operator_token: then.operator_token.clone(),
            ..DeviceRecord::clone(&now)
        }),
        _ => now,
    }
}

fn objection(
    then: &DeviceRecord,
    now: Option<&Arc<DeviceRecord>>,
    device: &DeviceId,
) -> Option<String> {
    let device = device.short();
    let Some(now) = now else {
        return Some(format!("device {device} was removed from the gateway"));
    };
    if now.public_key != then.public_key || !now.is_operator() {
        return Some(format!("device {device} was paired anew; reconnect"));
    }
    let had_token = matches!(then.operator_token, OperatorToken::Live { .. });
    let has_none = matches!(now.operator_token, OperatorToken::None);
    (now.is_revoked() || (had_token && has_none))
        .then(|| format!("the token of device {device} was revoked"))
}
