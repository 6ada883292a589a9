//! The control connection: the delegate's own session with the gateway.
//!
//! It pairs the delegate, learns which gateway this is, hears of pairing changes, and lets the shim call the
//! gateway's pairing methods. While it is gone the shim goes on working from the store.

mod once;
mod own_user;
mod removal;
mod session;
mod store;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use futures_util::FutureExt as _;
use serde_json::Value;
use thiserror::Error;
use tokio::sync::{Notify, broadcast, mpsc, oneshot, watch};
use tracing::{Instrument as _, debug, error, info, warn};

use crate::delegate::Delegate;
use crate::device::DeviceId;
use crate::dial::Dialer;
use crate::handshake::message::Refusal;
use crate::profile::{Lesson, Profile};
use crate::rewrite::SharedSecret;
use crate::scope::{self, ScopeSet};

pub use once::{Once, OnceError};
pub use own_user::OwnUser;
pub use removal::{Removal, remove};
use session::{Ended, OpenError, Session};
pub use store::ControlStore;

/// What the shim needs for its own session.
#[derive(Debug)]
pub struct Settings {
    /// How the gateway is reached.
    pub dialer: Arc<Dialer>,
    /// The shim's own device.
    pub delegate: Arc<Delegate>,
    /// The secret that the gateway asks for; `None` where it asks for none, or the shim does not know it.
    pub secret: Arc<ArcSwapOption<SharedSecret>>,
    /// Who the shim is to a gateway that takes users from a proxy.
    pub user: Option<OwnUser>,
}

/// Where the shim stands with the gateway.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// How the gateway behaves.
    pub profile: Arc<Profile>,
    /// What the delegate is approved for, name by name; `None` while it is not paired. It outlives the connection: a
    /// gateway that restarts still knows the delegate.
    pub delegate_scopes: Option<Arc<ScopeSet>>,
    /// The connection itself.
    pub link: Link,
}

impl Standing {
    /// Whether the delegate was taken out of use with `scope-shim unpair`: it does not pair again by itself.
    #[must_use]
    pub fn is_retired(&self) -> bool {
        self.link == Link::Retired
    }
}

/// The state of the control connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Link {
    /// The first attempt is under way.
    #[default]
    Starting,
    /// Open.
    Up,
    /// Lost or refused, with the reason; it is tried again.
    Down(String),
    /// None is wanted: the delegate is out of use, as `scope-shim unpair` leaves it.
    Retired,
    /// The gateway wants somebody to approve the delegate.
    AwaitingApproval {
        /// The pairing request.
        request_id: Option<String>,
    },
}

/// What the pairing store says of the delegate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OwnRecord {
    /// Nothing, or it was not looked at yet.
    #[default]
    Absent,
    /// That it is paired, but not for everything that the shim may need.
    Narrow,
    /// That it is paired for everything.
    Whole,
}

/// A handle on the control connection.
#[derive(Clone, Debug)]
pub struct Control {
    standing: watch::Receiver<Standing>,
    teach: watch::Sender<Standing>,
    pairing: watch::Receiver<u64>,
    resolved: broadcast::Sender<String>,
    calls: mpsc::Sender<Call>,
    nudge: Arc<Notify>,
    lost: Arc<Notify>,
    own_record: Arc<Mutex<OwnRecord>>,
    secret: Arc<ArcSwapOption<SharedSecret>>,
    refusals: watch::Receiver<u64>,
    retired: watch::Sender<bool>,
    settings: Arc<Settings>,
}

/// Whoever can call the gateway's methods: a running shim, or a command.
pub trait Calls: Send {
    /// Calls a method of the gateway and returns its payload.
    ///
    /// # Errors
    ///
    /// When there is no connection, or the gateway refuses or does not answer.
    fn call(
        &mut self,
        method: &str,
        params: Value,
    ) -> impl Future<Output = Result<Value, CallError>> + Send;
}

impl Calls for &Control {
    async fn call(&mut self, method: &str, params: Value) -> Result<Value, CallError> {
        Control::call(self, method, params).await
    }
}

