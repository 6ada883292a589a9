//! What becomes of a `connect` request: the gateway's own order of checks, version by version.

mod approval;

use std::io;

use serde_json::{Value, json};

pub(super) use approval::resolved;

use super::auth::{self, Method, Mode, Reason};
use super::claims::{Claims, Device};
use super::locality::Ingress;
use super::profile::Profile;
use super::proof;
use super::records::{GENERATION, State, Token, TokenFault};
use super::refusal::Refusal;
use super::scopes;

/// The settings of the gateway that decisions depend on.
#[derive(Clone, Debug)]
pub(super) struct Policy {
    pub(super) profile: Profile,
    pub(super) mode: Mode,
    pub(super) allowed_origins: Vec<String>,
    pub(super) auto_approve_local: bool,
    pub(super) announced: Option<String>,
}

/// One `connect` request and where it came from.
pub(super) struct Attempt<'a> {
    pub(super) policy: &'a Policy,
    pub(super) ingress: &'a Ingress,
    pub(super) claims: &'a Claims,
    pub(super) nonce: &'a str,
    /// The upgrade request's `x-openclaw-scopes`.
    pub(super) scope_cap: Option<&'a str>,
    /// Devices with an open session: silent pairing does not remove those.
    pub(super) connected: &'a [String],
    pub(super) now_ms: i64,
}

/// A session that was let in.
#[derive(Clone, Debug)]
pub(super) struct Admission {
    pub(super) role: String,
    pub(super) scopes: Vec<String>,
    pub(super) method: Method,
    pub(super) device_id: Option<String>,
    /// What `hello-ok` says in `auth`; absent without a device up to 2026.3.
    pub(super) hello_auth: Option<Value>,
}

/// Something operators with `operator.pairing` are told.
pub(super) struct Event {
    pub(super) name: &'static str,
    pub(super) payload: Value,
}

/// The result of an attempt.
pub(super) struct Verdict {
    pub(super) outcome: Result<Admission, Refusal>,
    pub(super) events: Vec<Event>,
}

impl Attempt<'_> {
    /// Decides. `state` is changed as the store would be: requests, approvals, tokens, last use.
    pub(super) fn decide(&self, state: &mut State) -> io::Result<Verdict> {
        let mut run = Run {
            attempt: self,
            state,
            events: Vec::new(),
        };
        let outcome = match run.admit() {
            Ok(admission) => Ok(admission),
            Err(Stop::Refused(refusal)) => Err(*refusal),
            Err(Stop::Failed(error)) => return Err(error),
        };
        let events = run.events;
        Ok(Verdict { outcome, events })
    }
}

enum Stop {
    Refused(Box<Refusal>),
    Failed(io::Error),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(Box::new(refusal))
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

struct Run<'a, 'b> {
    attempt: &'a Attempt<'a>,
    state: &'b mut State,
    events: Vec<Event>,
}

impl Run<'_, '_> {
    fn profile(&self) -> Profile {
        self.attempt.policy.profile
    }

    fn claims(&self) -> &Claims {
        self.attempt.claims
    }

    fn admit(&mut self) -> Result<Admission, Stop> {
        self.check_protocol()?;
        if !["operator", "node"].contains(&self.claims().role.as_str()) {
            return Err(Refusal::invalid("invalid role").into());
        }
        self.check_origin()?;
        let shared = auth::shared(self.profile(), &self.attempt.policy.mode, self.claims());
        let shared_ok = shared.is_ok_and(Method::is_shared);
        let Some(device) = self.claims().device.clone() else {
            return self.admit_without_device(shared, shared_ok);
        };
        self.check_proof(&device)?;
        let method = self.authenticate(shared, &device)?;
        self.check_pairing(&device, method, shared_ok)?;
        self.admit_device(&device, method)
    }

    /// A client that offers a range with the gateway's version in it is accepted; 2026.9.6 lets
    /// probes and nodes come with version 3 only.
    fn check_protocol(&self) -> Result<(), Stop> {
        let (profile, claims) = (self.profile(), self.claims());
        let current = profile.protocol();
        let (min, max) = (claims.min_protocol, claims.max_protocol);
        let older = profile == Profile::Latest
            && max >= 3
            && ((claims.client_mode == "probe" && min <= current)
                || (claims.role == "node" && claims.client_mode == "node" && min <= 3));
        if (max >= current && min <= current) || older {
            return Ok(());
        }
        let details = match profile {
            Profile::Latest => json!({
                "code": "PROTOCOL_MISMATCH",
                "clientMinProtocol": min,
                "clientMaxProtocol": max,
                "expectedProtocol": current,
                "minimumProbeProtocol": 3,
            }),
            _ => json!({ "expectedProtocol": current }),
        };
        Err(Refusal::invalid("protocol mismatch")
            .with_details(Some(details))
            .closing(1002)
            .into())
    }

