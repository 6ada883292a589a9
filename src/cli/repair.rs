//! `scope-shim repair`: for all devices at once, what the reporter of #23006 did by hand.

use std::fmt::Write as _;

use clap::Args;
use serde_json::{Value, json};

use super::phrase::{self, row};
use super::unchanged::{Stored, Way, way};
use super::{ExitStatus, Said, Settings, Style};
use crate::app::Failure;
use crate::approval::look;
use crate::audit::Audit;
use crate::config::Config;
use crate::control::{self, Once};
use crate::delegate::Delegate;
use crate::findings::Code;
use crate::profile::{Profile, ScopeCheck};
use crate::repair::{Carried, Note, Plan, Reason, Step, carry_out, plan};
use crate::scope::ScopeSet;
use crate::text::count;

/// Whether to do it.
#[derive(Args, Debug)]
pub struct Repair {
    #[command(flatten)]
    #[expect(missing_docs, reason = "it would be shown as help")]
    pub settings: Settings,

    /// Do it; without this, what would be done is shown and nothing is changed
    #[arg(long)]
    pub apply: bool,

    /// Write JSON
    #[arg(long)]
    pub json: bool,
}

/// Shows what can be repaired, or repairs it.
///
/// # Errors
///
/// When the gateway cannot be asked.
pub async fn run(config: &Config, options: &Repair, style: Style) -> Result<Said, Failure> {
    // Looking must not pair the shim's own device.
    if !options.apply
        && let Way::Store(stored) = way(config).await?
    {
        let Stored {
            listing,
            profile,
            gateway,
        } = *stored;
        let own = Delegate::load(&config.data)?;
        let own = own.map(|delegate| delegate.device_id());
        let plan = plan(&listing, &profile, &config.policy, own.as_ref());
        return Ok(Report::of(plan, gateway, &profile, config, style).said(options));
    }
    let settings = control::Settings::from_config(config)?;
    let mut session = Once::open(&settings).await?;
    let said = repair(&mut session, &settings, config, options, style).await;
    session.close().await;
    said
}

async fn repair(
    session: &mut Once,
    settings: &control::Settings,
    config: &Config,
    options: &Repair,
    style: Style,
) -> Result<Said, Failure> {
    let own = settings.delegate.device_id();
    let listing = look(session).await?;
    let profile = session.profile().clone();
    let plan = plan(&listing, &profile, &config.policy, Some(&own));
    let gateway = format!("{profile} at {}", config.gateway.url.authority());
    let mut report = Report::of(plan, gateway, &profile, config, style);
    if options.apply {
        report.outcomes = Some(apply(session, &Audit::new(&config.data), &report.plan).await);
    }
    Ok(report.said(options))
}

/// Once the gateway has left a record without the names that it was to get, it is not asked for others.
async fn apply(session: &mut Once, audit: &Audit, plan: &Plan) -> Vec<Result<Carried, String>> {
    let mut outcomes: Vec<Result<Carried, String>> = Vec::new();
    let mut adds_no_names = false;
    for step in &plan.steps {
        let outcome = if adds_no_names && step.needs_only_names() {
            Ok(Carried::nothing(step))
        } else {
            carry_out(session, audit, step).await
        };
        adds_no_names |= outcome.as_ref().is_ok_and(|carried| carried.names_refused);
        outcomes.push(outcome);
    }
    outcomes
}

/// An early gateway that does not say its version may be 2026.2.21, which only an approval lets add scopes.
fn may_refuse_names(profile: &Profile) -> bool {
    profile.version.is_none() && profile.scope_check == ScopeCheck::Literal
}

struct Report {
    gateway: String,
    unsure: bool,
    plan: Plan,
    /// One a step; `None` where nothing was to be done yet.
    outcomes: Option<Vec<Result<Carried, String>>>,
    /// The command that does it.
    again: String,
    style: Style,
}

