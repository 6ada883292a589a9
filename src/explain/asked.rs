//! Explains what nobody's session asked: a device and scopes, or a handshake that was saved.
//!
//! Everything is looked up where the running shim looks it up, and decided by the same code. The gateway need not run.

use std::path::Path;
use std::sync::Arc;

use thiserror::Error;

use super::directly::directly;
use super::{CaseTrace, Explanation, Kept, SessionTrace};
use crate::clock;
use crate::config::{Config, StoreKind};
use crate::decide::{self, Case};
use crate::delegate::Delegate;
use crate::device::{DeviceRecord, OperatorToken};
use crate::engine::{HostDevice, Moment, Visit, Who};
use crate::gateway::GatewayAuth;
use crate::handshake::message::{AuthClaims, Claims, Connect, DeviceProof, OPERATOR};
use crate::identity::proof::PayloadVersion;
use crate::identity::store::{
    AutoStore, DeviceStore, JsonStore, Snapshot, SqliteStore, StoreError,
};
use crate::identity::{CacheSettings, Circumstances, Identity, Resolver};
use crate::profile::{Evidence, Profile, Version};
use crate::scope::ScopeSet;

/// Why there is nothing to explain.
#[derive(Debug, Error)]
pub enum AskError {
    /// The gateway's records cannot be read from here.
    #[error(
        "the gateway's pairing records cannot be read from here; name its state directory: gateway.state, --gateway-state"
    )]
    NoState,
    /// They are there and cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No such device.
    #[error("no paired device has an id that begins with {prefix:?}; there {are}", are = there_are(.known))]
    NoDevice {
        /// What was asked for.
        prefix: String,
        /// The devices that there are.
        known: Vec<String>,
    },
    /// More than one such device.
    #[error("more than one device has an id that begins with {prefix:?}: {}", .known.join(", "))]
    Ambiguous {
        /// What was asked for.
        prefix: String,
        /// The devices that it could mean.
        known: Vec<String>,
    },
    /// Not a handshake.
    #[error("neither a connect request nor the trace of a session: {0}")]
    NotAHandshake(String),
    /// Not a version.
    #[error("{0:?} is no version; write it as 2026.3.13")]
    NotAVersion(String),
}

fn there_are(devices: &[String]) -> String {
    match devices {
        [] => "is none at all".to_owned(),
        devices => format!("are: {}", devices.join(", ")),
    }
}

/// A client, as far as the question describes it.
#[derive(Clone, Debug, Default)]
pub struct Client {
    /// The beginning of its device's id; `None` for a client without a device.
    pub device: Option<String>,
    /// What it asks for.
    pub scopes: Vec<String>,
    /// `client.id` and `client.mode`; those of its record where nothing was said.
    pub client: Option<(String, String)>,
    /// `client.platform`; the pinned one where nothing was said.
    pub platform: Option<String>,
    /// Whether it sends its own device token instead of the shared secret.
    pub device_token: bool,
}

/// Where a client comes from, as far as the question says.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// Not from this machine, or not directly.
    pub remote: bool,
    /// The web page that it comes from.
    pub origin: Option<String>,
    /// The user that a trusted proxy names.
    pub user: Option<String>,
    /// What an `x-openclaw-scopes` header says.
    pub cap: Option<ScopeSet>,
}

impl Place {
    fn visit(&self) -> Visit {
        Visit {
            circumstances: Circumstances {
                direct_local: !self.remote && self.user.is_none(),
                has_origin: self.origin.is_some(),
            },
            user: self.user.clone(),
            cap: self.cap.clone(),
            origin: self.origin.clone(),
            host: None,
        }
    }
}

/// What was saved of a handshake.
#[derive(Debug)]
pub enum Saved {
    /// The client's request.
    Request(Box<Connect>),
    /// What the shim kept of a session.
    Trace(Box<SessionTrace>),
}

impl Saved {
    /// Reads either.
    ///
    /// # Errors
    ///
    /// When it is neither. What it holds instead is not repeated: it may be a secret.
    pub fn parse(text: &[u8]) -> Result<Self, AskError> {
        match Connect::parse(text) {
            Ok(connect) => Ok(Self::Request(Box::new(connect))),
            Err(why) => serde_json::from_slice(text)
                .map(|trace| Self::Trace(Box::new(trace)))
                .map_err(|_| AskError::NotAHandshake(why.to_string())),
        }
    }
}

/// Everything that an answer is looked up in.
pub struct Asker<'a> {
    config: &'a Config,
    snapshot: Arc<Snapshot>,
    resolver: Resolver,
    host: HostDevice,
    profile: Profile,
    known_from: String,
    delegate: Option<ScopeSet>,
}