    /// 2026.2.19 looks at the origin of the Control UI and webchat only, later ones at any.
    fn check_origin(&self) -> Result<(), Stop> {
        let (profile, ingress) = (self.profile(), self.attempt.ingress);
        let browser =
            self.claims().client_id == "openclaw-control-ui" || self.claims().is_webchat();
        if !browser && (profile == Profile::Literal || ingress.origin.is_none()) {
            return Ok(());
        }
        match ingress.origin_fault(profile, &self.attempt.policy.allowed_origins) {
            None => Ok(()),
            Some(reason) => Err(Refusal::origin(profile, reason).into()),
        }
    }

    fn admit_without_device(
        &self,
        shared: Result<Method, Reason>,
        shared_ok: bool,
    ) -> Result<Admission, Stop> {
        let (profile, claims) = (self.profile(), self.claims());
        let direct_backend = self.is_own_backend(shared.ok(), shared_ok);
        if self.is_control_ui() && !(profile == Profile::Latest && direct_backend) {
            return Err(Refusal::control_ui_without_device(profile).into());
        }
        let skips = shared_ok && (profile == Profile::Literal || claims.role == scopes::OPERATOR);
        let method = match shared {
            Ok(method) if skips => method,
            Err(reason) if claims.token.is_some() || claims.password.is_some() => {
                return Err(self.unauthorized(reason).into());
            }
            _ => return Err(Refusal::device_required(profile).into()),
        };
        let keeps_scopes = match profile {
            Profile::Literal | Profile::Clearing => false,
            Profile::Pending => direct_backend,
            Profile::Latest => direct_backend || self.is_local_cli(shared_ok),
        };
        let scopes = if keeps_scopes {
            claims.scopes.clone()
        } else {
            Vec::new()
        };
        let scopes = self.cap(scopes);
        let hello_auth = self.hello_auth(method, &scopes, None);
        Ok(Admission {
            role: claims.role.clone(),
            scopes,
            method,
            device_id: None,
            hello_auth,
        })
    }

    fn check_proof(&self, device: &Device) -> Result<(), Stop> {
        let context = proof::Context {
            profile: self.profile(),
            nonce: self.attempt.nonce,
            now_ms: self.attempt.now_ms,
            nonce_required: self.profile() != Profile::Literal
                || !self.attempt.ingress.direct_local,
        };
        proof::verify(&context, self.claims(), device)
            .map_err(|fault| Refusal::proof(self.profile(), fault).into())
    }

    /// The shared secret, else the device's own token: explicit, or in the place of the shared one.
    fn authenticate(
        &mut self,
        shared: Result<Method, Reason>,
        device: &Device,
    ) -> Result<Method, Stop> {
        let mut reason = match shared {
            Ok(method) => return Ok(method),
            Err(reason) => reason,
        };
        let profile = self.profile();
        let claims = self.attempt.claims;
        if claims.bootstrap_token.is_some() {
            reason = Reason::BootstrapTokenInvalid;
        }
        let explicit = claims.device_token.is_some();
        if let Some(token) = claims.device_token.as_ref().or(claims.token.as_ref()) {
            let now = self.attempt.now_ms;
            let (role, scopes) = (&claims.role, &claims.scopes);
            match self
                .state
                .verify_token(profile, &device.id, token, role, scopes, now)
            {
                Ok(()) => return Ok(Method::DeviceToken),
                Err(TokenFault::Scopes) if profile == Profile::Latest => {
                    reason = Reason::ScopeMismatch
                }
                Err(_) if explicit || profile == Profile::Literal => {
                    reason = Reason::DeviceTokenMismatch
                }
                Err(_) => {}
            }
        }
        Err(self.unauthorized(reason).into())
    }

