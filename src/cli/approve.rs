//! `scope-shim approve`: what waits for somebody, and the approval of it.

pub mod through;

use std::fmt::Write as _;

use clap::Args;
use serde_json::{Value, json};

use super::phrase::{self, row};
use super::unchanged::{Way, way};
use super::{ExitStatus, Said, Settings, Style};
use crate::app::Failure;
use crate::approval::{Approved, Candidate, Listing, approve_unchanged, look};
use crate::audit::{Audit, Rule};
use crate::clock;
use crate::config::Config;
use crate::control::{self, Once};
use crate::device::DeviceId;
use crate::engine::HostDevice;
use crate::scope::ScopeSet;
use crate::text::{ago, safe};

/// What to approve.
#[derive(Args, Debug)]
pub struct Approve {
    #[command(flatten)]
    #[expect(missing_docs, reason = "it would be shown as help")]
    pub settings: Settings,

    /// The request to approve, or the beginning of its id; without one, what waits is listed, and nothing changes
    #[arg(value_name = "ID")]
    pub id: Option<String>,

    /// Approve everything that paired operators of this machine ask for, and this machine's own device
    #[arg(long, conflicts_with = "id")]
    pub all_local: bool,

    /// Write JSON
    #[arg(long)]
    pub json: bool,
}

/// Lists or approves what waits.
///
/// # Errors
///
/// When the gateway cannot be asked, or the request that was named is not approved.
pub async fn run(config: &Config, options: &Approve, style: Style) -> Result<Said, Failure> {
    let mut command = Command {
        config,
        options,
        style,
        gateway: String::new(),
        audit: Audit::new(&config.data),
    };
    let lists = options.id.is_none() && !options.all_local;
    if lists && let Way::Store(stored) = way(config).await? {
        command.gateway = stored.gateway;
        return Ok(command.listed(&stored.listing));
    }
    let settings = control::Settings::from_config(config)?;
    let mut session = Once::open(&settings).await?;
    command.gateway = format!(
        "{} at {}",
        session.profile(),
        config.gateway.url.authority()
    );
    let said = match &options.id {
        Some(id) => command.approve_one(&mut session, id).await,
        None if options.all_local => command.approve_local(&mut session).await,
        None => Ok(command.listed(&look(&mut session).await?)),
    };
    session.close().await;
    said
}

struct Command<'a> {
    config: &'a Config,
    options: &'a Approve,
    style: Style,
    gateway: String,
    audit: Audit,
}

/// One request, and what became of it.
struct Treated {
    candidate: Candidate,
    outcome: Outcome,
}

enum Outcome {
    Approved(Approved),
    /// By decision.
    Left(String),
    Failed(String),
}