impl<'a> Asker<'a> {
    /// Looks at the gateway's files. `version` is the gateway's, where somebody says it.
    ///
    /// # Errors
    ///
    /// When its records cannot be read.
    pub async fn new(config: &'a Config, version: Option<&str>) -> Result<Self, AskError> {
        let (profile, known_from) = profile(config, version)?;
        let store = store(config, &profile)?;
        let snapshot = store.snapshot().await?;
        let delegate = Delegate::load(&config.data).ok().flatten();
        let own = delegate.and_then(|own| snapshot.devices.get(&own.device_id()).cloned());
        Ok(Self {
            config,
            snapshot,
            resolver: Resolver::new(store, CacheSettings::default()),
            host: HostDevice::new(config.gateway.state.clone()),
            profile,
            known_from,
            delegate: own.map(|record| record.approved_scopes.clone()),
        })
    }

    /// What would become of this client.
    ///
    /// # Errors
    ///
    /// When there is no such device, or the store fails meanwhile.
    pub async fn client(&self, client: &Client, place: &Place) -> Result<Explanation, AskError> {
        let record = match &client.device {
            Some(prefix) => Some(self.find(prefix)?),
            None => None,
        };
        let claims = self.claims(client, record.as_deref());
        let visit = place.visit();
        let identity = match (&record, &claims.device) {
            (Some(record), Some(device)) => self
                .who()
                .proven(
                    &claims,
                    device,
                    &record.device_id,
                    PayloadVersion::V2,
                    &self.profile,
                )
                .await
                .unwrap_or_else(Identity::Unknown),
            _ => self.identify(&claims, &visit).await,
        };
        let mut assumed = vec![match (&self.config.gateway.auth, client.device_token) {
            (_, true) => "that it sends its own device token".to_owned(),
            (GatewayAuth::Token(_) | GatewayAuth::Password(_), false) => {
                "that it sends the gateway's shared secret".to_owned()
            }
            (auth, false) => format!("that it sends no secret (the gateway's is: {auth})"),
        }];
        if record.is_some() {
            assumed.insert(0, "that the proof of its device holds".to_owned());
        }
        Ok(self.explain(&claims, &identity, &visit, assumed))
    }

    /// What would become of this request.
    pub async fn request(&self, connect: &Connect, place: &Place) -> Explanation {
        let visit = place.visit();
        let identity = self.identify(&connect.claims, &visit).await;
        let assumed = match &connect.claims.device {
            Some(_) => vec![
                "that it was signed just now, for the nonce of its own connection: a saved handshake cannot show that it is fresh"
                    .to_owned(),
            ],
            None => Vec::new(),
        };
        self.explain(&connect.claims, &identity, &visit, assumed)
    }

    /// The proof is held against the nonce that it carries and the time that it says.
    async fn identify(&self, claims: &Claims, visit: &Visit) -> Identity {
        let device = claims.device.as_ref();
        let moment = Moment {
            nonce: Some(
                device
                    .and_then(|device| device.nonce.as_deref())
                    .unwrap_or_default(),
            ),
            now_ms: device.map_or_else(clock::now_ms, |device| device.signed_at_ms),
        };
        self.who()
            .identify(claims, moment, &self.profile, visit)
            .await
    }