impl Report {
    /// Of what would be done.
    fn of(plan: Plan, gateway: String, profile: &Profile, config: &Config, style: Style) -> Self {
        let again = &["repair", "--apply"];
        Self {
            gateway,
            unsure: may_refuse_names(profile),
            plan,
            outcomes: None,
            again: config.command(again),
            style,
        }
    }

    fn said(&self, options: &Repair) -> Said {
        Said {
            status: self.status(),
            text: if options.json {
                format!("{:#}\n", self.as_json())
            } else {
                self.as_text()
            },
        }
    }

    fn status(&self) -> ExitStatus {
        match &self.outcomes {
            None if self.plan.steps.is_empty() => ExitStatus::Ok,
            None => ExitStatus::Findings,
            Some(outcomes) if outcomes.iter().all(Result::is_ok) => ExitStatus::Ok,
            Some(_) => ExitStatus::Failure,
        }
    }

    fn as_text(&self) -> String {
        let number = self.plan.steps.len();
        let mut text = match (number, &self.outcomes) {
            (0, _) => format!("Nothing to repair ({}).\n", self.gateway),
            (_, None) => {
                let number = count(number, "device");
                format!("{number} can be repaired ({}).\n", self.gateway)
            }
            (_, Some(_)) => format!("{}\n", self.gateway),
        };
        for (index, step) in self.plan.steps.iter().enumerate() {
            let outcome = self
                .outcomes
                .as_ref()
                .and_then(|outcomes| outcomes.get(index));
            self.step(&mut text, step, outcome);
        }
        for note in &self.plan.notes {
            self.note(&mut text, note);
        }
        if number > 0 && self.outcomes.is_none() {
            let _ = writeln!(text, "\nNothing was changed. To do it: {}", self.again);
        }
        text
    }

    fn step(&self, text: &mut String, step: &Step, outcome: Option<&Result<Carried, String>>) {
        let label = match outcome {
            None => String::new(),
            Some(Ok(carried)) if carried.changed_something() && carried.names_refused => {
                format!("{} ", self.style.doubtful("in part:"))
            }
            Some(Ok(carried)) if carried.changed_something() => {
                format!("{} ", self.style.good("repaired:"))
            }
            Some(Ok(_)) => format!("{} ", self.style.doubtful("left alone:")),
            Some(Err(_)) => format!("{} ", self.style.bad("not repaired:")),
        };
        let who = self.style.strong(phrase::record(&step.record));
        let _ = writeln!(text, "\n{label}{who}");
        let mut row = |name: &str, value: &str| row(text, self.style, name, value);
        for reason in &step.reasons {
            row("because", &sentence(reason));
        }
        if let Some(Err(why)) = outcome {
            row("failed", why);
            return;
        }
        let carried = outcome.and_then(|outcome| outcome.as_ref().ok());
        let scopes = carried.map_or(&step.scopes, |carried| &carried.scopes);
        let token = match carried {
            Some(carried) => carried.token.as_ref(),
            None => step.rotate_to.as_ref().or(step.token.as_ref()),
        };
        row(
            "record",
            &change(Some(&step.record.approved_scopes), Some(scopes)),
        );
        row("token", &change(step.token.as_ref(), token));
        if carried.is_some_and(|carried| carried.names_refused) {
            row("but", crate::repair::Left::ApprovalOnly.as_str());
        } else if carried.is_none() && self.unsure && step.needs_names() {
            row("unless", UNLESS);
        }
        if carried.map_or_else(
            || replaces_token(step),
            |carried| carried.changed_something(),
        ) {
            row("next", NEXT);
        }
    }

    fn note(&self, text: &mut String, note: &Note) {
        let who = self.style.strong(phrase::record(&note.record));
        let _ = writeln!(text, "\n{} {who}", self.style.doubtful("left alone:"));
        for reason in &note.reasons {
            row(text, self.style, "although", &sentence(reason));
        }
        row(text, self.style, "because", note.why.as_str());
    }

