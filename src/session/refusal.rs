//! A refused session: why, what ends it, and how the client is told.

use std::io;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;
use tracing::{info, warn};

use super::report::Report;
use super::{Established, Session};
use crate::clock;
use crate::control::Link;
use crate::device::{DeviceId, DeviceRecord};
use crate::diagnosis::{self, Case, Diagnosis, Reached, Silence};
use crate::engine::Judgement;
use crate::handshake::drive::{Exchange, Left, Request, say_no};
use crate::handshake::message::{Claims, Refusal};
use crate::identity::{Identity, Unidentified};
use crate::scope::ScopeSet;
use crate::ws::Close;

/// What the gateway said instead of `hello-ok`.
pub(super) struct Refused {
    pub(super) message: Value,
    pub(super) refusal: Refusal,
    /// The delegate had asked in the client's place.
    pub(super) delegated: bool,
    /// What the request that waits was filed for, where that was an earlier attempt.
    pub(super) waiting: Option<ScopeSet>,
}

impl Session {
    /// Finds out why the gateway refused, and notes it.
    pub(super) async fn explain(
        &self,
        request: &Request,
        judgement: &Judgement,
        refused: &Refused,
        report: &mut Report<'_>,
    ) -> Diagnosis {
        let engine = &self.engine;
        let (standing, rules) = (engine.control.standing(), engine.rules());
        let claims = &request.connect.claims;
        let record = self.record(claims, &judgement.identity).await;
        let case = Case {
            claims,
            identity: &judgement.identity,
            record: record.as_deref(),
            decision: &judgement.decision,
            visit: &self.visit,
            address: self.client_address,
            profile: &standing.profile,
            auth: &rules.auth,
            facts: &rules.facts,
            challenge: request.challenge.as_ref(),
            now_ms: clock::now_ms(),
            message: &refused.message,
            refusal: &refused.refusal,
            delegated: refused.delegated,
            approver: standing.link == Link::Up,
            policy: &rules.policy,
            invocation: &rules.invocation,
            waiting: refused.waiting.as_ref(),
            newcomers: self.newcomers(claims, &judgement.identity, &refused.refusal),
        };
        let diagnosis = diagnosis::diagnose(&case);
        report.diagnosed(&diagnosis);
        if self.visit.circumstances.direct_local {
            return diagnosis;
        }
        // Where things lie on this machine is for its log, not for whoever asks from elsewhere.
        diagnosis::diagnose(&Case {
            invocation: &rules.invocation.clone().without_places(),
            ..case
        })
    }

    /// The record of a device that proved that it is this device. Others are told nothing of it.
    async fn record(&self, claims: &Claims, identity: &Identity) -> Option<Arc<DeviceRecord>> {
        match identity {
            Identity::Device { record, .. } => Some(Arc::clone(record)),
            Identity::Unknown(
                Unidentified::Credential | Unidentified::NotAnOperator | Unidentified::Revoked,
            ) => {
                let id = DeviceId::new(claims.device.as_ref()?.id.as_str());
                self.engine.resolver.resolve(&id).await.ok().flatten()
            }
            Identity::User { .. }
            | Identity::HostDevice(_)
            | Identity::FreshLocal
            | Identity::Unknown(_) => None,
        }
    }

    /// How many new devices of its kind there were lately, where this is one.
    fn newcomers(&self, claims: &Claims, identity: &Identity, refusal: &Refusal) -> usize {
        let (Some(device), Identity::User { .. } | Identity::Unknown(Unidentified::NotPaired)) =
            (&claims.device, identity)
        else {
            return 0;
        };
        if !refusal.wants_pairing() {
            return 0;
        }
        let newcomers = &self.engine.newcomers;
        let mut newcomers = newcomers.lock().unwrap_or_else(PoisonError::into_inner);
        newcomers.note(
            self.client_address,
            &claims.client_id,
            &claims.client_mode,
            &device.id,
            clock::now_ms(),
        )
    }

    /// Tells of a handshake that ended before its request, as nothing else does: who ended it, when, and what was seen.
    pub(super) fn tell_of_early_end(&self, left: &Left, elapsed: Duration) {
        let ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let (from, challenged) = (self.client_address, left.challenged);
        if !left.by_gateway {
            info!(%from, ms, challenged, "the client left without a connect request");
            return;
        }
        let diagnosis = diagnosis::no_answer(&Silence {
            claims: None,
            address: from,
            profile: &self.engine.control.standing().profile,
            reached: match challenged {
                true => Reached::Challenge,
                false => Reached::Upgrade,
            },
            elapsed,
            closed: true,
            close: left.close.as_ref(),
        });
        warn!(%from, ms, finding = %diagnosis.code, fix = diagnosis.command, "{}", diagnosis.sentence);
    }

    /// Finds out how far an unanswered handshake got, and notes it.
    pub(super) fn explain_silence(
        &self,
        request: &Request,
        exchange: &Exchange<'_>,
        report: &mut Report<'_>,
    ) -> Diagnosis {
        let now = Instant::now();
        let deadline = exchange.deadline();
        let diagnosis = diagnosis::no_answer(&Silence {
            claims: Some(&request.connect.claims),
            address: self.client_address,
            profile: &self.engine.control.standing().profile,
            reached: Reached::Request,
            elapsed: self
                .limits
                .timeout
                .saturating_sub(deadline.saturating_duration_since(now)),
            closed: now < deadline,
            close: exchange.close().as_ref(),
        });
        report.unanswered();
        report.diagnosed(&diagnosis);
        diagnosis
    }

    /// Tells the client in the form that it shows to its user, and ends the session.
    pub(super) async fn tell(
        &self,
        mut exchange: Exchange<'_>,
        request: &Request,
        refused: Refused,
        diagnosis: &Diagnosis,
    ) -> io::Result<Option<Established>> {
        let code = exchange.close_code().await;
        self.remember(&request.connect, &refused, code).await;
        let mut message = refused.message;
        let reason = diagnosis::shape(&mut message, diagnosis, &request.connect.claims);
        say_no(exchange.client, &message, &Close::new(code, reason)).await?;
        Ok(None)
    }
}
