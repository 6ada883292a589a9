//! One session, from its upgrade to its end: handshake, decision, answer, relay.

pub mod id;
mod refusal;
mod repeat;
mod report;

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tracing::debug;

use crate::approver::{self, Asking};
use crate::breaker::{Attempt, Trace};
use crate::clock;
use crate::config::Mode;
use crate::decide::Decision;
use crate::degraded;
use crate::delegation::Delegation;
use crate::dial::Redial;
use crate::engine::{Engine, EntitledStill, Judgement, Visit};
use crate::handshake::drive::{Answered, Exchange, Limits, Opening, Request};
use crate::handshake::message::{Claims, Refusal};
use crate::identity::{Credential, Identity};
use crate::relay::{RelayStats, Stop, Tap, Wire, relay};
use crate::rewrite;
use crate::scope::ScopeSet;
use crate::ws::Close;
use crate::ws::close::{POLICY_VIOLATION, TRY_AGAIN_LATER};

use report::Report;

/// A session whose two ends have just been upgraded.
#[derive(Debug)]
pub struct Session {
    /// What all sessions share.
    pub engine: Arc<Engine>,
    /// Where it comes from.
    pub visit: Visit,
    /// The client's address, as far as it is known.
    pub client_address: std::net::IpAddr,
    /// How to open a second connection to the gateway for it.
    pub redial: Redial,
    /// What its handshake may take.
    pub limits: Limits,
    /// How long it may be silent.
    pub idle: Option<Duration>,
    /// What its upgrade looks like.
    pub trace: Trace,
    /// What was known of it before the gateway was asked.
    pub attempt: OnceLock<Attempt>,
}

/// A session whose handshake is over.
struct Established {
    client: Wire,
    gateway: Wire,
    stop: Stop,
    /// Explains the `missing scope` answers of a degraded session; no other has one.
    tap: Option<Tap>,
    /// Keeps a delegated session in the register for as long as it lives.
    delegation: Option<Delegation>,
}

/// What the gateway said instead of `hello-ok`.
struct Refused {
    message: Value,
    refusal: Refusal,
    /// The delegate had asked in the client's place.
    delegated: bool,
}

/// A rewritten handshake that the gateway accepted.
struct Delegated {
    stop: Stop,
    delegation: Delegation,
}

impl Session {
    /// Runs the session to its end. `place` is its share of the gateway's budget for unfinished handshakes.
    ///
    /// # Errors
    ///
    /// When a socket fails, or the session is ended from here.
    pub async fn run(
        self,
        client: Wire,
        gateway: Wire,
        place: Option<OwnedSemaphorePermit>,
    ) -> io::Result<RelayStats> {
        let established = match self.engine.mode.get() {
            Mode::Off => Established::untouched(client, gateway),
            mode => match self.handshake(mode, client, gateway).await? {
                Some(established) => established,
                None => return Ok(RelayStats::default()),
            },
        };
        drop(place);
        self.relay(established).await
    }

    /// Runs a session to its end that is most likely to be refused as it was before; see [`crate::breaker`]. `place`
    /// is its share of what the shim answers by itself.
    ///
    /// # Errors
    ///
    /// As [`Session::run`].
    pub async fn run_deferred(
        self,
        client: Wire,
        place: OwnedSemaphorePermit,
    ) -> io::Result<RelayStats> {
        let established = self.deferred(client).await?;
        drop(place);
        match established {
            Some(established) => self.relay(established).await,
            None => Ok(RelayStats::default()),
        }
    }

    async fn relay(&self, established: Established) -> io::Result<RelayStats> {
        let Established {
            client,
            gateway,
            stop,
            tap,
            delegation,
        } = established;
        let stats = relay(client, gateway, self.idle, stop, tap).await;
        drop(delegation);
        stats
    }

