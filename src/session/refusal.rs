//! A refused session: why, what ends it, and how the client is told.

use std::io;

use super::report::Report;
use super::{Established, Refused, Session};
use crate::clock;
use crate::diagnosis::{self, Case, Diagnosis};
use crate::engine::Judgement;
use crate::handshake::drive::{Exchange, Request, say_no};
use crate::ws::Close;

impl Session {
    /// Finds out why the gateway refused, and notes it.
    pub(super) fn explain(
        &self,
        request: &Request,
        judgement: &Judgement,
        refused: &Refused,
        report: &mut Report,
    ) -> Diagnosis {
        let standing = self.engine.control.standing();
        let diagnosis = diagnosis::diagnose(&Case {
            claims: &request.connect.claims,
            identity: &judgement.identity,
            decision: &judgement.decision,
            visit: &self.visit,
            address: self.client_address,
            profile: &standing.profile,
            facts: &self.engine.facts,
            challenge: request.challenge.as_ref(),
            now_ms: clock::now_ms(),
            message: &refused.message,
            refusal: &refused.refusal,
            delegated: refused.delegated,
        });
        report.diagnosed(&diagnosis);
        diagnosis
    }

    /// Tells the client in the form that it shows to its user, and ends the session.
    pub(super) async fn tell(
        &self,
        mut exchange: Exchange,
        request: &Request,
        refused: Refused,
        diagnosis: &Diagnosis,
    ) -> io::Result<Option<Established>> {
        let code = exchange.close_code().await;
        self.remember(&refused, code).await;
        let mut message = refused.message;
        let reason = diagnosis::shape(&mut message, diagnosis, &request.connect.claims);
        say_no(exchange.client, &message, &Close::new(code, reason)).await?;
        Ok(None)
    }
}