/// One call of a gateway method.
#[derive(Debug)]
struct Call {
    method: String,
    params: Value,
    answer: oneshot::Sender<Result<Value, CallError>>,
}

/// Why a call of a gateway method failed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallError {
    /// The control connection is down.
    #[error("the shim has no session with the gateway at the moment")]
    NotConnected,
    /// The session ended because the gateway has removed its device.
    #[error("the gateway has removed the shim's own device")]
    DelegateRemoved,
    /// The gateway said no.
    #[error("the gateway answered {}: {}", .0.code, .0.message)]
    Refused(Refusal),
    /// The gateway did not answer.
    #[error("the gateway did not answer within {CALL_TIMEOUT:?}")]
    Timeout,
}

impl Control {
    /// Starts the control connection; its task runs until every handle is gone.
    #[must_use]
    pub fn start(settings: Settings) -> Self {
        let (standing, standing_seen) = watch::channel(Standing::default());
        let teach = standing.clone();
        let (pairing, pairing_seen) = watch::channel(0);
        let (resolved, _) = broadcast::channel(RESOLUTIONS_KEPT);
        let (calls, calls_taken) = mpsc::channel(CALLS_WAITING);
        let nudge = Arc::new(Notify::new());
        let lost = Arc::new(Notify::new());
        let own_record = Arc::default();
        let secret = Arc::clone(&settings.secret);
        let (refused, refusals) = watch::channel(0);
        let (retired, retired_seen) =
            watch::channel(settings.delegate.is_discarded() || settings.delegate.is_retired());
        let settings = Arc::new(settings);
        let keeper = Keeper {
            settings: Arc::clone(&settings),
            retired: retired_seen,
            standing,
            calls: calls_taken,
            nudge: Arc::clone(&nudge),
            lost: Arc::clone(&lost),
            own_record: Arc::clone(&own_record),
            pairing,
            resolved: resolved.clone(),
            refused,
            outgrown: None,
            announced: None,
        };
        tokio::spawn(keeper.run().in_current_span());
        Self {
            standing: standing_seen,
            teach,
            pairing: pairing_seen,
            resolved,
            calls,
            nudge,
            lost,
            own_record,
            secret,
            refusals,
            retired,
            settings,
        }
    }

    /// A handle on no connection at all: it stands where it is said to, and nobody answers a call.
    #[cfg(test)]
    pub(crate) fn standing_still(settings: Settings, standing: Standing) -> Self {
        let (teach, standing) = watch::channel(standing);
        Self {
            standing,
            teach,
            pairing: watch::channel(0).1,
            resolved: broadcast::channel(1).0,
            calls: mpsc::channel(1).0,
            nudge: Arc::default(),
            lost: Arc::default(),
            own_record: Arc::default(),
            secret: Arc::clone(&settings.secret),
            refusals: watch::channel(0).1,
            retired: watch::channel(false).0,
            settings: Arc::new(settings),
        }
    }

    /// Uses another secret from the next attempt on, which is made at once where the last one failed.
    pub fn set_secret(&self, secret: Option<SharedSecret>) {
        if self.secret.load().as_deref() != secret.as_ref() {
            self.secret.store(secret.map(Arc::new));
            self.nudge();
        }
    }

    /// Counts how often the gateway refused the shim itself for another reason than its pairing: most likely its
    /// secret.
    #[must_use]
    pub fn refusals(&self) -> watch::Receiver<u64> {
        self.refusals.clone()
    }

    /// Takes the delegate out of use: its session is closed, nothing is signed in its name, and it does not pair again
    /// before [`Self::resume`]. Whoever else has its key, another engine or another process, keeps to that, too. Returns
    /// when it is so here.
    pub async fn retire(&self) {
        if let Err(error) = self.settings.delegate.retire() {
            error!("{error}; another process of this shim could pair its device again");
        }
        self.retired.send_replace(true);
        let mut standing = self.standing.clone();
        let retired = standing.wait_for(Standing::is_retired);
        let _ = tokio::time::timeout(CALL_TIMEOUT, retired).await;
    }