    /// `None` where the session was refused, and is over.
    async fn handshake(
        &self,
        mode: Mode,
        client: Wire,
        gateway: Wire,
    ) -> io::Result<Option<Established>> {
        let started = Instant::now();
        let mut exchange = Exchange::new(client, gateway, self.limits);
        let request = match exchange.open().await? {
            Opening::Connect(request) => request,
            Opening::Untouched(why) => {
                debug!(client = %self.client_address, "relayed without a look: {why:?}");
                return Ok(Established::as_it_is(exchange));
            }
            Opening::Left => return Err(io::ErrorKind::UnexpectedEof.into()),
        };
        let nonce = request
            .challenge
            .as_ref()
            .map(|challenge| challenge.nonce.as_str());
        let judgement = self
            .engine
            .judge(&request.connect, nonce, &self.visit)
            .await;
        let mut report = Report::new(self, mode, &request.connect.claims, &judgement, started);
        if mode == Mode::On
            && let Some(known) = self.refused_before(&request, &judgement).await
        {
            let repeat = self.engine.breaker.repeated(self.trace, &known).await;
            return self
                .answer(
                    exchange.client,
                    &request,
                    &judgement,
                    &known,
                    repeat,
                    &mut report,
                )
                .await;
        }
        match (mode, &judgement.decision, nonce) {
            (Mode::On, Decision::Rewrite(_), Some(nonce)) => {
                self.delegate(exchange, &request, &judgement, nonce, &mut report)
                    .await
            }
            _ => {
                self.pass(mode, exchange, &request, &judgement, &mut report)
                    .await
            }
        }
    }

    /// The client's own bytes go on; what the gateway answers is looked at, and healed where it can be.
    async fn pass(
        &self,
        mode: Mode,
        mut exchange: Exchange,
        request: &Request,
        judgement: &Judgement,
        report: &mut Report,
    ) -> io::Result<Option<Established>> {
        exchange.send_original(request).await?;
        let claims = &request.connect.claims;
        match exchange.answer(&claims.request_id).await? {
            Answered::Left => Err(io::ErrorKind::UnexpectedEof.into()),
            Answered::Nothing => {
                self.explain_silence(request, &exchange, report);
                Ok(Established::as_it_is(exchange))
            }
            Answered::Hello(hello) => {
                report.accepted();
                self.heard().await;
                if mode == Mode::On
                    && lacks_scopes(&hello, &claims.requested(), &judgement.identity)
                {
                    let healing = self.heal(&mut exchange, request, judgement).await?;
                    if let Some((again, delegated)) = healing {
                        report.healed(&again);
                        self.engine.learn(None, claims);
                        return Ok(Established::delegated(exchange, delegated));
                    }
                }
                let tap = self.degraded(mode, request, judgement, &hello, report);
                Ok(Established::degraded(exchange, tap))
            }
            Answered::Refused { message, refusal } => {
                report.refused(&refusal);
                let refused = Refused {
                    message,
                    refusal,
                    delegated: false,
                };
                if mode != Mode::On {
                    self.explain(request, judgement, &refused, report).await;
                    return Ok(Established::as_it_is(exchange));
                }
                self.refused(exchange, request, judgement, refused, report)
                    .await
            }
        }
    }

    /// Tells, once, of a session that was let in with fewer scopes than it asked for, and sees to it that its client
    /// is told too. Observing changes no answer.
    fn degraded(
        &self,
        mode: Mode,
        request: &Request,
        judgement: &Judgement,
        hello: &Value,
        report: &mut Report,
    ) -> Option<Tap> {
        let diagnosis = degraded::diagnose(&degraded::Case {
            claims: &request.connect.claims,
            decision: &judgement.decision,
            mode,
            visit: &self.visit,
            address: self.client_address,
            auth: &self.engine.auth,
            hello,
        })?;
        report.degraded(&diagnosis);
        (mode == Mode::On).then(|| Tap::new(&diagnosis))
    }

    /// The gateway refused: healed where the session is entitled, or becomes so; else explained.
    async fn refused(
        &self,
        mut exchange: Exchange,
        request: &Request,
        judgement: &Judgement,
        refused: Refused,
        report: &mut Report,
    ) -> io::Result<Option<Established>> {
        let claims = &request.connect.claims;
        if may_be_healed(&refused.refusal, &judgement.identity) {
            let healing = self.heal(&mut exchange, request, judgement).await?;
            if let Some((again, delegated)) = healing {
                report.healed(&again);
                self.engine.learn(Some(&refused.refusal), claims);
                self.withdraw(&refused.refusal, judgement);
                return Ok(Established::delegated(exchange, delegated));
            }
        }
        if let Some(widened) = self
            .approval(&mut exchange, claims, judgement, &refused.refusal)
            .await?
        {
            let healing = self.heal(&mut exchange, request, &widened).await?;
            if let Some((again, delegated)) = healing {
                report.approved(&again);
                return Ok(Established::delegated(exchange, delegated));
            }
        }
        let diagnosis = self.explain(request, judgement, &refused, report).await;
        self.tell(exchange, request, refused, &diagnosis).await
    }

