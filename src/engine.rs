//! Everything that a decision needs, shared by all sessions.

mod host;
mod observed;
mod standing;
mod who;

use std::borrow::Cow;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use serde_json::json;
use tokio::sync::watch;
use tracing::{debug, info};

use crate::approval;
use crate::audit::Audit;
use crate::breaker::Breaker;
use crate::clock;
use crate::config::{Mode, Policy};
use crate::control::{Control, OwnRecord, Standing};
use crate::decide::{self, Case, Decision, Pass, Step};
use crate::delegate::Delegate;
use crate::delegation::Delegations;
use crate::device::DeviceId;
use crate::diagnosis::newcomers::Newcomers;
use crate::explain::{CaseTrace, Taken, Traces};
use crate::gateway::{GatewayAuth, GatewayFacts};
use crate::handshake::message::{Claims, Connect, Refusal};
use crate::identity::Resolver;
use crate::identity::identify::{Circumstances, Identity};
use crate::invocation::Invocation;
use crate::profile::Lesson;
use crate::rewrite::SharedSecret;
use crate::scope::{self, ScopeSet};
use crate::telemetry::GatewayTelemetry;

pub use host::HostDevice;
pub use observed::{Observed, Would};
pub use standing::EntitledStill;
pub use who::{Moment, Who};

/// What every session shares.
#[derive(Debug)]
pub struct Engine {
    /// On, observing or off.
    pub mode: Arc<ModeSwitch>,
    /// What a reload may change.
    pub rules: ArcSwap<Rules>,
    /// Where approvals are written down.
    pub audit: Audit,
    /// The cached lookup of device records.
    pub resolver: Resolver,
    /// The device of this host's own CLI.
    pub host: HostDevice,
    /// The shim's own device.
    pub delegate: Arc<Delegate>,
    /// The shim's own session.
    pub control: Control,
    /// The sessions that run in the delegate's name.
    pub delegations: Arc<Delegations>,
    /// Where the ways to decisions are kept, if anybody wants them.
    pub traces: Option<Traces>,
    /// The new devices of late.
    pub newcomers: Mutex<Newcomers>,
    /// What the gateway refused, and would again.
    pub breaker: Breaker,
    /// What is known of the work done.
    pub telemetry: GatewayTelemetry,
}

/// What holds for a session, and may be another for the next one.
#[derive(Clone, Debug)]
pub struct Rules {
    /// What the operator allows.
    pub policy: Policy,
    /// What the gateway asks of everyone.
    pub auth: GatewayAuth,
    /// What the gateway's own files say.
    pub facts: GatewayFacts,
    /// How commands are given that mean this shim and gateway.
    pub invocation: Invocation,
}

/// The mode, switched while sessions run.
#[derive(Debug)]
pub struct ModeSwitch {
    mode: watch::Sender<Mode>,
    observed: Observed,
}

impl ModeSwitch {
    /// Starts in this mode.
    #[must_use]
    pub fn new(mode: Mode) -> Self {
        Self {
            mode: watch::Sender::new(mode),
            observed: Observed::default(),
        }
    }

    /// The mode for the next handshake.
    #[must_use]
    pub fn get(&self) -> Mode {
        *self.mode.borrow()
    }

    /// Switches.
    pub fn set(&self, mode: Mode) {
        self.observed.begin();
        self.mode.send_replace(mode);
    }

    /// Follows the mode.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<Mode> {
        self.mode.subscribe()
    }

    /// What was seen since the last switch, while it was only observing.
    #[must_use]
    pub const fn observed(&self) -> &Observed {
        &self.observed
    }
}

/// What came out of looking at a `connect` request.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// Whose session it is.
    pub identity: Identity,
    /// What becomes of it.
    pub decision: Decision,
    /// How the decision came about, where that is kept.
    pub taken: Option<Box<Taken>>,
}

