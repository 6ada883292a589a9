//! A session that was refused before: answered without the gateway, for as long as nothing has changed.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::delegate::Delegated;
use super::report::Report;
use super::{Established, Refused, Session};
use crate::breaker::{Absorption, Attempt, Footing, Remembered, Trace};
use crate::decide::Decision;
use crate::device::{DeviceId, DeviceRecord};
use crate::diagnosis;
use crate::engine::Judgement;
use crate::handshake::drive::{Exchange, Request, say_no};
use crate::handshake::message::Connect;
use crate::identity::{Identity, Unidentified};
use crate::relay::Client;
use crate::ws::Close;

/// What was known of a session's device before the gateway was asked.
#[derive(Clone, Debug)]
pub struct Before {
    device: Option<DeviceId>,
    record: Option<Arc<DeviceRecord>>,
}

impl Session {
    /// The refusal that the gateway would give again; and notes what is known now, before it is asked.
    pub(super) async fn refused_before(
        &self,
        request: &Request,
        judgement: &Judgement,
    ) -> Option<Arc<Remembered>> {
        let before = self.before(&request.connect, &judgement.identity).await?;
        let _ = self.before.set(before);
        // It has a way past the refusal now.
        if matches!(judgement.decision, Decision::Rewrite(_)) || self.engine.breaker.is_quiet() {
            return None;
        }
        let attempt = self.attempt(&request.connect)?;
        self.engine.breaker.find(attempt).await
    }

    /// The gateway has let the session in.
    pub(super) async fn heard(&self, connect: &Connect) {
        if !self.engine.breaker.is_quiet()
            && let Some(attempt) = self.attempt(connect)
        {
            self.engine.breaker.heard(attempt).await;
        }
    }

    /// Remembers a refusal that would come again.
    pub(super) async fn remember(&self, connect: &Connect, refused: &Refused, close_code: u16) {
        // What the delegate is refused is the shim's own trouble, and passes.
        if refused.delegated {
            return;
        }
        if let Some(attempt) = self.attempt(connect)
            && let Some(absorption) =
                Absorption::new(&refused.message, &refused.refusal, close_code)
        {
            self.engine.breaker.remember(attempt, absorption).await;
        }
    }

    /// What its upgrade looks like.
    pub fn trace(&self) -> Trace {
        *self.trace.get_or_init(|| {
            let decisive = self.decisive.iter().map(String::as_str);
            self.engine.breaker.fingerprints().trace(
                self.client_address,
                &self.redial.request,
                decisive,
            )
        })
    }

    /// What the attempt looks like; most sessions end without anybody having asked. `None` for one that cannot be told
    /// from others.
    pub(super) fn attempt(&self, connect: &Connect) -> Option<&Attempt> {
        let before = self.before.get()?;
        Some(self.attempt.get_or_init(|| {
            Attempt::new(
                self.engine.breaker.fingerprints(),
                self.trace(),
                connect,
                self.visit.circumstances.direct_local,
                before.device.clone(),
                Footing::of(before.record.as_deref()),
            )
        }))
    }

    /// `None` for one that cannot be told from others: its proof does not hold, or cannot be checked.
    async fn before(&self, connect: &Connect, identity: &Identity) -> Option<Before> {
        let device = match (&connect.claims.device, identity) {
            (None, _) => None,
            (
                Some(_),
                Identity::Unknown(
                    Unidentified::Proof(_)
                    | Unidentified::NoChallenge
                    | Unidentified::StoreUnreadable,
                ),
            ) => return None,
            (Some(device), _) => Some(DeviceId::new(device.id.as_str())),
        };
        let record = match (identity, &device) {
            (Identity::Device { record, .. }, _) => Some(Arc::clone(record)),
            (_, Some(device)) => self.engine.resolver.resolve(device).await.ok()?,
            (_, None) => None,
        };
        Some(Before { device, record })
    }

    /// How long a repeat waits for somebody to approve what it asks for, where the operator wants that.
    pub(super) fn patience_with(&self, known: &Remembered) -> Option<Duration> {
        let patience = self.engine.rules().policy.wait_for_approval;
        patience.filter(|_| known.refusal().wants_pairing())
    }

    /// A repeat that was approved while it waited, as the delegate asks for it.
    pub(super) async fn waited(
        &self,
        exchange: &mut Exchange<'_>,
        request: &Request,
        judgement: &Judgement,
        known: &Remembered,
        report: &mut Report<'_>,
    ) -> io::Result<Option<Delegated>> {
        let claims = &request.connect.claims;
        let waiting = self.approval(exchange, claims, judgement, known.refusal());
        let Some(widened) = waiting.await? else {
            return Ok(None);
        };
        report.refused(known.refusal());
        exchange.forget(request);
        let healed = self.heal(exchange, request, &widened, report).await?;
        Ok(healed.map(|(again, delegated)| {
            report.approved(&again);
            delegated
        }))
    }

    /// Gives the refusal again.
    pub(super) async fn answer(
        &self,
        client: &mut Client,
        request: &Request,
        judgement: &Judgement,
        known: &Remembered,
        repeat: u32,
        report: &mut Report<'_>,
    ) -> io::Result<Option<Established>> {
        let claims = &request.connect.claims;
        let refused = Refused {
            message: known.message(&claims.request_id),
            refusal: known.refusal().clone(),
            delegated: false,
            waiting: Some(known.requested().clone()),
        };
        report.repeated(repeat, &refused.refusal);
        let diagnosis = self.explain(request, judgement, &refused, report).await;
        let mut message = refused.message;
        let reason = diagnosis::shape(&mut message, &diagnosis, claims);
        self.engine.breaker.answered(self.trace()).await;
        say_no(client, &message, &Close::new(known.close_code(), reason)).await?;
        Ok(None)
    }
}
