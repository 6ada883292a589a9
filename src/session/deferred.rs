//! A session that is expected to be a repeat: the shim begins its handshake, and asks the gateway only where it must.

use std::io;
use std::time::Duration;

use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep, timeout};
use tracing::debug;
use uuid::Builder;

use super::report::Report;
use super::{Established, Session, end};
use crate::breaker::Remembered;
use crate::clock;
use crate::config::Mode;
use crate::decide::Decision;
use crate::engine::Judgement;
use crate::handshake::drive::{Deferred, Exchange, Opening, Request, Untouched, say_no};
use crate::handshake::message::{Challenge, Connect};
use crate::http::pacing::NoPlace;
use crate::identity::{Credential, Identity};
use crate::profile::Version;
use crate::relay::Client;
use crate::ws::Close;
use crate::ws::close::{NORMAL, SERVICE_RESTART, TRY_AGAIN_LATER};

/// What came of holding a client back.
enum Held {
    /// Its time is over.
    Answer,
    /// The refusal is no longer certain.
    Released,
    /// The client left.
    Left,
}

/// A session that has a gateway after all.
struct Joined<'c> {
    exchange: Exchange<'c>,
    /// What the gateway wants signed.
    nonce: String,
    /// Its share of the gateway's budget for unfinished handshakes.
    place: Option<OwnedSemaphorePermit>,
}