    /// The same session, after its device was approved for more: by policy at once, or by somebody while it waits.
    async fn approval(
        &self,
        exchange: &mut Exchange,
        claims: &Claims,
        judgement: &Judgement,
        refusal: &Refusal,
    ) -> io::Result<Option<Judgement>> {
        let asking = Asking {
            claims,
            identity: &judgement.identity,
            visit: &self.visit,
            refusal,
        };
        let mut identity = approver::upgrade(&self.engine, asking).await;
        if identity.is_none()
            && let Some(patience) = self.engine.policy.wait_for_approval
        {
            let started = Instant::now();
            tokio::select! {
                decided = approver::wait(&self.engine, asking, patience) => identity = decided,
                () = exchange.left() => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
            exchange.extend(started.elapsed());
        }
        Ok(identity.map(|identity| Judgement {
            identity,
            decision: judgement.decision.clone(),
            taken: None,
        }))
    }

    /// Asks once more in the delegate's name, on a connection of its own; the client never notices. `None` where that
    /// is not allowed, or fails too; then the gateway's first answer still lies unread.
    async fn heal(
        &self,
        exchange: &mut Exchange,
        request: &Request,
        judgement: &Judgement,
    ) -> io::Result<Option<(Judgement, Delegated)>> {
        let claims = &request.connect.claims;
        let again = self
            .engine
            .judge_again(claims, &judgement.identity, &self.visit);
        if !matches!(again.decision, Decision::Rewrite(_)) {
            return Ok(None);
        }
        let deadline = exchange.deadline();
        let Ok(mut fresh) = self.redial.open().await else {
            return Ok(None);
        };
        let Ok(Some(nonce)) = Exchange::fresh_nonce(&mut fresh, deadline).await else {
            return Ok(None);
        };
        let first = std::mem::replace(&mut exchange.gateway, fresh);
        let message = self.rewritten(request, judgement, &nonce);
        let sent = exchange.send_message(&message).await;
        if sent.is_ok()
            && let Ok(delegated) = self.accepted(exchange, request, judgement).await?
        {
            return Ok(Some((again, delegated)));
        }
        exchange.gateway = first;
        Ok(None)
    }

    /// The delegate asks in the client's place.
    async fn delegate(
        &self,
        mut exchange: Exchange,
        request: &Request,
        judgement: &Judgement,
        nonce: &str,
        report: &mut Report,
    ) -> io::Result<Option<Established>> {
        let message = self.rewritten(request, judgement, nonce);
        exchange.send_instead(request, &message).await?;
        match self.accepted(&mut exchange, request, judgement).await? {
            Ok(delegated) => {
                report.accepted();
                Ok(Established::delegated(exchange, delegated))
            }
            Err(Some((message, refusal))) => {
                report.refused(&refusal);
                if refusal.wants_pairing() {
                    self.engine.control.delegate_lost();
                }
                let refused = Refused {
                    message,
                    refusal,
                    delegated: true,
                };
                let diagnosis = self.explain(request, judgement, &refused, report).await;
                self.tell(exchange, request, refused, &diagnosis).await
            }
            Err(None) => {
                let diagnosis = self.explain_silence(request, &exchange, report);
                let close = Close::new(TRY_AGAIN_LATER, diagnosis.short);
                end(exchange.client, &close).await
            }
        }
    }

    fn rewritten(&self, request: &Request, judgement: &Judgement, nonce: &str) -> Vec<u8> {
        let replacement = self.engine.replacement_auth(&judgement.identity);
        let delegate = &self.engine.delegate;
        rewrite::connect(
            &request.connect,
            delegate,
            nonce,
            clock::now_ms(),
            replacement.as_ref(),
        )
    }

    /// Waits for the answer to a rewritten request.
    ///
    /// The session is in the register before its answer comes, and is checked once more when it is accepted: a record
    /// that changed in between grants nothing.
    async fn accepted(
        &self,
        exchange: &mut Exchange,
        request: &Request,
        judgement: &Judgement,
    ) -> io::Result<Result<Delegated, Option<(Value, Refusal)>>> {
        let claims = &request.connect.claims;
        let check = Arc::new(EntitledStill {
            engine: Arc::clone(&self.engine),
            claims: claims.clone(),
            identity: judgement.identity.clone(),
            visit: self.visit.clone(),
        });
        let device = judgement.identity.device().cloned();
        let (delegation, stopped) = self.engine.delegations.enter(device, check);
        match exchange.answer(&claims.request_id).await? {
            Answered::Hello(mut hello) => {
                if let Some(objection) = delegation.objection().await {
                    let close = Close::new(POLICY_VIOLATION, format!("scope-shim: {objection}"));
                    let _ = exchange
                        .client
                        .stream
                        .write_all(&close.server_frame())
                        .await;
                    return Err(io::Error::new(io::ErrorKind::PermissionDenied, objection));
                }
                rewrite::hello(&mut hello, claims);
                exchange.show_instead(&hello);
                Ok(Ok(Delegated {
                    stop: Stop::When(stopped),
                    delegation,
                }))
            }
            Answered::Refused { message, refusal } => Ok(Err(Some((message, refusal)))),
            Answered::Nothing => Ok(Err(None)),
            Answered::Left => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// The refused first attempt may have left a pairing request that nobody needs any more.
    fn withdraw(&self, refusal: &Refusal, judgement: &Judgement) {
        if let (Some(request_id), Identity::Device { record, .. }) =
            (refusal.request_id.clone(), &judgement.identity)
        {
            let (engine, record) = (Arc::clone(&self.engine), Arc::clone(record));
            tokio::spawn(async move {
                engine
                    .withdraw(&request_id, &record.device_id, &record.approved_scopes)
                    .await;
            });
        }
    }
}

impl Established {
    const fn untouched(client: Wire, gateway: Wire) -> Self {
        Self {
            client,
            gateway,
            stop: Stop::Never,
            tap: None,
            delegation: None,
        }
    }

    /// Whatever was answered, it goes on as it came.
    fn as_it_is(exchange: Exchange) -> Option<Self> {
        Some(Self::untouched(exchange.client, exchange.gateway))
    }

    /// The same, with the answers explained that the session is going to get.
    fn degraded(exchange: Exchange, tap: Option<Tap>) -> Option<Self> {
        Some(Self {
            tap,
            ..Self::untouched(exchange.client, exchange.gateway)
        })
    }

    fn delegated(exchange: Exchange, delegated: Delegated) -> Option<Self> {
        Some(Self {
            client: exchange.client,
            gateway: exchange.gateway,
            stop: delegated.stop,
            tap: None,
            delegation: Some(delegated.delegation),
        })
    }
}

/// Whether a session without a device was let in with fewer scopes than it asked for.
///
/// From 2026.4.21 `hello-ok.auth.scopes` says what such a connection holds. For a device it is the token's list up to
/// 2026.7.1, and says nothing of the connection.
fn lacks_scopes(hello: &Value, requested: &ScopeSet, identity: &Identity) -> bool {
    let stands_for_host = matches!(identity, Identity::HostDevice(_) | Identity::FreshLocal);
    let Some(granted) = hello
        .pointer("/payload/auth/scopes")
        .and_then(Value::as_array)
    else {
        return false;
    };
    let granted: ScopeSet = granted.iter().filter_map(Value::as_str).collect();
    stands_for_host && !granted.implies_all(requested)
}

/// Whether a refusal is one that an entitled session should not have met: a wider scope, another platform, or a
/// token of its own that was found too narrow.
fn may_be_healed(refusal: &Refusal, identity: &Identity) -> bool {
    match identity {
        Identity::Device { credential, .. } => {
            let upgrade = matches!(
                refusal.reason.as_deref(),
                None | Some("scope-upgrade" | "metadata-upgrade")
            );
            (refusal.wants_pairing() && upgrade)
                || (refusal.blames_device_token() && *credential == Credential::DeviceToken)
        }
        Identity::HostDevice(_) | Identity::FreshLocal | Identity::Unknown(_) => false,
    }
}

async fn end(mut client: Wire, close: &Close) -> io::Result<Option<Established>> {
    client.stream.write_all(&close.server_frame()).await?;
    client.stream.shutdown().await?;
    Err(io::Error::new(
        io::ErrorKind::TimedOut,
        close.reason.clone(),
    ))
}
