//! One line a session: who, what was asked, approved and decided, why, and what came of it.

use tokio::time::Instant;
use tracing::info;

use super::Session;
use crate::config::Mode;
use crate::decide::{self, Decision};
use crate::diagnosis::Diagnosis;
use crate::engine::Judgement;
use crate::handshake::message::{Claims, Refusal};
use crate::identity::Identity;

/// What is written when the handshake is over, whatever way it ends.
#[derive(Debug)]
pub(super) struct Report {
    from: String,
    who: String,
    client: String,
    requested: String,
    approved: String,
    decision: String,
    why: String,
    answer: String,
    finding: Option<Diagnosis>,
    quiet: bool,
    started: Instant,
}

impl Report {
    pub(super) fn new(
        session: &Session,
        mode: Mode,
        claims: &Claims,
        judgement: &Judgement,
        started: Instant,
    ) -> Self {
        let verb = judgement.decision.as_str();
        Self {
            from: session.client_address.to_string(),
            who: who(claims, &judgement.identity),
            client: client(claims),
            requested: claims.requested().to_string(),
            approved: match decide::approved(&judgement.identity) {
                Some(record) => record.approved_scopes.to_string(),
                None => "unknown".to_owned(),
            },
            decision: match (mode, &judgement.decision) {
                (Mode::Observe, Decision::Rewrite(_)) => format!("would {verb}"),
                _ => verb.to_owned(),
            },
            why: judgement.decision.to_string(),
            answer: "the client left".to_owned(),
            finding: None,
            quiet: false,
            started,
        }
    }

    pub(super) fn accepted(&mut self) {
        "hello-ok".clone_into(&mut self.answer);
    }

    pub(super) fn refused(&mut self, refusal: &Refusal) {
        let code = refusal.details_code.as_deref().unwrap_or(&refusal.code);
        self.answer = format!(
            "{}: {}",
            code.escape_debug(),
            refusal.message.escape_debug()
        );
    }

    /// The shim answered by itself, for the so-manieth time: told each time that the number has doubled.
    pub(super) fn repeated(&mut self, repeat: u32, refusal: &Refusal) {
        "answer".clone_into(&mut self.decision);
        self.why = format!("the gateway refused the same before; repeat {repeat}");
        self.quiet = !repeat.is_power_of_two();
        self.refused(refusal);
    }

    /// The shim expected a repeat, and this was none.
    pub(super) fn sent_back(&mut self) {
        "answer".clone_into(&mut self.decision);
        self.why = format!(
            "{}; asked to come back, to speak with the gateway",
            self.why
        );
    }

    pub(super) fn diagnosed(&mut self, diagnosis: &Diagnosis) {
        self.finding = Some(diagnosis.clone());
    }

    pub(super) fn unanswered(&mut self) {
        "none".clone_into(&mut self.answer);
    }

    pub(super) fn healed(&mut self, again: &Decision) {
        self.why = format!("{again} ({})", self.answer);
        again.as_str().clone_into(&mut self.decision);
        "hello-ok".clone_into(&mut self.answer);
        self.finding = None;
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        if self.quiet {
            return;
        }
        info!(
            from = %self.from,
            who = %self.who,
            client = %self.client,
            requested = %self.requested,
            approved = %self.approved,
            decision = %self.decision,
            why = %self.why,
            answer = %self.answer,
            finding = self.finding.as_ref().map(|finding| tracing::field::display(finding.code)),
            fix = self.finding.as_ref().and_then(|finding| finding.command.as_deref()).map(tracing::field::display),
            ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            "session"
        );
    }
}

fn who(claims: &Claims, identity: &Identity) -> String {
    match (identity, &claims.device) {
        (Identity::HostDevice(record), _) => {
            format!("no device, as this host's {}", record.device_id.short())
        }
        (Identity::FreshLocal, _) => "no device, local".to_owned(),
        (_, None) => "no device".to_owned(),
        (Identity::Unknown(_), Some(device)) => {
            format!(
                "unverified {}",
                device
                    .id
                    .chars()
                    .take(12)
                    .collect::<String>()
                    .escape_debug()
            )
        }
        (Identity::Device { record, .. }, Some(_)) => record.device_id.short(),
    }
}

fn client(claims: &Claims) -> String {
    let version = claims.client_version.as_deref().unwrap_or("?");
    format!("{}/{} {}", claims.client_id, claims.client_mode, version)
        .chars()
        .take(LONGEST_NAME)
        .collect::<String>()
        .escape_debug()
        .to_string()
}

const LONGEST_NAME: usize = 80;