/// Where a session comes from, and the cap that came with it.
#[derive(Clone, Debug)]
pub struct Visit {
    /// Where it comes from.
    pub circumstances: Circumstances,
    /// The user that a trusted proxy names.
    pub user: Option<String>,
    /// The scopes that `x-openclaw-scopes` allows.
    pub cap: Option<ScopeSet>,
    /// The page that a browser came from, as it says.
    pub origin: Option<String>,
    /// The host that was asked for.
    pub host: Option<String>,
}

impl Engine {
    /// What holds now. Whoever asks twice may get two answers.
    #[must_use]
    pub fn rules(&self) -> Arc<Rules> {
        self.rules.load_full()
    }

    /// Finds out whose session it is and decides.
    pub async fn judge(&self, connect: &Connect, nonce: Option<&str>, visit: &Visit) -> Judgement {
        let identity = self.identify(&connect.claims, nonce, visit).await;
        let (mut decision, mut taken) =
            self.decide(&connect.claims, &identity, visit, &self.control.standing());
        if matches!(decision, Decision::Pass(Pass::NoDelegate(_))) {
            let standing = self.control.settled(START_PATIENCE).await;
            (decision, taken) = self.decide(&connect.claims, &identity, visit, &standing);
        }
        Judgement {
            identity,
            decision,
            taken,
        }
    }

    /// Decides again, after the gateway refused or granted less.
    #[must_use]
    pub fn judge_again(&self, claims: &Claims, identity: &Identity, visit: &Visit) -> Judgement {
        let (standing, rules) = (self.control.standing(), self.rules());
        let case = case(claims, identity, visit, &standing, &rules.policy);
        let (decision, taken) = if self.leaves_trace() {
            let mut steps = Vec::new();
            let decision = decide::decide_again_traced(case, &mut steps);
            (decision, Some(taken(case, visit, steps)))
        } else {
            (decide::decide_again(case), None)
        };
        Judgement {
            identity: identity.clone(),
            decision,
            taken,
        }
    }