    fn who(&self) -> Who<'_> {
        Who {
            resolver: &self.resolver,
            host: &self.host,
            policy: &self.config.policy,
            auth: &self.config.gateway.auth,
            facts: &self.config.gateway.facts,
        }
    }

    fn explain(
        &self,
        claims: &Claims,
        identity: &Identity,
        visit: &Visit,
        assumed: Vec<String>,
    ) -> Explanation {
        let case = Case {
            claims,
            identity,
            profile: &self.profile,
            policy: &self.config.policy,
            cap: visit.cap.as_ref(),
            delegate: self.delegate.as_ref(),
        };
        let mut steps = Vec::new();
        let decision = decide::decide_traced(case, &mut steps);
        let mut trace = CaseTrace::new(case, visit);
        trace.gateway.known_from = Some(self.known_from.clone());
        let local = visit.circumstances.direct_local && !visit.circumstances.has_origin;
        Explanation {
            case: trace,
            assumed,
            steps,
            decision: decision.as_str().to_owned(),
            why: decision.to_string(),
            without_the_shim: directly(case, local),
        }
    }

    fn find(&self, prefix: &str) -> Result<Arc<DeviceRecord>, AskError> {
        let devices = &self.snapshot.devices;
        let wanted = prefix.to_ascii_lowercase();
        let mut found: Vec<_> = devices
            .values()
            .filter(|record| record.device_id.as_str().starts_with(&wanted))
            .cloned()
            .collect();
        let names = |records: &mut dyn Iterator<Item = &Arc<DeviceRecord>>| {
            let mut names: Vec<String> = records.map(|record| named(record)).collect();
            names.sort();
            names
        };
        match (found.pop(), found.as_slice()) {
            (Some(record), []) => Ok(record),
            (None, _) => Err(AskError::NoDevice {
                prefix: prefix.to_owned(),
                known: names(&mut devices.values()),
            }),
            (Some(last), others) => Err(AskError::Ambiguous {
                prefix: prefix.to_owned(),
                known: names(&mut others.iter().chain([&last])),
            }),
        }
    }

    fn claims(&self, client: &Client, record: Option<&DeviceRecord>) -> Claims {
        let of_record =
            |field: fn(&DeviceRecord) -> Option<&String>| record.and_then(field).cloned();
        let (id, mode) = client.client.clone().unwrap_or_else(|| {
            let id = of_record(|record| record.client_id.as_ref());
            let mode = of_record(|record| record.client_mode.as_ref());
            (
                id.unwrap_or_else(|| "cli".to_owned()),
                mode.unwrap_or_else(|| "cli".to_owned()),
            )
        });
        let platform = client
            .platform
            .clone()
            .or_else(|| of_record(|record| record.platform.as_ref()));
        Claims {
            role: OPERATOR.to_owned(),
            scopes: client.scopes.clone(),
            client_id: id,
            client_mode: mode,
            platform: platform.unwrap_or_else(|| std::env::consts::OS.to_owned()),
            device_family: of_record(|record| record.device_family.as_ref()),
            device: record.map(|record| DeviceProof {
                id: record.device_id.as_str().to_owned(),
                public_key: record.public_key.clone(),
                signature: String::new(),
                signed_at_ms: clock::now_ms(),
                nonce: None,
            }),
            auth: self.auth(client, record),
            ..Claims::default()
        }
    }

    fn auth(&self, client: &Client, record: Option<&DeviceRecord>) -> AuthClaims {
        let mut auth = AuthClaims::default();
        match (&self.config.gateway.auth, client.device_token) {
            (_, true) => {
                let token = record.map(|record| &record.operator_token);
                auth.device_token = Some(match token {
                    Some(OperatorToken::Live { token, .. }) => token.reveal().to_owned(),
                    _ => String::new(),
                });
            }
            (GatewayAuth::Token(token), false) => auth.token = Some(token.reveal().to_owned()),
            (GatewayAuth::Password(password), false) => {
                auth.password = Some(password.reveal().to_owned());
            }
            (_, false) => {}
        }
        auth
    }
}

fn named(record: &DeviceRecord) -> String {
    let client = record.client_id.as_deref().unwrap_or("?");
    let text = format!("{} ({client})", record.device_id.short());
    text.escape_debug().to_string()
}

fn store(config: &Config, profile: &Profile) -> Result<Arc<dyn DeviceStore>, AskError> {
    let state = config.gateway.state.as_ref().ok_or(AskError::NoState)?;
    match config.gateway.store {
        StoreKind::Auto => {
            let store = AutoStore::new(state);
            let version = profile.version.map(|version| version.to_string());
            store.set_gateway_version(version.as_deref());
            Ok(Arc::new(store))
        }
        StoreKind::Json => Ok(Arc::new(JsonStore::new(state))),
        StoreKind::Sqlite => Ok(Arc::new(SqliteStore::new(state))),
        StoreKind::Control => Err(AskError::NoState),
    }
}

/// How the gateway behaves, and who says so: the question, the last session that the shim saw, or the gateway's
/// configuration.
fn profile(config: &Config, version: Option<&str>) -> Result<(Profile, String), AskError> {
    if let Some(said) = version {
        let version = Version::parse(said).ok_or_else(|| AskError::NotAVersion(said.to_owned()))?;
        return Ok((
            Profile::of_version(version),
            "by --gateway-version".to_owned(),
        ));
    }
    if let Some(seen) = last_seen(&config.data) {
        let from = format!(
            "as session {} met it at {}",
            seen.session,
            clock::utc(seen.at_ms)
        );
        return Ok((seen.case.gateway.profile(), from));
    }
    let touched = config.gateway.facts.last_touched.as_deref();
    if let Some(version) = touched.and_then(Version::parse) {
        let from = "by the version that wrote openclaw.json last".to_owned();
        return Ok((Profile::of_version(version), from));
    }
    let from = "and nothing here tells it: give --gateway-version".to_owned();
    Ok((Profile::from_evidence(&Evidence::default()), from))
}

/// The last session that met a gateway which was known.
fn last_seen(data: &Path) -> Option<SessionTrace> {
    let kept = Kept::read(data).ok()?.traces;
    let mut known = kept.into_iter().rev();
    known.find(|trace| {
        let gateway = &trace.case.gateway;
        gateway.version.is_some() || gateway.early
    })
}