impl Command<'_> {
    fn listed(&self, listing: &Listing) -> Said {
        let waiting = Candidate::all(listing);
        let text = if self.options.json {
            let pending: Vec<Value> = waiting.iter().map(|one| self.as_json(one)).collect();
            pretty(&json!({"gateway": self.gateway, "pending": pending}))
        } else {
            self.as_text(&waiting)
        };
        Said {
            text,
            status: ExitStatus::Ok,
        }
    }

    fn as_text(&self, waiting: &[Candidate]) -> String {
        if waiting.is_empty() {
            return format!("No pairing request waits ({}).\n", self.gateway);
        }
        let number = match waiting.len() {
            1 => "1 pairing request waits".to_owned(),
            many => format!("{many} pairing requests wait"),
        };
        let mut text = format!("{number} ({}).\n", self.gateway);
        for candidate in waiting {
            self.block(&mut text, candidate);
        }
        text
    }

    fn block(&self, text: &mut String, candidate: &Candidate) {
        let request = &candidate.request;
        let id = safe(&request.request_id);
        let _ = writeln!(text, "\n{}", self.style.strong(id));
        let mut row = |name: &str, value: &str| row(text, self.style, name, value);
        row("device", &device(candidate));
        row("client", &client(candidate));
        // By the gateway's clock, which is this machine's as a rule.
        let filed = request.ts_ms.map(|filed| ago(clock::now_ms(), filed));
        let filed = filed.map_or_else(String::new, |ago| format!(", {ago}"));
        row("from", &format!("{}{filed}", phrase::origin(candidate)));
        row("role", &safe(&request.roles.join(", ")));
        row("asks for", &request.scopes.to_string());
        row("approved", &held(candidate));
        row("missing", &candidate.missing().to_string());
        row("grants", &candidate.granted().to_string());
        match phrase::objection(candidate, self.config) {
            Some(objection) => row("refused", &self.style.doubtful(objection)),
            None => row("approve", &self.command(&request.request_id)),
        }
    }

    fn as_json(&self, candidate: &Candidate) -> Value {
        let request = &candidate.request;
        json!({
            "requestId": request.request_id,
            "deviceId": request.device_id.as_str(),
            "displayName": candidate.request.display_name,
            "clientId": request.client_id,
            "clientMode": request.client_mode,
            "platform": request.platform,
            "local": candidate.is_from_here(),
            "remoteIp": request.remote_ip,
            "filedAtMs": request.ts_ms,
            "roles": request.roles,
            "asked": names(&request.scopes),
            "approved": candidate.record.as_ref().map(|record| names(&record.approved_scopes)),
            "missing": names(&candidate.missing()),
            "grants": names(&candidate.granted()),
            "refused": phrase::objection(candidate, self.config),
            "command": self.command(&request.request_id),
        })
    }

    async fn approve_one(&self, session: &mut Once, id: &str) -> Result<Said, Failure> {
        let listing = look(session).await?;
        let waiting = Candidate::all(&listing);
        let candidate = match named(&waiting, id).as_slice() {
            [only] => *only,
            [] => return Err(self.unknown(id, &waiting).into()),
            several => return Err(self.ambiguous(id, several).into()),
        };
        let id = &candidate.request.request_id;
        if let Some(objection) = phrase::objection(candidate, self.config) {
            return Err(format!("request {} is not approved: {objection}", safe(id)).into());
        }
        let approved = approve_unchanged(session, &self.audit, Rule::Command, candidate)
            .await
            .map_err(|why| format!("request {} is not approved: {why}", safe(id)))?;
        let treated = Treated {
            candidate: candidate.clone(),
            outcome: Outcome::Approved(approved),
        };
        Ok(self.said(&[treated]))
    }

    fn ambiguous(&self, id: &str, several: &[&Candidate]) -> String {
        let mut text = format!("several requests that wait begin with {}", safe(id));
        for candidate in several {
            self.line(&mut text, candidate);
        }
        text
    }

    /// Nobody knows what an id that is gone was about, but usually it is the only other one.
    fn unknown(&self, id: &str, waiting: &[Candidate]) -> String {
        let id_shown = safe(id);
        let mut text = match self.audit.rule_of(id) {
            Some(rule) => format!(
                "request {id_shown} does not wait: scope-shim has approved it already (rule {})",
                safe(&rule)
            ),
            None if id.len() < WHOLE_ID => format!(
                "no request that waits begins with {id_shown}; give at least {FEWEST} characters of its id"
            ),
            None => format!(
                "no request {id_shown} waits: it was approved, rejected or given up, or the client asked again and \
                 another took its place"
            ),
        };
        if waiting.is_empty() {
            text.push_str("; nothing waits now: have the client try again");
        }
        for candidate in waiting {
            self.line(&mut text, candidate);
        }
        text
    }

    fn line(&self, text: &mut String, candidate: &Candidate) {
        let _ = write!(
            text,
            "\n  waits: {}, device {}, asks for {}: {}",
            client(candidate),
            safe(&candidate.request.device_id.short()),
            candidate.request.scopes,
            self.command(&candidate.request.request_id)
        );
    }

    async fn approve_local(&self, session: &mut Once) -> Result<Said, Failure> {
        let host = HostDevice::new(self.config.gateway.state.clone());
        // Without a readable identity no first pairing counts as this machine's own.
        let host = host.id().await.unwrap_or_default();
        let mut treated = Vec::new();
        let first = look(session).await?;
        for request in &first.waiting {
            // What came before may have changed what this device holds.
            let listing = look(session).await?;
            if let Some(candidate) = again(&listing, &request.request_id) {
                let outcome = self.treat(session, &candidate, host.as_ref()).await;
                treated.push(Treated { candidate, outcome });
            }
        }
        let mut said = self.said(&treated);
        if treated.is_empty() && !self.options.json {
            said.text = self.as_text(&[]);
        }
        Ok(said)
    }

    async fn treat(
        &self,
        session: &mut Once,
        candidate: &Candidate,
        host: Option<&DeviceId>,
    ) -> Outcome {
        if !candidate.is_local_operator(host) {
            let command = self.command(&candidate.request.request_id);
            let why = beyond_local(candidate);
            return Outcome::Left(format!("{why}; to approve it all the same: {command}"));
        }
        if let Some(objection) = phrase::objection(candidate, self.config) {
            return Outcome::Left(objection);
        }
        match approve_unchanged(session, &self.audit, Rule::Command, candidate).await {
            Ok(approved) => Outcome::Approved(approved),
            Err(why) => Outcome::Failed(why.to_string()),
        }
    }

    fn said(&self, treated: &[Treated]) -> Said {
        let failed = |one: &Treated| matches!(one.outcome, Outcome::Failed(_));
        let status = if treated.iter().any(failed) {
            ExitStatus::Failure
        } else {
            ExitStatus::Ok
        };
        let text = if self.options.json {
            pretty(&self.outcome_json(treated))
        } else {
            treated.iter().map(|one| self.outcome_text(one)).collect()
        };
        Said { text, status }
    }

    fn outcome_text(&self, treated: &Treated) -> String {
        let candidate = &treated.candidate;
        let id = safe(&candidate.request.request_id);
        let who = format!("{}, device {}", client(candidate), device(candidate));
        let (label, approved) = match &treated.outcome {
            Outcome::Approved(approved) => (self.style.good("approved:"), Ok(approved)),
            Outcome::Left(why) => (self.style.doubtful("left alone:"), Err(why)),
            Outcome::Failed(why) => (self.style.bad("not approved:"), Err(why)),
        };
        let mut text = format!("{label} {id} ({who})\n");
        let approved = match approved {
            Ok(approved) => approved,
            Err(why) => {
                let _ = writeln!(text, "  {why}");
                return text;
            }
        };
        row(&mut text, self.style, "before", &held(candidate));
        let roles = approved.roles.join(", ");
        let after = format!("{} as {}", approved.after, safe(&roles));
        row(&mut text, self.style, "after", &after);
        row(&mut text, self.style, "next", candidate.next_step());
        text
    }

    fn outcome_json(&self, treated: &[Treated]) -> Value {
        let requests: Vec<Value> = treated.iter().map(one_as_json).collect();
        json!({"gateway": self.gateway, "requests": requests})
    }

    fn command(&self, id: &str) -> String {
        self.config.command(&["approve", id])
    }
}

