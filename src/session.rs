//! One session, from its upgrade to its end.
//!
//! A handshake is read and judged, and then goes one of three ways. Mostly it goes on as it came, and the gateway decides
//! (`pass`). Where the gateway would wrongly refuse it, the delegate asks for it (`delegate`). Where the gateway has
//! just refused the same, it gets the same answer again (`repeat`); a client of which nothing else is to be expected
//! does not even get a connection to the gateway (`deferred`).
//!
//! What the gateway refuses is healed where the session is entitled (`heal`) or becomes so (`approval`); everybody
//! else is told why, and what to do (`refusal`). Whatever comes of it, one line says so (`report`), with a name that
//! can be asked about later ([`id`]). After that it is bytes ([`crate::relay`]).

mod approval;
mod deferred;
mod delegate;
mod heal;
pub mod id;
#[cfg(test)]
mod model;
mod pass;
mod refusal;
mod repeat;
mod report;

use std::future::pending;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::FutureExt as _;
use hyper::header::UPGRADE;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::breaker::{Attempt, Trace};
use crate::config::Mode;
use crate::decide::Decision;
use crate::delegation::Delegation;
use crate::dial::Redial;
use crate::engine::{Engine, Visit, Would};
use crate::handshake::drive::{Exchange, Limits, Opening, Untouched};
use crate::http::pacing::{NoPlace, Pacing};
use crate::listen::Admitted;
use crate::relay::{Client, RelayStats, Stop, Tap, Wire, relay};
use crate::telemetry::Row;
use crate::ws::Close;
use crate::ws::close::SERVICE_RESTART;

use delegate::Delegated;
use refusal::Refused;
pub use repeat::Before;
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
    /// The gateway's budget for unfinished handshakes.
    pub pacing: Arc<Pacing>,
    /// What its handshake may take.
    pub limits: Limits,
    /// How long it may be silent.
    pub idle: Option<Duration>,
    /// The headers on which the gateway's judgement of a user rests.
    pub decisive: Vec<String>,
    /// What its upgrade looks like, once somebody has asked.
    pub trace: OnceLock<Trace>,
    /// What was known of its device before the gateway was asked.
    pub before: OnceLock<Before>,
    /// What its attempt looks like, once somebody has asked.
    pub attempt: OnceLock<Attempt>,
    /// Its place among the sessions that run.
    pub row: Row,
    /// Cancelled when the shim ends what is left of its sessions.
    pub ending: CancellationToken,
}

/// A session whose handshake is over.
struct Established {
    gateway: Wire,
    /// Ends a delegated session that may no longer go on.
    stop: Option<oneshot::Receiver<Close>>,
    /// Explains the `missing scope` answers of a degraded session; no other has one.
    tap: Option<Tap>,
    /// Keeps a delegated session in the register for as long as it lives.
    delegation: Option<Delegation>,
}

impl Session {
    /// Runs the handshake; `None` where the session is over with it. `place` is its share of the gateway's budget for
    /// unfinished handshakes.
    ///
    /// # Errors
    ///
    /// When a socket fails, or the session is ended from here.
    pub async fn begin(
        self,
        client: Wire,
        gateway: Wire,
        _place: Option<OwnedSemaphorePermit>,
    ) -> io::Result<Option<Lasting>> {
        let mut client = Client::from(client);
        let established = match self.engine.mode.get() {
            Mode::Off => Some(Established::untouched(gateway)),
            // Another protocol has no handshake that anybody here knows.
            _ if !self.is_websocket() => Some(Established::untouched(gateway)),
            mode => {
                let handshake = Box::pin(self.handshake(mode, &mut client, gateway));
                match self.unless_ended(handshake).await {
                    Some(result) => result?,
                    None => return self.restarting(client).await,
                }
            }
        };
        Ok(established.map(|established| self.goes_on(client, established)))
    }

    /// Runs the handshake of a session that is most likely to be refused as it was before; see [`crate::breaker`]. `place`
    /// is its share of what the shim answers by itself.
    ///
    /// # Errors
    ///
    /// As [`Session::begin`].
    pub async fn begin_deferred(
        self,
        client: Wire,
        _place: OwnedSemaphorePermit,
    ) -> io::Result<Option<Lasting>> {
        let mut client = Client::from(client);
        let deferred = Box::pin(self.deferred(&mut client));
        match self.unless_ended(deferred).await {
            Some(result) => Ok(result?.map(|established| self.goes_on(client, established))),
            None => self.restarting(client).await,
        }
    }

    /// What is left of the session when its handshake is over.
    fn goes_on(self, client: Client, established: Established) -> Lasting {
        Lasting {
            framed: self.is_websocket(),
            client,
            established,
            idle: self.idle,
            row: self.row,
            ending: self.ending,
            admitted: self.redial.request.extensions().get().cloned(),
        }
    }

    /// A share of the gateway's budget for unfinished handshakes, where it has one.
    ///
    /// # Errors
    ///
    /// When there is none in time.
    pub async fn place(&self) -> Result<Option<OwnedSemaphorePermit>, NoPlace> {
        if !self.engine.control.standing().profile.limits_handshakes() {
            return Ok(None);
        }
        self.pacing.place(self.client_address).await.map(Some)
    }