    /// Lets a delegate that was retired pair again.
    pub fn resume(&self) {
        if let Err(error) = self.settings.delegate.reinstate() {
            error!("{error}; until then the delegate stays out of use");
        }
        self.retired.send_replace(false);
    }

    /// Removes a retired delegate from the gateway, with everything that is left of it there.
    ///
    /// # Errors
    ///
    /// When the gateway does not let the shim in, or does not do it.
    pub async fn remove_delegate(&self) -> Result<Removal, OnceError> {
        removal::remove(&self.settings).await
    }

    /// Where the shim stands now.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.standing.borrow().clone()
    }

    /// Where the shim stands, once the very first attempt has come to something, or `patience` is over.
    pub async fn settled(&self, patience: Duration) -> Standing {
        let mut standing = self.standing.clone();
        let settled = standing.wait_for(|standing| standing.link != Link::Starting);
        let _ = tokio::time::timeout(patience, settled).await;
        self.standing()
    }

    /// Counts what the gateway says about pairing: requests, approvals, removals, and every new connection, before
    /// which anything may have happened unseen.
    #[must_use]
    pub fn pairing_changes(&self) -> watch::Receiver<u64> {
        self.pairing.clone()
    }

    /// The ids of pairing requests that were approved or rejected, as the gateway tells of them.
    #[must_use]
    pub fn resolutions(&self) -> broadcast::Receiver<String> {
        self.resolved.subscribe()
    }

    /// Follows the standing.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Standing> {
        self.standing.clone()
    }

    /// Tries again at once, where the connection waits before its next attempt.
    pub fn nudge(&self) {
        self.nudge.notify_one();
    }

    /// The gateway no longer knows the delegate: nothing is rewritten until it is paired again.
    pub fn delegate_lost(&self) {
        self.lost.notify_one();
    }

    /// Keeps in mind what the gateway did against expectation, until it turns out to be another one.
    pub fn learn(&self, lesson: Lesson) {
        self.teach
            .send_modify(|standing| Arc::make_mut(&mut standing.profile).learn(lesson));
    }

    /// Notes what the store says of the delegate now, and returns what it said before.
    pub fn saw_own_record(&self, now: OwnRecord) -> OwnRecord {
        let mut record = self
            .own_record
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut record, now)
    }

    /// Calls a method of the gateway and returns its payload.
    ///
    /// # Errors
    ///
    /// When there is no connection, or the gateway refuses or does not answer.
    pub async fn call(&self, method: &str, params: Value) -> Result<Value, CallError> {
        if self.standing.borrow().link != Link::Up {
            return Err(CallError::NotConnected);
        }
        let (answer, answered) = oneshot::channel();
        let call = Call {
            method: method.to_owned(),
            params,
            answer,
        };
        self.calls
            .send(call)
            .await
            .map_err(|_| CallError::NotConnected)?;
        match tokio::time::timeout(CALL_TIMEOUT, answered).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(CallError::NotConnected),
            Err(_) => Err(CallError::Timeout),
        }
    }
}

/// Keeps the connection: opens it, serves it, opens it again.
struct Keeper {
    settings: Arc<Settings>,
    retired: watch::Receiver<bool>,
    standing: watch::Sender<Standing>,
    calls: mpsc::Receiver<Call>,
    nudge: Arc<Notify>,
    lost: Arc<Notify>,
    own_record: Arc<Mutex<OwnRecord>>,
    /// A device that the delegate was before, still paired.
    outgrown: Option<DeviceId>,
    /// Counts what changed about pairing.
    pairing: watch::Sender<u64>,
    /// Tells which requests were answered.
    resolved: broadcast::Sender<String>,
    /// Counts refusals that are not about pairing.
    refused: watch::Sender<u64>,
    /// The last state that was logged, so that a gateway that stays away does not fill the log.
    announced: Option<Link>,
}