/// The request of that id, or those whose ids begin so.
fn named<'c>(waiting: &'c [Candidate], id: &str) -> Vec<&'c Candidate> {
    let whole = waiting.iter().find(|one| one.request.request_id == id);
    match whole {
        Some(whole) => vec![whole],
        None if id.len() < FEWEST => Vec::new(),
        None => {
            let begins = |one: &&Candidate| one.request.request_id.starts_with(id);
            waiting.iter().filter(begins).collect()
        }
    }
}

fn again(listing: &Listing, id: &str) -> Option<Candidate> {
    Candidate::all(listing)
        .into_iter()
        .find(|candidate| candidate.request.request_id == id)
}

fn beyond_local(candidate: &Candidate) -> &'static str {
    if !candidate.is_from_here() {
        "it came from another machine"
    } else if !candidate.request.is_operator() {
        "it asks for another role than operator"
    } else if candidate.request.scopes.is_empty() {
        "it asks for no scope"
    } else {
        "its device is not paired yet, and is not this machine's own"
    }
}

fn client(candidate: &Candidate) -> String {
    let request = &candidate.request;
    phrase::client(
        request.client_id.as_deref(),
        request.client_mode.as_deref(),
        request.platform.as_deref(),
    )
}

fn device(candidate: &Candidate) -> String {
    let record = candidate.record.as_ref();
    let name = candidate.request.display_name.as_deref();
    let name = name.or_else(|| record?.display_name.as_deref());
    phrase::device(&candidate.request.device_id, name)
}

fn held(candidate: &Candidate) -> String {
    match &candidate.record {
        Some(record) => record.approved_scopes.to_string(),
        None => "not paired".to_owned(),
    }
}

fn names(scopes: &ScopeSet) -> Vec<&str> {
    scopes.iter().collect()
}

fn one_as_json(treated: &Treated) -> Value {
    let request = &treated.candidate.request;
    let (outcome, approved, why) = match &treated.outcome {
        Outcome::Approved(approved) => ("approved", Some(approved), None),
        Outcome::Left(why) => ("left", None, Some(why)),
        Outcome::Failed(why) => ("failed", None, Some(why)),
    };
    json!({
        "requestId": request.request_id,
        "deviceId": request.device_id.as_str(),
        "clientId": request.client_id,
        "outcome": outcome,
        "before": treated.candidate.record.as_ref().map(|record| names(&record.approved_scopes)),
        "after": approved.map(|approved| names(&approved.after)),
        "roles": approved.map(|approved| &approved.roles),
        "next": approved.map(|_| treated.candidate.next_step()),
        "why": why,
    })
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

/// So many characters of an id are more than a slip.
const FEWEST: usize = 4;
/// The ids that gateways give are UUIDs.
const WHOLE_ID: usize = 36;