    /// A handshake is given up when the shim ends: `None`.
    async fn unless_ended<T>(&self, handshake: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            result = handshake => Some(result),
            () = self.ending.cancelled() => None,
        }
    }

    /// Sends a client away whose handshake was given up.
    async fn restarting(&self, mut client: Client) -> io::Result<Option<Lasting>> {
        if self.is_websocket() {
            client.dismiss(&restart()).await;
        }
        Err(io::ErrorKind::ConnectionAborted.into())
    }

    fn is_websocket(&self) -> bool {
        let upgrade = self.redial.request.headers().get(UPGRADE);
        upgrade.is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"))
    }

    /// `None` where the session was refused, and is over. Each of its ways has memory of its own, so that none takes
    /// what the longest of them would.
    async fn handshake(
        &self,
        mode: Mode,
        client: &mut Client,
        gateway: Wire,
    ) -> io::Result<Option<Established>> {
        let started = Instant::now();
        let mut exchange = Exchange::new(client, gateway, self.limits);
        let request = match exchange.open().await? {
            Opening::Connect(request) => request,
            Opening::Untouched(why) => {
                if why == Untouched::Silent {
                    info!(from = %self.client_address, "no connect request came in time; what becomes of it is the gateway's to say");
                }
                debug!(client = %self.client_address, "relayed without a look: {why:?}");
                return Ok(Established::as_it_is(exchange));
            }
            Opening::Left(left) => {
                self.tell_of_early_end(&left, started.elapsed());
                // What it has said, and what the client has, is still under way.
                if left.by_gateway {
                    return Ok(Established::as_it_is(exchange));
                }
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        };
        let nonce = request
            .challenge
            .as_ref()
            .map(|challenge| challenge.nonce.as_str());
        let mut judgement = self
            .engine
            .judge(&request.connect, nonce, &self.visit)
            .await;
        let mut report = Report::new(self, mode, &request.connect.claims, &mut judgement, started);
        if mode == Mode::On
            && let Some(known) = self.refused_before(&request, &judgement).await
        {
            let repeat = self.engine.breaker.repeated(self.trace(), &known).await;
            if self.patience_with(&known).is_some() {
                let waited = self.waited(&mut exchange, &request, &judgement, &known, &mut report);
                let waited = Box::pin(waited).await;
                // It is over for this one, also where the client has left.
                if !matches!(waited, Ok(None)) {
                    self.engine.breaker.answered(self.trace()).await;
                }
                if let Some(delegated) = waited? {
                    return Ok(Established::delegated(exchange, delegated));
                }
            }
            let answer = self.answer(
                exchange.client,
                &request,
                &judgement,
                &known,
                repeat,
                &mut report,
            );
            return Box::pin(answer).await;
        }
        if mode == Mode::Observe
            && let Some(known) = self.refused_before(&request, &judgement).await
        {
            let repeat = self.engine.breaker.repeated(self.trace(), &known).await;
            self.engine.breaker.answered(self.trace()).await;
            report.would(Would::Repeat(repeat));
        }
        match (mode, &judgement.decision, nonce) {
            (Mode::On, Decision::Rewrite(_), Some(nonce)) => {
                let delegated = self.delegate(exchange, &request, &judgement, nonce, &mut report);
                Box::pin(delegated).await
            }
            _ => {
                let passed = self.pass(mode, exchange, &request, &judgement, &mut report);
                Box::pin(passed).await
            }
        }
    }
}

/// A session whose handshake is over, with no more than it needs for the rest of its life: there may be thousands.
pub struct Lasting {
    client: Client,
    established: Established,
    framed: bool,
    idle: Option<Duration>,
    row: Row,
    ending: CancellationToken,
    /// Its client's place among the connections.
    admitted: Option<Admitted>,
}

impl Lasting {
    /// Runs the session to its end. What it resolves to fails when a socket fails or the session is ended from here.
    pub fn run(self) -> impl Future<Output = io::Result<RelayStats>> + Send {
        let Established {
            gateway,
            stop,
            tap,
            delegation,
        } = self.established;
        let close = close(stop, self.ending).boxed();
        let stop = if self.framed {
            Stop::Between(close)
        } else {
            Stop::Anywhere(close)
        };
        let traffic = self.row.traffic();
        let kept = (self.row, delegation, self.admitted);
        relay(self.client, gateway, self.idle, stop, tap, traffic, kept)
    }
}

impl Established {
    const fn untouched(gateway: Wire) -> Self {
        Self {
            gateway,
            stop: None,
            tap: None,
            delegation: None,
        }
    }

    /// Whatever was said, it goes on as it came.
    fn as_it_is(exchange: Exchange<'_>) -> Option<Self> {
        Some(Self::untouched(exchange.gateway))
    }

    /// The same, with the answers explained that the session is going to get.
    fn degraded(exchange: Exchange<'_>, tap: Option<Tap>) -> Option<Self> {
        Some(Self {
            tap,
            ..Self::untouched(exchange.gateway)
        })
    }

    fn delegated(exchange: Exchange<'_>, delegated: Delegated) -> Option<Self> {
        Some(Self {
            gateway: exchange.gateway,
            stop: Some(delegated.stop),
            tap: None,
            delegation: Some(delegated.delegation),
        })
    }
}

/// Completes when the session has to be closed, and says how.
async fn close(stop: Option<oneshot::Receiver<Close>>, ending: CancellationToken) -> Close {
    let stopped = async {
        match stop {
            // Without its sender it is never stopped.
            Some(stop) => match stop.await {
                Ok(close) => close,
                Err(_) => pending().await,
            },
            None => pending().await,
        }
    };
    tokio::select! {
        close = stopped => close,
        () = ending.cancelled() => restart(),
    }
}

/// Clients come back at once.
fn restart() -> Close {
    Close::new(SERVICE_RESTART, "service restart")
}

async fn end(client: &mut Client, close: &Close) -> io::Result<Option<Established>> {
    client.close(Vec::new(), close).await?;
    Err(io::Error::new(
        io::ErrorKind::TimedOut,
        close.reason.clone(),
    ))
}