impl Keeper {
    async fn run(mut self) {
        let mut backoff = Backoff::default();
        let wanted = wanted_scopes();
        loop {
            if self.is_out_of_use() {
                if !self.rest().await {
                    return;
                }
                backoff = Backoff::default();
            }
            if let Err(error) = self.settings.delegate.look_again() {
                debug!("the delegate goes on with the key that it has: {error}");
            }
            // What was said of the device that the last session was in the name of.
            let _ = self.lost.notified().now_or_never();
            let opened = tokio::select! {
                opened = Session::open(&self.settings, &wanted) => opened,
                () = retirement(&mut self.retired) => continue,
            };
            match opened {
                Ok(mut session) => {
                    self.retire(&mut session).await;
                    backoff = Backoff::default();
                    self.opened(&session);
                    match session
                        .serve(
                            &mut self.calls,
                            &self.lost,
                            &self.pairing,
                            &self.resolved,
                            &mut self.retired,
                        )
                        .await
                    {
                        Ended::HandlesGone => return,
                        Ended::Retired => continue,
                        Ended::DelegateRemoved => {
                            self.forget_delegate();
                            self.link(Link::Down(
                                "the delegate was removed from the gateway".to_owned(),
                            ));
                        }
                        Ended::Lost(reason) => self.link(Link::Down(reason)),
                    }
                }
                Err(OpenError::Refused(refusal)) => self.refused(refusal).await,
                Err(OpenError::Failed(reason)) => self.link(Link::Down(reason)),
            }
            if self.standing.is_closed() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.next()) => {}
                () = self.nudge.notified() => {}
                () = retirement(&mut self.retired) => {}
            }
        }
    }

    /// Whether it was retired: here, or by another process.
    fn is_out_of_use(&mut self) -> bool {
        *self.retired.borrow_and_update() || self.settings.delegate.is_retired()
    }

    /// Does nothing until the delegate may pair again; `false` where nobody is left to say so.
    async fn rest(&mut self) -> bool {
        self.standing
            .send_modify(|standing| standing.delegate_scopes = None);
        self.link(Link::Retired);
        while self.is_out_of_use() {
            tokio::select! {
                changed = self.retired.changed() => if changed.is_err() {
                    return false;
                },
                // Whoever has marked it in the data directory may take the mark away there, too.
                () = tokio::time::sleep(LONGEST_WAIT) => {}
            }
        }
        if let Err(error) = self.settings.delegate.restore() {
            warn!("{error}");
        }
        // What was said of the device that it was before does not hold for the one that it is now.
        let _ = self.lost.notified().now_or_never();
        self.announced = None;
        self.standing.send_modify(|standing| {
            standing.link = Link::Starting;
        });
        true
    }

    fn opened(&mut self, session: &Session) {
        let scopes: ScopeSet = wanted_scopes().into_iter().collect();
        let mut profile = Profile::from_evidence(session.evidence());
        self.standing.send_modify(|standing| {
            if standing.profile.version == profile.version {
                let lessons = standing.profile.lessons.clone();
                lessons.into_iter().for_each(|lesson| profile.learn(lesson));
            }
            standing.profile = Arc::new(profile.clone());
            standing.delegate_scopes = Some(Arc::new(scopes));
        });
        self.link(Link::Up);
        info!(
            gateway = %profile,
            delegate = %self.settings.delegate.device_id().short(),
            "connected to the gateway; the delegate is paired"
        );
        self.pairing.send_modify(|count| *count += 1);
    }

    /// A refused delegate: helped along where the gateway lets its own machine do so, else announced once.
    async fn refused(&mut self, refusal: Refusal) {
        if !refusal.wants_pairing() {
            let said = refusal.message.escape_debug();
            let about = if is_about_the_secret(&refusal) {
                "; its own files are read again each time, but a secret that the shim was given has to be corrected there, \
                 and then: scope-shim reload"
            } else {
                ""
            };
            self.link(Link::Down(format!(
                "the gateway refuses the shim itself ({said}){about}"
            )));
            self.refused.send_modify(|count| *count += 1);
            return;
        }
        self.forget_delegate();
        if let Some(request_id) = &refusal.request_id
            && let Some(ground) = session::approve_itself(&self.settings, request_id).await
        {
            info!(request = %request_id, "approved the delegate's own pairing request {ground}");
            self.nudge.notify_one();
            return;
        }
        if self.is_outgrown(&refusal) && self.renew() {
            return;
        }
        self.link(Link::AwaitingApproval {
            request_id: refusal.request_id,
        });
    }

    /// Whether the delegate is paired, but for too little: a record that only an approval could widen here.
    fn is_outgrown(&self, refusal: &Refusal) -> bool {
        let record = *self
            .own_record
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match refusal.reason.as_deref() {
            Some(reason) => reason == "scope-upgrade",
            None => record == OwnRecord::Narrow,
        }
    }

    /// Pairs as a fresh device, which a gateway approves silently where it would not widen an old one.
    fn renew(&mut self) -> bool {
        match self.settings.delegate.renew() {
            Ok(old) => {
                info!(old = %old.short(), "the delegate's record is too narrow; pairing as a new device");
                self.outgrown = Some(old);
                self.nudge.notify_one();
                true
            }
            Err(error) => {
                warn!("{error}");
                false
            }
        }
    }

    /// Removes the record of the device that the delegate was before.
    async fn retire(&mut self, session: &mut Session) {
        if let Some(old) = self.outgrown.take() {
            let removed = session.remove(&old).await;
            debug!(device = %old.short(), removed, "removed the delegate's former record");
        }
    }

    fn forget_delegate(&self) {
        self.standing
            .send_modify(|standing| standing.delegate_scopes = None);
    }

    fn link(&mut self, link: Link) {
        if self.announced.as_ref() != Some(&link) {
            self.announce(&link);
            self.announced = Some(link.clone());
        }
        self.standing.send_modify(|standing| standing.link = link);
    }

    fn announce(&self, link: &Link) {
        match link {
            Link::Starting | Link::Up => debug!("control connection: {link:?}"),
            Link::Retired => info!("the delegate is out of use until the shim is switched on"),
            Link::Down(reason) => warn!(
                gateway = %self.settings.dialer.gateway.authority(),
                "no session of the shim's own with the gateway: {reason}; trying again"
            ),
            Link::AwaitingApproval { request_id } => warn!(
                delegate = %self.settings.delegate.device_id().short(),
                "the gateway wants the shim's own device approved; until then everything passes through unchanged. Run: {}",
                approve_command(request_id.as_deref())
            ),
        }
    }
}

/// Early gateways say it in words alone, later ones with a code, too.
fn is_about_the_secret(refusal: &Refusal) -> bool {
    let code = refusal.details_code.as_deref().unwrap_or_default();
    code.starts_with("AUTH_") || refusal.message.starts_with("unauthorized")
}

/// Completes when the delegate is to be retired.
async fn retirement(orders: &mut watch::Receiver<bool>) {
    if orders.wait_for(|retired| *retired).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// What the delegate asks for: every scope by name.
fn wanted_scopes() -> Vec<String> {
    scope::ALL.iter().map(|&scope| scope.to_owned()).collect()
}

/// The command that approves a pairing request.
#[must_use]
pub fn approve_command(request_id: Option<&str>) -> String {
    format!(
        "openclaw devices approve {}",
        request_id.unwrap_or("<request id from `openclaw devices list`>")
    )
}

/// Waits that grow from half a second to ten.
#[derive(Debug)]
struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(FIRST_WAIT)
    }
}

impl Backoff {
    fn next(&mut self) -> Duration {
        let wait = self.0;
        self.0 = (wait * 2).min(LONGEST_WAIT);
        wait
    }
}

const CALLS_WAITING: usize = 32;
const RESOLUTIONS_KEPT: usize = 64;
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(10);
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
