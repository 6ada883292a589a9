//! A session that the gateway refused, or let in with too little, although it is entitled: asked for once more.

use std::io;
use std::sync::Arc;

use tokio::time::timeout_at;
use tracing::Instrument as _;

use super::delegate::Delegated;
use super::report::Report;
use super::{Established, Refused, Session};
use crate::decide::Decision;
use crate::engine::Judgement;
use crate::handshake::drive::{Exchange, Request};
use crate::handshake::message::Refusal;
use crate::identity::{Credential, Identity};
use crate::profile::Profile;

impl Session {
    /// The gateway refused: healed where the session is entitled, or becomes so; else explained.
    pub(super) async fn refused(
        &self,
        mut exchange: Exchange<'_>,
        request: &Request,
        judgement: &Judgement,
        refused: Refused,
        report: &mut Report<'_>,
    ) -> io::Result<Option<Established>> {
        let claims = &request.connect.claims;
        if self.may_heal(&refused, judgement) {
            let healing = self.heal(&mut exchange, request, judgement, report).await?;
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
            let healing = self.heal(&mut exchange, request, &widened, report).await?;
            if let Some((again, delegated)) = healing {
                report.approved(&again);
                return Ok(Established::delegated(exchange, delegated));
            }
        }
        let diagnosis = self.explain(request, judgement, &refused, report).await;
        self.tell(exchange, request, refused, &diagnosis).await
    }

    /// Asks once more in the delegate's name, on a connection of its own; the client never notices. `None` where that
    /// is not allowed, or fails too; then the gateway's first answer still lies unread.
    pub(super) async fn heal(
        &self,
        exchange: &mut Exchange<'_>,
        request: &Request,
        judgement: &Judgement,
        report: &mut Report<'_>,
    ) -> io::Result<Option<(Judgement, Delegated)>> {
        let again = self.again(request, judgement);
        if !matches!(again.decision, Decision::Rewrite(_)) {
            return Ok(None);
        }
        let deadline = exchange.deadline();
        let Ok(Ok(mut fresh)) = timeout_at(deadline, self.redial.open()).await else {
            return Ok(None);
        };
        let Ok(Some(nonce)) = Exchange::fresh_nonce(&mut fresh, deadline).await else {
            return Ok(None);
        };
        if self.engine.control.standing().is_retired() {
            return Ok(None);
        }
        let first = std::mem::replace(&mut exchange.gateway, fresh);
        let connect = self.narrowed(request, judgement);
        let message = self.rewritten(&connect, judgement, &nonce);
        let sent = exchange.send_message(&message).await;
        if sent.is_ok()
            && let Ok(delegated) = self.accepted(exchange, &connect, judgement, report).await?
        {
            return Ok(Some((again, delegated)));
        }
        exchange.gateway = first;
        Ok(None)
    }

    /// Whether it is a refusal that this session should not have met.
    pub(super) fn may_heal(&self, refused: &Refused, judgement: &Judgement) -> bool {
        let profile = self.engine.control.standing().profile;
        may_be_healed(&refused.refusal, &judgement.identity, &profile)
    }

    /// Whether the delegate may ask for it after all.
    pub(super) fn may_ask_again(&self, request: &Request, judgement: &Judgement) -> bool {
        matches!(
            self.again(request, judgement).decision,
            Decision::Rewrite(_)
        )
    }

    fn again(&self, request: &Request, judgement: &Judgement) -> Judgement {
        let claims = &request.connect.claims;
        self.engine
            .judge_again(claims, &judgement.identity, &self.visit)
    }

    /// The refused first attempt may have left a pairing request that nobody needs any more.
    fn withdraw(&self, refusal: &Refusal, judgement: &Judgement) {
        if let (Some(request_id), Identity::Device { record, .. }) =
            (refusal.request_id.clone(), &judgement.identity)
        {
            let (engine, record) = (Arc::clone(&self.engine), Arc::clone(record));
            let withdrawal = async move {
                engine
                    .withdraw(&request_id, &record.device_id, &record.approved_scopes)
                    .await;
            };
            tokio::spawn(withdrawal.in_current_span());
        }
    }
}

/// Whether a refusal is one that an entitled session should not have met: a wider scope, another platform, or a
/// token of its own that was found too narrow.
///
/// A token that does not hold any more is refused for good reason. Where the gateway has no word of its own for one that
/// is only too narrow, it cannot be any other: it is the one that the store has.
fn may_be_healed(refusal: &Refusal, identity: &Identity, profile: &Profile) -> bool {
    match identity {
        Identity::Device { credential, .. } => {
            let upgrade = matches!(
                refusal.reason.as_deref(),
                None | Some("scope-upgrade" | "metadata-upgrade")
            );
            let narrow = match profile.judges_device_tokens() {
                true => refusal.says_token_is_narrow(),
                false => refusal.blames_device_token(),
            };
            (refusal.wants_pairing() && upgrade)
                || (narrow && *credential == Credential::DeviceToken)
        }
        Identity::User { .. }
        | Identity::HostDevice(_)
        | Identity::FreshLocal
        | Identity::Unknown(_) => false,
    }
}
