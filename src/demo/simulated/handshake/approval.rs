//! The last part of a handshake with a device: is it paired, and for what it asks?

use serde_json::json;

use super::super::auth::Method;
use super::super::claims::Device;
use super::super::pairing::{Approval, Approver};
use super::super::profile::Profile;
use super::super::proof;
use super::super::records::{Paired, Pending};
use super::super::refusal::{PairingReason, Refusal};
use super::super::scopes;
use super::{Event, Run, Stop};

impl Run<'_, '_> {
    /// Compares the device with its record, and asks for approval where they differ.
    pub(super) fn check_pairing(
        &mut self,
        device: &Device,
        method: Method,
        shared_ok: bool,
    ) -> Result<(), Stop> {
        let profile = self.profile();
        let own_backend = self.is_own_backend(Some(method), shared_ok);
        if own_backend && profile == Profile::Clearing {
            return Ok(());
        }
        let paired = self.state.paired.get(&device.id).cloned();
        let Some(paired) = paired.filter(|paired| same_key(&paired.public_key, &device.public_key))
        else {
            if own_backend {
                return Ok(());
            }
            return self.require_pairing(PairingReason::NotPaired, device, method, shared_ok);
        };
        if !(own_backend && profile == Profile::Latest) {
            for reason in self.upgrades(&paired) {
                self.require_pairing(reason, device, method, shared_ok)?;
            }
        }
        self.touch(&device.id);
        Ok(())
    }

    /// What this connect asks for beyond the record, in the order the gateway notices.
    fn upgrades(&self, paired: &Paired) -> Vec<PairingReason> {
        let (profile, claims) = (self.profile(), self.claims());
        let pinned = |recorded: &Option<String>, claimed: &Option<String>| {
            let recorded = proof::metadata(recorded.as_deref());
            !recorded.is_empty() && recorded != proof::metadata(claimed.as_deref())
        };
        let mut out = Vec::new();
        if profile != Profile::Literal
            && (pinned(&paired.platform, &claims.platform)
                || pinned(&paired.device_family, &claims.device_family))
        {
            out.push(PairingReason::Metadata);
        }
        if !paired.effective_roles(profile).contains(&claims.role) {
            out.push(PairingReason::Role);
        }
        if !scopes::allow(
            profile,
            &claims.role,
            &claims.scopes,
            paired.access_scopes(profile),
        ) {
            out.push(PairingReason::Scope);
        }
        out
    }

    /// Files a request and, if it is silent, answers it at once; otherwise the handshake ends here.
    fn require_pairing(
        &mut self,
        reason: PairingReason,
        device: &Device,
        method: Method,
        shared_ok: bool,
    ) -> Result<(), Stop> {
        let (profile, now) = (self.profile(), self.attempt.now_ms);
        let existing = self.state.paired.get(&device.id).cloned();
        let silent = self.is_silent(reason, existing.is_some(), method, shared_ok);
        let filed = self
            .state
            .request(profile, self.request(device, silent), now)?;
        let request = filed.request;
        if profile == Profile::Latest {
            for old in &filed.superseded {
                self.events.push(resolved(old, "rejected", now));
            }
        }
        if request.silent {
            let mut held = self.claims().scopes.clone();
            if profile == Profile::Latest
                && let Some(existing) = &existing
            {
                held.extend_from_slice(existing.baseline());
            }
            let approver = Approver {
                scopes: Some(&held),
                via: "silent",
            };
            match self
                .state
                .approve(profile, &request.request_id, &approver, now)?
            {
                Approval::Approved(_) => {
                    self.events.push(resolved(&request, "approved", now));
                    if profile == Profile::Latest {
                        self.touch(&device.id);
                        self.state
                            .prune_silent_siblings(&device.id, self.attempt.connected, now);
                    }
                    return Ok(());
                }
                Approval::Unknown | Approval::Forbidden(_) => self.events.push(requested(&request)),
            }
        } else if filed.created {
            self.events.push(requested(&request));
        }
        let known = existing.filter(|paired| same_key(&paired.public_key, &device.public_key));
        Err(Refusal::pairing(profile, reason, &request, self.claims(), known.as_ref()).into())
    }

