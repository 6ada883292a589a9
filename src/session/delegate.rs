//! A session that the delegate asks for in the client's place.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::oneshot;

use super::report::Report;
use super::{Established, Refused, Session, end};
use crate::clock;
use crate::config::Mode;
use crate::delegation::Delegation;
use crate::engine::{EntitledStill, Judgement};
use crate::handshake::drive::{Answered, Exchange, Request};
use crate::handshake::message::{Connect, Refusal};
use crate::rewrite;
use crate::ws::Close;
use crate::ws::close::{POLICY_VIOLATION, TRY_AGAIN_LATER};

/// A rewritten handshake that the gateway accepted.
pub(super) struct Delegated {
    pub(super) stop: oneshot::Receiver<Close>,
    pub(super) delegation: Delegation,
}

impl Session {
    /// The delegate asks in the client's place.
    pub(super) async fn delegate(
        &self,
        mut exchange: Exchange<'_>,
        request: &Request,
        judgement: &Judgement,
        nonce: &str,
        report: &mut Report<'_>,
    ) -> io::Result<Option<Established>> {
        let connect = self.narrowed(request, judgement);
        let message = self.rewritten(&connect, judgement, nonce);
        // It may have waited for the gateway, and the delegate may be gone from there.
        if self.engine.mode.get() != Mode::On || self.engine.control.standing().is_retired() {
            report.sent_back("switched off meanwhile");
            return self
                .send_back(exchange.client, &request.connect, SWITCHED_OFF)
                .await;
        }
        exchange.send_instead(request, &message).await?;
        let accepted = self.accepted(&mut exchange, &connect, judgement, report);
        match accepted.await? {
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
                    waiting: None,
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

    /// What the delegate asks for in the client's place.
    pub(super) fn narrowed<'a>(
        &self,
        request: &'a Request,
        judgement: &Judgement,
    ) -> Cow<'a, Connect> {
        self.engine
            .narrowed(&request.connect, &judgement.identity, &self.visit)
    }

    pub(super) fn rewritten(
        &self,
        connect: &Connect,
        judgement: &Judgement,
        nonce: &str,
    ) -> Vec<u8> {
        let replacement = self.engine.replacement_auth(&judgement.identity);
        let delegate = &self.engine.delegate;
        rewrite::connect(
            connect,
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
    pub(super) async fn accepted(
        &self,
        exchange: &mut Exchange<'_>,
        connect: &Connect,
        judgement: &Judgement,
        report: &mut Report<'_>,
    ) -> io::Result<Result<Delegated, Option<(Value, Refusal)>>> {
        let claims = &connect.claims;
        let check = Arc::new(EntitledStill {
            engine: Arc::clone(&self.engine),
            claims: claims.clone(),
            identity: judgement.identity.clone(),
            visit: self.visit.clone(),
        });
        let device = judgement.identity.device().cloned();
        let (delegation, stopped) = self.engine.delegations.enter(device, check);
        match exchange.answer(&claims.request_id).await? {
            Answered::Hello(hello) => {
                if let Some(objection) = delegation.objection().await {
                    report.objected(&objection);
                    let close = Close::new(POLICY_VIOLATION, format!("scope-shim: {objection}"));
                    let _ = exchange.client.close(Vec::new(), &close).await;
                    return Err(io::Error::new(io::ErrorKind::PermissionDenied, objection));
                }
                exchange.show_instead(&hello.of_delegated(claims));
                Ok(Ok(Delegated {
                    stop: stopped,
                    delegation,
                }))
            }
            Answered::Refused { message, refusal } => Ok(Err(Some((message, refusal)))),
            Answered::Nothing => Ok(Err(None)),
            Answered::Left => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// What somebody reads whose command does not try again by itself.
const SWITCHED_OFF: &str = "scope-shim: please try again; it was switched off meanwhile";