    /// The request as the delegate makes it: for as much of what is asked for as the session may hold.
    #[must_use]
    pub fn narrowed<'a>(
        &self,
        connect: &'a Connect,
        identity: &Identity,
        visit: &Visit,
    ) -> Cow<'a, Connect> {
        let (standing, rules) = (self.control.standing(), self.rules());
        let case = case(&connect.claims, identity, visit, &standing, &rules.policy);
        let granted = decide::granted(case);
        if granted.names_all(&connect.claims.requested()) {
            return Cow::Borrowed(connect);
        }
        let mut scopes = connect.claims.scopes.clone();
        scopes.retain(|scope| granted.names(scope));
        Cow::Owned(connect.for_scopes(scopes))
    }

    fn decide(
        &self,
        claims: &Claims,
        identity: &Identity,
        visit: &Visit,
        standing: &Standing,
    ) -> (Decision, Option<Box<Taken>>) {
        let rules = self.rules();
        let case = case(claims, identity, visit, standing, &rules.policy);
        if !self.leaves_trace() {
            return (decide::decide(case), None);
        }
        let mut steps = Vec::new();
        let decision = decide::decide_traced(case, &mut steps);
        (decision, Some(taken(case, visit, steps)))
    }

    /// Whether the next decision is to be explained.
    fn leaves_trace(&self) -> bool {
        self.traces.as_ref().is_some_and(Traces::take_room)
    }

    async fn identify(&self, claims: &Claims, nonce: Option<&str>, visit: &Visit) -> Identity {
        let rules = self.rules();
        let who = Who {
            resolver: &self.resolver,
            host: &self.host,
            policy: &rules.policy,
            auth: &rules.auth,
            facts: &rules.facts,
        };
        let moment = Moment {
            nonce,
            now_ms: clock::now_ms(),
        };
        let profile = self.control.standing().profile;
        who.identify(claims, moment, &profile, visit).await
    }

    /// The secret to send instead of a device token, which is of no use to the delegate.
    #[must_use]
    pub fn replacement_auth(&self, identity: &Identity) -> Option<SharedSecret> {
        if !identity.is_by_device_token() {
            return None;
        }
        shared_secret(&self.rules().auth)
    }

    /// What one session found out the hard way, the next need not: the gateway refused it, or cleared its scopes.
    pub fn learn(&self, refusal: Option<&Refusal>, claims: &Claims) {
        let lesson = match refusal {
            None => Lesson::ClearsDeviceLess(claims.client_id.clone(), claims.client_mode.clone()),
            Some(refusal)
                if refusal.wants_pairing()
                    && refusal.reason.as_deref() != Some("metadata-upgrade") =>
            {
                Lesson::ComparesLiterally
            }
            Some(_) => return,
        };
        self.control.learn(lesson);
    }

    /// Takes back the pairing request that a refused handshake left with the gateway, when the shim has healed it.
    ///
    /// Only a request of this device for nothing but what it may hold anyway, as an operator alone; anything else is for a
    /// human to see.
    pub async fn withdraw(&self, request_id: &str, device: &DeviceId, entitled: &ScopeSet) {
        let Ok(listing) = approval::look(&mut &self.control).await else {
            return;
        };
        let needless = listing.request(request_id).is_some_and(|request| {
            request.device_id == *device
                && request.is_operator()
                && entitled.implies_all(&request.scopes)
        });
        if needless {
            let own = json!({"requestId": request_id});
            let rejected = self.control.call("device.pair.reject", own).await;
            debug!(
                request = request_id,
                ok = rejected.is_ok(),
                "took back a needless pairing request"
            );
        }
    }

    /// Holds every delegated session, and the delegate itself, against the current records: pairing has changed.
    pub async fn review(&self) {
        for (device, reason) in self.delegations.review().await {
            let device = device
                .as_ref()
                .map_or_else(|| "none".to_owned(), DeviceId::short);
            info!(device, "closed a delegated session: {reason}");
        }
        self.review_delegate().await;
    }

    /// Notices when the delegate's record is removed or narrowed, and when it appears.
    ///
    /// Gateways up to 2026.3.24 do not close the session of a removed device; and a rewritten session that comes
    /// before the removal is noticed is paired silently, with nothing but its own scopes.
    async fn review_delegate(&self) {
        let Ok(record) = self.resolver.resolve(&self.delegate.device_id()).await else {
            return;
        };
        let every = scope::ALL.into_iter().collect();
        let now = match record {
            None => OwnRecord::Absent,
            Some(record) if record.approved_scopes.names_all(&every) => OwnRecord::Whole,
            Some(_) => OwnRecord::Narrow,
        };
        let before = self.control.saw_own_record(now);
        match (before, now) {
            (OwnRecord::Whole, OwnRecord::Whole) => {}
            (OwnRecord::Whole, _) => self.control.delegate_lost(),
            (_, OwnRecord::Whole) => self.control.nudge(),
            (_, _) => {}
        }
    }
}

fn case<'a>(
    claims: &'a Claims,
    identity: &'a Identity,
    visit: &'a Visit,
    standing: &'a Standing,
    policy: &'a Policy,
) -> Case<'a> {
    Case {
        claims,
        identity,
        profile: &standing.profile,
        policy,
        cap: visit.cap.as_ref(),
        delegate: standing.delegate_scopes.as_deref(),
    }
}

fn taken(case: Case<'_>, visit: &Visit, steps: Vec<Step>) -> Box<Taken> {
    Box::new(Taken::new(CaseTrace::new(case, visit), steps))
}

/// The secret that everyone shares, where the shim knows it; in the trusted-proxy mode the one of clients that come
/// past the proxy.
#[must_use]
pub fn shared_secret(auth: &GatewayAuth) -> Option<SharedSecret> {
    match auth {
        GatewayAuth::Token(token) => Some(SharedSecret::Token(token.clone())),
        GatewayAuth::Password(password) => Some(SharedSecret::Password(password.clone())),
        GatewayAuth::TrustedProxy { password, .. } => password.clone().map(SharedSecret::Password),
        GatewayAuth::None | GatewayAuth::Unknown => None,
    }
}

/// How long a handshake waits for the shim's own first session; a client waits three seconds at the least.
const START_PATIENCE: Duration = Duration::from_millis(1500);
