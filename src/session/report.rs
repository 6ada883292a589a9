//! One line a session: who, what was asked, approved and decided, why, and what came of it.

use std::mem::take;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use super::Session;
use super::id::SessionId;
use crate::clock;
use crate::config::Mode;
use crate::decide::{self, Decision};
use crate::diagnosis::Diagnosis;
use crate::engine::{Judgement, Would};
use crate::explain::{FindingTrace, Outcome, SessionTrace, Taken, Traces};
use crate::handshake::message::{Claims, Refusal};
use crate::identity::Identity;
use crate::scope::ScopeSet;
use crate::telemetry::{Found, Handshake};
use crate::text::{escaped, first};

/// What is written when the handshake is over, whatever way it ends.
#[derive(Debug)]
pub(super) struct Report<'a> {
    session: &'a Session,
    id: SessionId,
    at_ms: i64,
    mode: Mode,
    from: String,
    who: String,
    client: String,
    requested: String,
    approved: String,
    decision: String,
    why: String,
    /// What a user does not get of what the session asks for.
    unmapped: String,
    answer: String,
    finding: Option<Diagnosis>,
    outcome: Outcome,
    /// What `on` would have done, while the shim only observes.
    would: Option<Would>,
    /// Where the way to the decision is kept, and that way, as far as it went.
    trace: Option<(Traces, Box<Taken>)>,
    quiet: bool,
    started: Instant,
}

impl<'a> Report<'a> {
    pub(super) fn new(
        session: &'a Session,
        mode: Mode,
        claims: &Claims,
        judgement: &mut Judgement,
        started: Instant,
    ) -> Self {
        let verb = judgement.decision.as_str();
        Self {
            session,
            id: SessionId::next(),
            at_ms: clock::now_ms(),
            mode,
            from: session.client_address.to_string(),
            who: who(claims, &judgement.identity),
            client: client(claims),
            requested: claims.requested().to_string(),
            approved: match (&judgement.identity, decide::approved(&judgement.identity)) {
                (Identity::User { scopes, .. }, _) => scopes.to_string(),
                (_, Some(record)) => record.approved_scopes.to_string(),
                (_, None) => "unknown".to_owned(),
            },
            decision: match (mode, &judgement.decision) {
                (Mode::Observe, Decision::Rewrite(_)) => format!("would {verb}"),
                _ => verb.to_owned(),
            },
            why: judgement.decision.to_string(),
            unmapped: unmapped(claims, &judgement.identity),
            answer: "the client left".to_owned(),
            finding: None,
            outcome: Outcome::Left,
            would: match (mode, &judgement.decision) {
                (Mode::Observe, Decision::Rewrite(_)) => Some(Would::Rewrite),
                _ => None,
            },
            trace: session.engine.traces.clone().zip(judgement.taken.take()),
            quiet: false,
            started,
        }
    }

    pub(super) fn accepted(&mut self) {
        "hello-ok".clone_into(&mut self.answer);
        self.outcome = match self.decision.as_str() {
            "rewrite" => {
                self.why.push_str(&self.unmapped);
                Outcome::Delegated
            }
            _ => Outcome::Accepted,
        };
    }

    pub(super) fn refused(&mut self, refusal: &Refusal) {
        self.outcome = Outcome::Refused;
        let code = refusal.details_code.as_deref().unwrap_or(&refusal.code);
        self.answer = format!("{}: {}", escaped(code), escaped(&refusal.message));
    }

    /// The shim answered by itself, for the so-manieth time: told each time that the number has doubled.
    pub(super) fn repeated(&mut self, repeat: u32, refusal: &Refusal) {
        "answer".clone_into(&mut self.decision);
        self.why = format!("the gateway refused the same before; repeat {repeat}");
        self.quiet = !repeat.is_power_of_two();
        self.refused(refusal);
        self.outcome = Outcome::Repeated;
    }

    /// The shim asked for it to come back: it is no repeat as was expected, or was switched off under way.
    pub(super) fn sent_back(&mut self, because: &str) {
        self.outcome = Outcome::SentBack;
        "answer".clone_into(&mut self.decision);
        self.why = format!("{}; {because}", self.why);
    }

    /// The gateway accepted what its device, or the policy, did not cover any more by then.
    pub(super) fn objected(&mut self, objection: &str) {
        self.outcome = Outcome::Refused;
        self.answer = format!("scope-shim closed it: {objection}");
    }

    pub(super) fn diagnosed(&mut self, diagnosis: &Diagnosis) {
        self.finding = Some(diagnosis.clone());
    }

    /// Let in, with fewer scopes than asked for: said once, here.
    pub(super) fn degraded(&mut self, diagnosis: &Diagnosis) {
        self.outcome = Outcome::Degraded;
        self.diagnosed(diagnosis);
        warn!(
            session = %self.id,
            from = %self.from,
            client = %self.client,
            finding = %diagnosis.code,
            "degraded: {}",
            diagnosis.sentence
        );
    }

    /// What `on` would have done; what it would have done first is what counts.
    pub(super) fn would(&mut self, would: Would) {
        if self.mode == Mode::Observe {
            self.would.get_or_insert(would);
        }
    }

