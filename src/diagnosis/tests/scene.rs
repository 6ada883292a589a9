//! A refused session with everything about it, every detail of which can be turned.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::config::Policy;
use crate::decide::{Decision, Pass};
use crate::device::{DeviceRecord, OperatorToken};
use crate::diagnosis::{Case, Diagnosis, diagnose};
use crate::engine::Visit;
use crate::fixture;
use crate::gateway::{GatewayAuth, GatewayFacts};
use crate::handshake::message::{Answer, Challenge, Claims, DeviceProof};
use crate::identity::proof::PayloadVersion;
use crate::identity::{Circumstances, Credential, Identity, Unidentified};
use crate::invocation::Invocation;
use crate::profile::{Evidence, Profile};
use crate::scope::ScopeSet;
use crate::secret::Secret;

pub(super) const NOW_MS: i64 = 1_790_000_000_000;
pub(super) const DEVICE: &str = "1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f809";
pub(super) const SECRET: &str = "the-gateways-secret";
pub(super) const OWN_TOKEN: &str = "the-devices-own-token";
pub(super) const REQUEST: &str = "7b1f5c9e-2a61-4d0b-8c3e-9f60a1b2c3d4";

pub(super) struct Scene {
    pub(super) claims: Claims,
    pub(super) identity: Identity,
    pub(super) record: Option<Arc<DeviceRecord>>,
    pub(super) visit: Visit,
    pub(super) address: IpAddr,
    pub(super) profile: Profile,
    pub(super) auth: GatewayAuth,
    pub(super) facts: GatewayFacts,
    pub(super) gateway_ms: i64,
    pub(super) error: Value,
    pub(super) delegated: bool,
    pub(super) approver: bool,
    pub(super) policy: Policy,
    pub(super) invocation: Invocation,
    pub(super) waiting: Option<ScopeSet>,
    pub(super) newcomers: usize,
}

/// A local command line whose device is paired with `operator.read` and which sends the right shared token.
pub(super) fn scene(version: &str, error: Value) -> Scene {
    let early = version < "2026.2.22";
    let profile = Profile::from_evidence(&Evidence {
        version: Some(if early { "dev" } else { version }.to_owned()),
        has_server_host: early,
    });
    let mut claims = Claims {
        request_id: "c1".to_owned(),
        protocol: (Some(3), Some(3)),
        role: "operator".to_owned(),
        scopes: vec!["operator.admin".to_owned(), "operator.read".to_owned()],
        client_id: "cli".to_owned(),
        client_mode: "cli".to_owned(),
        client_version: Some(version.to_owned()),
        platform: "linux".to_owned(),
        device: Some(DeviceProof {
            id: DEVICE.to_owned(),
            public_key: "key".to_owned(),
            signature: "the-signature-of-it-all".to_owned(),
            signed_at_ms: NOW_MS,
            nonce: Some("the-nonce-of-this-socket".to_owned()),
        }),
        ..Claims::default()
    };
    claims.auth.token = Some(SECRET.to_owned());
    let scene = Scene {
        claims,
        identity: Identity::FreshLocal,
        record: None,
        visit: Visit {
            circumstances: Circumstances {
                direct_local: true,
                has_origin: false,
            },
            user: None,
            cap: None,
            origin: None,
            host: Some("127.0.0.1:18780".to_owned()),
        },
        address: "127.0.0.1".parse().unwrap(),
        profile,
        auth: GatewayAuth::Token(Secret::new(SECRET)),
        facts: GatewayFacts {
            state: Some(PathBuf::from("/home/me/.openclaw")),
            auth_from: "/home/me/.openclaw/openclaw.json: gateway.auth.token".to_owned(),
            allowed_origins: Some(vec!["https://chat.example".to_owned()]),
            ..GatewayFacts::default()
        },
        gateway_ms: NOW_MS,
        error,
        delegated: false,
        approver: true,
        policy: Policy::default(),
        invocation: Invocation::default(),
        waiting: None,
        newcomers: 1,
    };
    scene.paired(&["operator.read"], live(&["operator.read"]))
}

/// A live token of the device.
pub(super) fn live(scopes: &[&str]) -> OperatorToken {
    OperatorToken::Live {
        token: Secret::new(OWN_TOKEN),
        scopes: scopes.iter().copied().collect(),
    }
}

impl Scene {
    pub(super) fn paired(mut self, approved: &[&str], token: OperatorToken) -> Self {
        let record = Arc::new(DeviceRecord {
            platform: Some("linux".to_owned()),
            client_id: Some("cli".to_owned()),
            client_mode: Some("cli".to_owned()),
            operator_token: token,
            ..fixture::record(DEVICE, "key", approved)
        });
        self.record = Some(Arc::clone(&record));
        self.identity = Identity::Device {
            record,
            credential: Credential::Shared,
            payload: PayloadVersion::V2,
        };
        self
    }

    /// Nobody that the shim can vouch for.
    pub(super) fn unknown(mut self, why: Unidentified) -> Self {
        if !matches!(
            why,
            Unidentified::Credential | Unidentified::NotAnOperator | Unidentified::Revoked
        ) {
            self.record = None;
        }
        self.identity = Identity::Unknown(why);
        self
    }

    /// With the token of the device instead of the shared one.
    pub(super) fn by_device_token(mut self) -> Self {
        self.claims.auth.token = None;
        self.claims.auth.device_token = Some(OWN_TOKEN.to_owned());
        if let Identity::Device { credential, .. } = &mut self.identity {
            *credential = Credential::DeviceToken;
        }
        self
    }

    pub(super) fn afar(mut self) -> Self {
        self.address = "203.0.113.9".parse().unwrap();
        self.visit.circumstances.direct_local = false;
        self
    }

    pub(super) fn page(mut self, origin: &str) -> Self {
        self.claims.client_id = "openclaw-control-ui".to_owned();
        self.claims.client_mode = "webchat".to_owned();
        self.visit.origin = Some(origin.to_owned());
        self.visit.circumstances.has_origin = true;
        self.afar()
    }

    pub(super) fn without_device(mut self) -> Self {
        self.claims.device = None;
        self.unknown(Unidentified::NoDevice)
    }

    pub(super) fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    pub(super) fn diagnose(&self) -> Diagnosis {
        let message = json!({"type": "res", "id": "c1", "ok": false, "error": self.error});
        let Some(Answer::Refused { message, refusal }) =
            Answer::parse(message.to_string().as_bytes(), "c1")
        else {
            unreachable!("it is a refusal")
        };
        let challenge = Challenge {
            nonce: "the-nonce-of-this-socket".to_owned(),
            ts_ms: Some(self.gateway_ms),
        };
        diagnose(&Case {
            claims: &self.claims,
            identity: &self.identity,
            record: self.record.as_deref(),
            decision: &Decision::Pass(match self.approver {
                true => Pass::NotEntitled(ScopeSet::new()),
                false => Pass::NoDelegate(ScopeSet::new()),
            }),
            visit: &self.visit,
            address: self.address,
            profile: &self.profile,
            auth: &self.auth,
            facts: &self.facts,
            challenge: Some(&challenge),
            now_ms: NOW_MS,
            message: &message,
            refusal: &refusal,
            delegated: self.delegated,
            approver: self.approver,
            policy: &self.policy,
            invocation: &self.invocation,
            waiting: self.waiting.as_ref(),
            newcomers: self.newcomers,
        })
    }
}