    fn admit_device(&mut self, device: &Device, method: Method) -> Result<Admission, Stop> {
        let (profile, now) = (self.profile(), self.attempt.now_ms);
        let claims = self.attempt.claims;
        let issuer = self.issuer(device, method);
        let token = self.state.ensure_token(
            profile,
            &device.id,
            &claims.role,
            &claims.scopes,
            issuer,
            now,
        )?;
        let scopes = self.cap(claims.scopes.clone());
        let hello_auth = self.hello_auth(method, &scopes, token.as_ref());
        let device_id = Some(device.id.clone());
        Ok(Admission {
            role: claims.role.clone(),
            scopes,
            method,
            device_id,
            hello_auth,
        })
    }

    /// 2026.9.6: tokens handed to browsers die with the shared secret. A device used by a browser
    /// and by something else gets a new token at every switch.
    fn issuer(&self, device: &Device, method: Method) -> Option<Value> {
        if self.profile() != Profile::Latest {
            return None;
        }
        if method == Method::DeviceToken {
            let tokens = &self.state.paired.get(&device.id)?.tokens;
            return tokens.get(&self.claims().role)?.issuer.clone();
        }
        let browser =
            self.claims().client_id == "openclaw-control-ui" || self.claims().is_webchat();
        (browser && method.is_shared())
            .then(|| json!({ "kind": "shared-gateway-auth", "generation": GENERATION }))
    }

    /// `hello-ok.auth`. Up to 2026.7 its scopes are those of the token, not of the session.
    fn hello_auth(
        &self,
        method: Method,
        scopes: &[String],
        token: Option<&Token>,
    ) -> Option<Value> {
        let role = &self.claims().role;
        let mut out = match (self.profile(), token) {
            (Profile::Literal | Profile::Clearing, token) => {
                let token = token?;
                return Some(json!({
                    "deviceToken": token.token,
                    "role": token.role,
                    "scopes": token.scopes,
                    "issuedAtMs": token.issued_at_ms(),
                }));
            }
            (Profile::Pending, token) => {
                json!({ "role": role, "scopes": token.map_or(scopes, |token| &token.scopes) })
            }
            (Profile::Latest, _) => {
                let mut out = json!({ "method": method.name(), "role": role, "scopes": scopes });
                if role == scopes::OPERATOR {
                    out["recoveryScope"] = recovery_scope(token).into();
                    if token.is_some() {
                        out["recoveryMigrationAllowed"] = true.into();
                    }
                }
                out
            }
        };
        if let Some(token) = token {
            out["deviceToken"] = token.token.clone().into();
            out["issuedAtMs"] = token.issued_at_ms().into();
        }
        Some(out)
    }

    /// 2026.8 and later: `x-openclaw-scopes` narrows every WebSocket session.
    fn cap(&self, mut scopes: Vec<String>) -> Vec<String> {
        if self.profile() == Profile::Latest
            && let Some(cap) = self.attempt.scope_cap
        {
            scopes.retain(|scope| cap.split(',').any(|allowed| allowed.trim() == scope));
        }
        scopes
    }

    fn unauthorized(&self, reason: Reason) -> Refusal {
        let (profile, claims) = (self.profile(), self.claims());
        let message = reason.message(profile, claims, self.attempt.ingress.direct_local);
        Refusal::invalid(message).with_details(reason.details(profile, claims))
    }

    /// From 2026.4.21 the terminal UI is treated as the Control UI.
    fn is_control_ui(&self) -> bool {
        let id = self.claims().client_id.as_str();
        id == "openclaw-control-ui" || (self.profile() >= Profile::Pending && id == "openclaw-tui")
    }

    /// The gateway's own calls to itself: local, no browser, trusted without pairing from 2026.3.13.
    fn is_own_backend(&self, method: Option<Method>, shared_ok: bool) -> bool {
        let (profile, ingress) = (self.profile(), self.attempt.ingress);
        let Some(method) = method else { return false };
        let trusted = match method {
            Method::Token | Method::Password => shared_ok,
            Method::DeviceToken => profile >= Profile::Pending,
            Method::None => profile == Profile::Latest,
        };
        profile != Profile::Literal
            && self.claims().is("gateway-client", "backend")
            && ingress.direct_local
            && ingress.origin.is_none()
            && trusted
    }

    /// 2026.7.1 and later: the CLI on the gateway's host keeps its scopes without a device.
    fn is_local_cli(&self, shared_ok: bool) -> bool {
        let ingress = self.attempt.ingress;
        self.claims().is("cli", "cli")
            && ingress.direct_local
            && ingress.origin.is_none()
            && shared_ok
    }
}

fn recovery_scope(token: Option<&Token>) -> String {
    proof::device_id(token.map_or("shared", |token| &token.token).as_bytes())[..43].to_owned()
}