impl Session {
    /// The handshake of an upgrade that is expected to be a repeat: the gateway is not asked unless it is none.
    pub(super) async fn deferred(&self, client: &mut Client) -> io::Result<Option<Established>> {
        let started = Instant::now();
        let mut deferred = Deferred::new(client, self.limits);
        let challenge = challenge()?;
        let request = match deferred.open(&challenge).await? {
            Opening::Connect(request) => request,
            Opening::Left(left) => {
                self.tell_of_early_end(&left, started.elapsed());
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            // As gateways end a handshake that does not come.
            Opening::Untouched(Untouched::Silent) => {
                return end(deferred.client, &Close::new(NORMAL, "")).await;
            }
            Opening::Untouched(why) => {
                debug!(client = %self.client_address, "relayed without a look: {why:?}");
                let Joined { exchange, .. } = self.join(deferred).await?;
                return Ok(Established::as_it_is(exchange));
            }
        };
        let mut judgement = self.judge(&request, &challenge).await;
        let known = self.refused_before(&request, &judgement).await;
        if let Some(known) = known {
            let repeat = self.engine.breaker.repeated(self.trace(), &known).await;
            let mut delay = known.delay(repeat, deferred.patience());
            if let Some(patience) = self.patience_with(&known) {
                deferred.extend(patience);
                delay = delay.max(patience);
            }
            match hold(&mut deferred, &known, delay).await {
                Held::Answer => {
                    let mut report = self.report(&request, &mut judgement, started);
                    return self
                        .answer(
                            deferred.client,
                            &request,
                            &judgement,
                            &known,
                            repeat,
                            &mut report,
                        )
                        .await;
                }
                Held::Left => {
                    self.engine.breaker.answered(self.trace()).await;
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                Held::Released => {
                    self.engine.breaker.answered(self.trace()).await;
                    judgement = self.judge(&request, &challenge).await;
                }
            }
        }
        if is_bound(&request) && self.is_known_to_be_good(&judgement) {
            let (claims, identity) = (&request.connect.claims, &judgement.identity);
            judgement = self.engine.judge_again(claims, identity, &self.visit);
        }
        let mut report = self.report(&request, &mut judgement, started);
        self.go_on(deferred, &request, &judgement, &mut report)
            .await
    }

    /// Whether all that the gateway would go by is known here: the device's own key, and the secret, or a token that the
    /// store vouches for. Of a user and of any other token the gateway alone knows what they are worth.
    fn is_known_to_be_good(&self, judgement: &Judgement) -> bool {
        let profile = self.engine.control.standing().profile;
        match judgement.identity {
            Identity::Device { credential, .. } => {
                credential == Credential::Shared || !profile.judges_device_tokens()
            }
            _ => false,
        }
    }

    async fn judge(&self, request: &Request, challenge: &Challenge) -> Judgement {
        let nonce = Some(challenge.nonce.as_str());
        self.engine
            .judge(&request.connect, nonce, &self.visit)
            .await
    }

    fn report(&self, request: &Request, judgement: &mut Judgement, started: Instant) -> Report<'_> {
        Report::new(self, Mode::On, &request.connect.claims, judgement, started)
    }

    /// No repeat: it needs the gateway after all. What the client signed is the shim's nonce, so the delegate has to
    /// ask for it; where that is not for the delegate to ask before the gateway was, the client has to come back and sign
    /// the gateway's.
    async fn go_on(
        &self,
        deferred: Deferred<'_>,
        request: &Request,
        judgement: &Judgement,
        report: &mut Report<'_>,
    ) -> io::Result<Option<Established>> {
        let rewrites = matches!(judgement.decision, Decision::Rewrite(_));
        if is_bound(request) && !rewrites {
            report.sent_back("asked to come back, to speak with the gateway");
            return self
                .send_back(deferred.client, &request.connect, MISTAKEN)
                .await;
        }
        let Joined {
            exchange,
            nonce,
            place: _place,
        } = match self.join(deferred).await {
            Ok(joined) => joined,
            Err(error) => {
                report.unanswered();
                return Err(error);
            }
        };
        if rewrites {
            self.delegate(exchange, request, judgement, &nonce, report)
                .await
        } else {
            self.pass(Mode::On, exchange, request, judgement, report)
                .await
        }
    }

    /// Opens the connection to the gateway that was put off, as soon as it has room for one more handshake. Where that
    /// fails, the client has been told.
    async fn join<'c>(&self, deferred: Deferred<'c>) -> io::Result<Joined<'c>> {
        let gateway = self.redial.dialer.gateway.authority();
        let unreachable =
            |why: &dyn std::fmt::Display| format!("scope-shim: the gateway at {gateway} {why}");
        let place = timeout(deferred.patience(), self.place()).await;
        let (client, text) = match place.unwrap_or(Err(NoPlace)) {
            Err(NoPlace) => (deferred.client, NoPlace.to_string()),
            Ok(place) => match self.redial.open().await {
                Err(error) => (deferred.client, unreachable(&error)),
                Ok(wire) => match deferred.join(wire).await {
                    Err(deferred) => (deferred.client, unreachable(&"sent no challenge")),
                    Ok((exchange, nonce)) => {
                        return Ok(Joined {
                            exchange,
                            nonce,
                            place,
                        });
                    }
                },
            },
        };
        let close = Close::new(TRY_AGAIN_LATER, text);
        Err(end(client, &close)
            .await
            .err()
            .unwrap_or_else(|| io::ErrorKind::TimedOut.into()))
    }

    /// Closes in the way that makes a client of its kind come back at once; `why` is for somebody whose command does not
    /// try again by itself.
    pub(super) async fn send_back(
        &self,
        client: &mut Client,
        connect: &Connect,
        why: &str,
    ) -> io::Result<Option<Established>> {
        self.engine
            .breaker
            .send_back(self.trace(), self.attempt(connect))
            .await;
        let claims = &connect.claims;
        let version = claims.client_version.as_deref().and_then(Version::parse);
        if version.is_none_or(|version| version < FIRST_TO_WAIT) {
            let close = Close::new(SERVICE_RESTART, why);
            return end(client, &close).await;
        }
        // The one refusal that commands from 2026.5.7 on repeat silently (run with 2026.5.7, 2026.6.11 and 2026.9.6).
        let wait = json!({
            "type": "res", "id": claims.request_id, "ok": false,
            "error": {
                "code": "UNAVAILABLE", "message": why,
                "retryable": true, "retryAfterMs": u64::try_from(COME_BACK.as_millis()).unwrap_or_default(),
                "details": {"reason": "startup-sidecars"},
            },
        });
        say_no(
            client,
            &wait,
            &Close::new(TRY_AGAIN_LATER, "gateway starting"),
        )
        .await?;
        Ok(None)
    }
}

async fn hold(deferred: &mut Deferred<'_>, known: &Remembered, delay: Duration) -> Held {
    tokio::select! {
        () = known.forgotten() => Held::Released,
        () = sleep(delay) => Held::Answer,
        () = deferred.left() => Held::Left,
    }
}

/// Whether the client has signed the nonce that it was given.
fn is_bound(request: &Request) -> bool {
    let device = request.connect.claims.device.as_ref();
    let nonce = device.and_then(|device| device.nonce.as_deref());
    nonce.is_some_and(|nonce| !nonce.is_empty())
}

/// A challenge of the shim's own, as gateways send it.
fn challenge() -> io::Result<Challenge> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|_| io::Error::other("no randomness"))?;
    Ok(Challenge {
        nonce: Builder::from_random_bytes(bytes).into_uuid().to_string(),
        ts_ms: Some(clock::now_ms()),
    })
}

const MISTAKEN: &str =
    "scope-shim: please try again; this was mistaken for a client that keeps being refused";
/// The first version whose commands wait for a gateway that is starting.
const FIRST_TO_WAIT: Version = Version::v2026(5, 7);
/// The shortest wait that clients keep to is 100 ms.
const COME_BACK: Duration = Duration::from_millis(100);