    fn as_json(&self) -> Value {
        let devices: Vec<Value> = self
            .plan
            .steps
            .iter()
            .enumerate()
            .map(|(index, step)| {
                let outcome = self
                    .outcomes
                    .as_ref()
                    .and_then(|outcomes| outcomes.get(index));
                step_as_json(step, outcome)
            })
            .collect();
        let left: Vec<Value> = self.plan.notes.iter().map(note_as_json).collect();
        json!({
            "gateway": self.gateway,
            "applied": self.outcomes.is_some(),
            "devices": devices,
            "left": left,
        })
    }
}

fn replaces_token(step: &Step) -> bool {
    step.rotate_to.is_some() || !step.requests.is_empty()
}

fn sentence(reason: &Reason) -> String {
    match reason {
        Reason::Unnamed(scopes) => {
            format!(
                "the gateway compares scopes name by name, and its record implies {scopes} without naming it"
            )
        }
        Reason::Waits => "its request for what it holds already waits".to_owned(),
        Reason::NarrowToken(scopes) => format!("its token lacks {scopes}, which was approved"),
    }
}

const fn code(reason: &Reason) -> Code {
    match reason {
        Reason::Unnamed(_) => Code::LiteralScopes,
        Reason::Waits => Code::PendingRequest,
        Reason::NarrowToken(_) => Code::NarrowToken,
    }
}

fn change(before: Option<&ScopeSet>, after: Option<&ScopeSet>) -> String {
    let show = |scopes: Option<&ScopeSet>| {
        scopes.map_or_else(|| "no token".to_owned(), ToString::to_string)
    };
    if before == after {
        return format!("{} (stays)", show(after));
    }
    format!("{} -> {}", show(before), show(after))
}

fn step_as_json(step: &Step, outcome: Option<&Result<Carried, String>>) -> Value {
    let carried = outcome.and_then(|outcome| outcome.as_ref().ok());
    let (scopes, token) = match carried {
        Some(carried) => (&carried.scopes, carried.token.as_ref()),
        None => (
            &step.scopes,
            step.rotate_to.as_ref().or(step.token.as_ref()),
        ),
    };
    json!({
        "deviceId": step.record.device_id.as_str(),
        "displayName": step.record.display_name,
        "clientId": step.record.client_id,
        "clientMode": step.record.client_mode,
        "outcome": match outcome {
            None => "planned",
            Some(Ok(carried)) if carried.changed_something() && carried.names_refused => "in-part",
            Some(Ok(carried)) if carried.changed_something() => "repaired",
            Some(Ok(_)) => "left",
            Some(Err(_)) => "failed",
        },
        "findings": step.reasons.iter().map(finding).collect::<Vec<_>>(),
        "approves": step.requests.iter().map(|one| &one.request.request_id).collect::<Vec<_>>(),
        "rotates": carried.map_or_else(|| step.rotate_to.is_some(), |carried| carried.rotated),
        "before": {"scopes": names(&step.record.approved_scopes), "tokenScopes": step.token.as_ref().map(names)},
        "after": {"scopes": names(scopes), "tokenScopes": token.map(names)},
        "why": outcome.and_then(|outcome| outcome.as_ref().err()),
    })
}

fn note_as_json(note: &Note) -> Value {
    json!({
        "deviceId": note.record.device_id.as_str(),
        "displayName": note.record.display_name,
        "clientId": note.record.client_id,
        "clientMode": note.record.client_mode,
        "findings": note.reasons.iter().map(finding).collect::<Vec<_>>(),
        "why": note.why.as_str(),
    })
}

fn finding(reason: &Reason) -> Value {
    let scopes = match reason {
        Reason::Unnamed(scopes) | Reason::NarrowToken(scopes) => names(scopes),
        Reason::Waits => Vec::new(),
    };
    json!({"code": code(reason), "scopes": scopes})
}

fn names(scopes: &ScopeSet) -> Vec<&str> {
    scopes.iter().collect()
}

const NEXT: &str = "the client has to connect again, with the gateway's shared secret as the command line does: its device token is replaced";
const UNLESS: &str = "the gateway is 2026.2.21, which adds scopes to a device only with an approval: a running scope-shim approves the device's first request there";