    pub(super) fn unanswered(&mut self) {
        self.outcome = Outcome::Unanswered;
        "none".clone_into(&mut self.answer);
    }

    pub(super) fn approved(&mut self, again: &Judgement) {
        self.healed(again);
        "its device was approved for more".clone_into(&mut self.why);
    }

    pub(super) fn healed(&mut self, again: &Judgement) {
        self.why = format!("{}{} ({})", again.decision, self.unmapped, self.answer);
        again.decision.as_str().clone_into(&mut self.decision);
        self.outcome = Outcome::Healed;
        if let (Some((_, taken)), Some(again)) = (&mut self.trace, &again.taken) {
            taken.steps.extend(again.steps.iter().cloned());
        }
        "hello-ok".clone_into(&mut self.answer);
        self.finding = None;
    }
}

impl Report<'_> {
    /// Leaves what `scope-shim explain` needs to tell how it came to this.
    fn keep_trace(&mut self, over: &Handshake) {
        let Some((traces, taken)) = self.trace.take() else {
            return;
        };
        traces.keep(&SessionTrace {
            session: over.session.clone(),
            at_ms: self.at_ms,
            ms: ms(over.took),
            mode: self.mode.as_str().to_owned(),
            address: over.from.clone(),
            case: taken.case,
            steps: taken.steps,
            decision: over.decision.clone(),
            why: over.why.clone(),
            answer: over.answer.clone(),
            would: self.would.as_ref().map(|would| brief(&would.to_string())),
            finding: self.finding.as_ref().map(|finding| {
                FindingTrace::new(finding.code, &finding.sentence, finding.command.as_deref())
            }),
            outcome: self.outcome,
        });
    }

    /// As it is shown to people.
    fn handshake(&mut self) -> Handshake {
        Handshake {
            session: self.id.to_string(),
            at_ms: self.at_ms,
            took: self.started.elapsed(),
            from: take(&mut self.from),
            who: take(&mut self.who),
            client: take(&mut self.client),
            requested: brief(&self.requested),
            approved: take(&mut self.approved),
            decision: take(&mut self.decision),
            why: brief(&self.why),
            answer: brief(&self.answer),
            outcome: self.outcome,
            finding: self.finding.as_ref().map(Found::new),
        }
    }
}

impl Drop for Report<'_> {
    fn drop(&mut self) {
        if self.mode == Mode::Observe {
            self.session
                .engine
                .mode
                .observed()
                .note(self.would.as_ref());
        }
        let over = self.handshake();
        let telemetry = &self.session.engine.telemetry;
        let over = telemetry.handshake(&self.session.row, over);
        if self.quiet {
            return;
        }
        self.keep_trace(&over);
        info!(
            session = %over.session,
            from = %over.from,
            who = %over.who,
            client = %over.client,
            requested = %over.requested,
            approved = %over.approved,
            decision = %over.decision,
            why = %over.why,
            answer = %over.answer,
            on_would = self.would.as_ref().map(tracing::field::display),
            finding = self.finding.as_ref().map(|finding| tracing::field::display(finding.code)),
            fix = self.finding.as_ref().and_then(|finding| finding.command.as_deref()).map(tracing::field::display),
            ms = ms(over.took),
            "session"
        );
    }
}

fn who(claims: &Claims, identity: &Identity) -> String {
    match (identity, &claims.device) {
        (Identity::HostDevice(record), _) => {
            format!("no device, as this host's {}", record.device_id.short())
        }
        (Identity::User { name, .. }, _) => {
            format!("user {}", escaped(first(name, LONGEST_NAME)))
        }
        (Identity::FreshLocal, _) => "no device, local".to_owned(),
        (_, None) => "no device".to_owned(),
        (Identity::Unknown(_), Some(device)) => {
            format!("unverified {}", escaped(first(&device.id, 12)))
        }
        (Identity::Device { record, .. }, Some(_)) => record.device_id.short(),
    }
}

/// One number for the log and for `explain`.
fn ms(took: Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}

/// A page asks for everything that a page may need, whoever sits before it: what is repaired is the user's part of it.
fn unmapped(claims: &Claims, identity: &Identity) -> String {
    let Identity::User { scopes, .. } = identity else {
        return String::new();
    };
    let requested = claims.requested();
    let unmapped = requested.iter().filter(|scope| !scopes.implies(scope));
    let unmapped: ScopeSet = unmapped.collect();
    match unmapped.is_empty() {
        true => String::new(),
        false => format!("; in part: policy.users does not give this user {unmapped}"),
    }
}

fn client(claims: &Claims) -> String {
    let version = claims.client_version.as_deref().unwrap_or("?");
    let name = format!("{}/{} {}", claims.client_id, claims.client_mode, version);
    escaped(first(&name, LONGEST_NAME)).to_string()
}

const LONGEST_NAME: usize = 80;
/// At most so much of what a client or gateway may have sent.
fn brief(text: &str) -> String {
    first(text, LONGEST_KEPT).to_owned()
}

/// In characters.
const LONGEST_KEPT: usize = 600;
