//! A session whose device holds too little: approved for more while its handshake waits.

use std::io;

use tokio::time::Instant;

use super::Session;
use crate::approver::{self, Asking};
use crate::engine::Judgement;
use crate::handshake::drive::Exchange;
use crate::handshake::message::{Claims, Refusal};

impl Session {
    /// The same session, after its device was approved for more: by policy at once, or by somebody while it waits.
    pub(super) async fn approval(
        &self,
        exchange: &mut Exchange<'_>,
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
            && let Some(patience) = self.engine.rules().policy.wait_for_approval
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
}