    fn request(&self, device: &Device, silent: bool) -> Pending {
        let claims = self.claims();
        Pending {
            device_id: device.id.clone(),
            public_key: device.public_key.clone(),
            display_name: claims.display_name.clone(),
            platform: claims.platform.clone(),
            device_family: claims
                .device_family
                .clone()
                .filter(|_| self.profile() != Profile::Literal),
            client_id: Some(claims.client_id.clone()),
            client_mode: Some(claims.client_mode.clone()),
            role: Some(claims.role.clone()),
            roles: Some(vec![claims.role.clone()]),
            scopes: Some(claims.scopes.clone()),
            remote_ip: self.attempt.ingress.reported_client(),
            silent,
            ..Pending::default()
        }
    }

    fn is_silent(
        &self,
        reason: PairingReason,
        existing: bool,
        method: Method,
        shared_ok: bool,
    ) -> bool {
        use PairingReason::{Metadata, NotPaired, Role, Scope};
        let (ingress, profile) = (self.attempt.ingress, self.profile());
        let secret = shared_ok && method.is_shared();
        let local = match profile {
            Profile::Literal | Profile::Clearing => ingress.direct_local,
            _ => ingress.direct_local || ingress.shared_secret_local(secret),
        };
        let browser = self.is_control_ui() || self.claims().is_webchat();
        let reason_allows = match profile {
            Profile::Literal => return local && reason == NotPaired,
            Profile::Clearing => matches!(reason, NotPaired | Scope),
            Profile::Pending => matches!(reason, NotPaired | Role),
            Profile::Latest => {
                self.attempt.policy.auto_approve_local
                    && !(existing && self.claims().role != scopes::OPERATOR)
                    && match reason {
                        Metadata => false,
                        Scope => method != Method::DeviceToken,
                        NotPaired | Role => true,
                    }
            }
        };
        local && reason_allows && (ingress.origin.is_none() || browser)
    }

    /// What every connect of a paired device writes into its record.
    fn touch(&mut self, device_id: &str) {
        let (profile, now) = (self.profile(), self.attempt.now_ms);
        let claims = self.attempt.claims;
        let Some(record) = self.state.paired.get_mut(device_id) else {
            return;
        };
        record.display_name.clone_from(&claims.display_name);
        record.remote_ip = self.attempt.ingress.reported_client();
        if profile == Profile::Latest {
            record.last_seen_at_ms = Some(now);
            record.last_seen_reason = Some("connect".to_owned());
            return;
        }
        record.client_id = Some(claims.client_id.clone());
        record.client_mode = Some(claims.client_mode.clone());
        if profile == Profile::Pending {
            return;
        }
        if profile == Profile::Literal {
            record.platform.clone_from(&claims.platform);
        }
        let roles = record.approved_roles();
        record.roles = Some(scopes::merge([
            roles.as_slice(),
            std::slice::from_ref(&claims.role),
        ]));
        record.role = Some(claims.role.clone());
        let known = record.scopes.as_deref().unwrap_or_default();
        record.scopes = Some(scopes::merge([known, claims.scopes.as_slice()]));
    }
}

fn same_key(recorded: &str, claimed: &str) -> bool {
    recorded == claimed
        || proof::decode(recorded).is_some_and(|key| Some(key) == proof::decode(claimed))
}

/// `device.pair.requested`: the request as it is stored.
fn requested(request: &Pending) -> Event {
    let payload = serde_json::to_value(request).unwrap_or_default();
    Event {
        name: "device.pair.requested",
        payload,
    }
}

/// `device.pair.resolved`.
pub(in super::super) fn resolved(request: &Pending, decision: &str, now: i64) -> Event {
    let payload = json!({
        "requestId": request.request_id,
        "deviceId": request.device_id,
        "decision": decision,
        "ts": now,
    });
    Event {
        name: "device.pair.resolved",
        payload,
    }
}
