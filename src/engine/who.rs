//! Finding out whose session it is.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tracing::debug;

use super::{HostDevice, Visit};
use crate::config::Policy;
use crate::device::{DeviceId, DeviceRecord};
use crate::gateway::{GatewayAuth, GatewayFacts};
use crate::handshake::message::{Claims, DeviceProof};
use crate::identity::Resolver;
use crate::identity::identify::{self, Circumstances, Identity, Unidentified};
use crate::identity::proof::{PayloadVersion, ProofRules};
use crate::identity::store::StoreError;
use crate::profile::Profile;

/// What it takes to find out whose session it is. The running shim and `explain` ask the same.
#[derive(Clone, Copy, Debug)]
pub struct Who<'a> {
    /// Where records are looked up.
    pub resolver: &'a Resolver,
    /// The device of this host's own CLI.
    pub host: &'a HostDevice,
    /// What the operator allows.
    pub policy: &'a Policy,
    /// What the gateway asks of everyone.
    pub auth: &'a GatewayAuth,
    /// What the gateway's own files say.
    pub facts: &'a GatewayFacts,
}

/// The moment that a proof is held against.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
    /// The nonce of the challenge; `None` where there was none.
    pub nonce: Option<&'a str>,
    /// The time, in milliseconds since the epoch.
    pub now_ms: i64,
}

impl Who<'_> {
    /// Whose session it is.
    pub async fn identify(
        &self,
        claims: &Claims,
        moment: Moment<'_>,
        profile: &Profile,
        visit: &Visit,
    ) -> Identity {
        let circumstances = visit.circumstances;
        let user = || identify::user(visit.user.as_deref()?, &claims.auth, self.auth, self.policy);
        let found = match &claims.device {
            Some(device) => {
                self.device(claims, device, moment, profile, circumstances)
                    .await
            }
            None => match user() {
                Some(user) => return user,
                None => self.local(claims, circumstances, profile).await,
            },
        };
        match found.unwrap_or_else(Identity::Unknown) {
            // Whose device it is, the proxy says.
            Identity::Unknown(Unidentified::NotPaired) => {
                user().unwrap_or(Identity::Unknown(Unidentified::NotPaired))
            }
            found => found,
        }
    }

    async fn device(
        &self,
        claims: &Claims,
        device: &DeviceProof,
        moment: Moment<'_>,
        profile: &Profile,
        circumstances: Circumstances,
    ) -> Result<Identity, Unidentified> {
        let nonce = moment.nonce.ok_or(Unidentified::NoChallenge)?;
        let rules = proof_rules(profile);
        let (id, payload) =
            identify::prove(claims, device, nonce, moment.now_ms, rules, circumstances)?;
        self.proven(claims, device, &id, payload, profile).await
    }

    /// The same for a device whose proof holds.
    ///
    /// # Errors
    ///
    /// When the pairing store cannot be read.
    pub async fn proven(
        &self,
        claims: &Claims,
        device: &DeviceProof,
        id: &DeviceId,
        payload: PayloadVersion,
        profile: &Profile,
    ) -> Result<Identity, Unidentified> {
        let record = self.record(id).await?;
        Ok(identify::recognise(
            claims, device, payload, record, self.auth, profile,
        ))
    }

    /// The same for a client without a device.
    ///
    /// # Errors
    ///
    /// Why it stands for nobody.
    async fn local(
        &self,
        claims: &Claims,
        circumstances: Circumstances,
        profile: &Profile,
    ) -> Result<Identity, Unidentified> {
        let device_less = self.policy.device_less(&claims.client_id);
        identify::stands_for_host(claims, circumstances, self.auth, device_less)?;
        let host = self.host.id().await.map_err(|error| unreadable(&error))?;
        let record = match host {
            Some(id) => self.record(&id).await?,
            None => None,
        };
        match record.filter(|record| record.is_operator()) {
            Some(record) if profile.takes_role_from(&record) => Err(Unidentified::Revoked),
            Some(record) => Ok(Identity::HostDevice(record)),
            None if self.facts.auto_approve_local.unwrap_or(true) => Ok(Identity::FreshLocal),
            None => Err(Unidentified::NothingSilent),
        }
    }

    async fn record(&self, id: &DeviceId) -> Result<Option<Arc<DeviceRecord>>, Unidentified> {
        match timeout(LOOKUP_PATIENCE, self.resolver.resolve(id)).await {
            Ok(record) => record.map_err(|error| unreadable(&error)),
            Err(_) => {
                debug!("the pairing store does not answer");
                Err(Unidentified::StoreUnreadable)
            }
        }
    }
}

/// As strict as the gateway at hand: ±120 s from 2026.2.26, ±600 s before (run on every version).
const fn proof_rules(profile: &Profile) -> ProofRules {
    ProofRules {
        skew_ms: if profile.early { 600_000 } else { 120_000 },
        allow_v1: profile.early,
        allow_v3: !profile.early,
    }
}

/// How long a session waits for the store, which may be on a network; the gateway itself waits three seconds at the least
/// for a handshake.
pub(super) const LOOKUP_PATIENCE: Duration = Duration::from_secs(2);

fn unreadable(error: &StoreError) -> Unidentified {
    debug!("{error}");
    Unidentified::StoreUnreadable
}
