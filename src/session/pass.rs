//! A session that goes on as its client wrote it: the gateway decides, and its answer is looked at.

use std::io;

use serde_json::Value;

use super::report::Report;
use super::{Established, Refused, Session};
use crate::config::Mode;
use crate::diagnosis::degraded;
use crate::engine::{Judgement, Would};
use crate::handshake::drive::{Answered, Exchange, Request};
use crate::identity::Identity;
use crate::relay::Tap;
use crate::scope::ScopeSet;
use crate::ws::close::POLICY_VIOLATION;

impl Session {
    /// The client's own bytes go on; what the gateway answers is looked at, and healed where it can be.
    pub(super) async fn pass(
        &self,
        mode: Mode,
        mut exchange: Exchange<'_>,
        request: &Request,
        judgement: &Judgement,
        report: &mut Report<'_>,
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
                self.heard(&request.connect).await;
                let lacks = lacks_scopes(hello.told(), &claims.requested(), &judgement.identity);
                if mode == Mode::Observe && lacks && self.may_ask_again(request, judgement) {
                    report.would(Would::Heal);
                }
                if mode == Mode::On && lacks {
                    let healing =
                        Box::pin(self.heal(&mut exchange, request, judgement, report)).await?;
                    if let Some((again, delegated)) = healing {
                        report.healed(&again);
                        self.engine.learn(None, claims);
                        return Ok(Established::delegated(exchange, delegated));
                    }
                }
                let tap = self.degraded(mode, request, judgement, hello.told(), report);
                Ok(Established::degraded(exchange, tap))
            }
            Answered::Refused { message, refusal } => {
                report.refused(&refusal);
                let refused = Refused {
                    message,
                    refusal,
                    delegated: false,
                    waiting: None,
                };
                if mode != Mode::On {
                    Box::pin(self.observe(request, judgement, &refused, report)).await;
                    return Ok(Established::as_it_is(exchange));
                }
                Box::pin(self.refused(exchange, request, judgement, refused, report)).await
            }
        }
    }

    /// Finds out what `on` would have made of a refusal, beside what the client gets: the gateway's own words.
    async fn observe(
        &self,
        request: &Request,
        judgement: &Judgement,
        refused: &Refused,
        report: &mut Report<'_>,
    ) {
        if self.may_heal(refused, judgement) && self.may_ask_again(request, judgement) {
            report.would(Would::Heal);
        }
        let diagnosis = self.explain(request, judgement, refused, report).await;
        report.would(Would::Tell(diagnosis.sentence));
        self.remember(&request.connect, refused, POLICY_VIOLATION)
            .await;
    }

    /// Tells, once, of a session that was let in with fewer scopes than it asked for, and sees to it that its client
    /// is told too. Observing changes no answer.
    fn degraded(
        &self,
        mode: Mode,
        request: &Request,
        judgement: &Judgement,
        hello: &Value,
        report: &mut Report<'_>,
    ) -> Option<Tap> {
        let diagnosis = degraded::diagnose(&degraded::Case {
            claims: &request.connect.claims,
            decision: &judgement.decision,
            mode,
            visit: &self.visit,
            address: self.client_address,
            auth: &self.engine.rules().auth,
            hello,
        })?;
        report.degraded(&diagnosis);
        report.would(Would::Explain(diagnosis.sentence.clone()));
        (mode == Mode::On).then(|| Tap::new(&diagnosis))
    }
}

/// Whether a session without a device, or with a user's that is not paired, was let in with fewer scopes than it asked
/// for.
///
/// From 2026.4.21 `hello-ok.auth.scopes` says what such a connection holds. For a device it is the token's list up to
/// 2026.7.1, and says nothing of the connection.
fn lacks_scopes(hello: &Value, requested: &ScopeSet, identity: &Identity) -> bool {
    let has_no_token = matches!(
        identity,
        Identity::User { .. } | Identity::HostDevice(_) | Identity::FreshLocal
    );
    let Some(granted) = hello
        .pointer("/payload/auth/scopes")
        .and_then(Value::as_array)
    else {
        return false;
    };
    let granted: ScopeSet = granted.iter().filter_map(Value::as_str).collect();
    has_no_token && !granted.implies_all(requested)
}
