//! A finding on its way to being told.

use serde_json::{Map, Value, json};

use super::data::data;
use super::text::{Secrets, harmless};
use super::{Case, Diagnosis};
use crate::findings::Code;
use crate::handshake::message::Claims;
use crate::http::headers::NOBODY;
use crate::scope::ScopeSet;
use crate::text::fitting;
use crate::ws::close::MAX_REASON;

/// What one of the explanations says; the rest is the same for all.
pub(super) struct Draft {
    /// What is wrong.
    pub(super) code: Code,
    /// The words of the gateways that clients look for: the Control UI up to 2026.3.13 shows its hints by them.
    pub(super) lead: &'static str,
    /// What the session did, after its name: "asks for …".
    pub(super) what: String,
    /// What a person is to do.
    pub(super) way_out: String,
    /// Both in a few words; the command is added where there is room.
    pub(super) brief: String,
    /// The command that ends it.
    pub(super) command: Option<String>,
    /// The same without the options that a shim off its usual place needs, for where there is no room.
    pub(super) bare: Option<String>,
    /// What was approved.
    pub(super) approved: Option<ScopeSet>,
    /// What is asked for and not approved.
    pub(super) missing: Option<ScopeSet>,
    /// Whether a pairing request waits, and its id.
    pub(super) pairing: Option<Option<String>>,
    /// What led to the finding.
    pub(super) evidence: Map<String, Value>,
}

impl Draft {
    pub(super) fn new(
        code: Code,
        what: impl Into<String>,
        way_out: impl Into<String>,
        brief: impl Into<String>,
    ) -> Self {
        Self {
            code,
            lead: "",
            what: what.into(),
            way_out: way_out.into(),
            brief: brief.into(),
            command: None,
            bare: None,
            approved: None,
            missing: None,
            pairing: None,
            evidence: Map::new(),
        }
    }

    pub(super) const fn lead(mut self, words: &'static str) -> Self {
        self.lead = words;
        self
    }

    pub(super) fn command(mut self, command: impl Into<Option<String>>) -> Self {
        self.command = command.into();
        self
    }

    pub(super) fn evidence(mut self, key: &str, value: impl Into<Value>) -> Self {
        let value = value.into();
        if !value.is_null() {
            self.evidence.insert(key.to_owned(), value);
        }
        self
    }

    pub(super) fn finish(self, case: &Case<'_>) -> Diagnosis {
        let secrets = Secrets::of(case.claims, case.challenge);
        let mut this = self.evidence(
            "gatewayCode",
            secrets.clean(&case.refusal.code, LONGEST_NAME),
        );
        let details_code = case.refusal.details_code.as_deref();
        if let Some(code) = details_code {
            this = this.evidence("gatewayDetailsCode", secrets.clean(code, LONGEST_NAME));
        }
        let said = secrets.clean(&case.refusal.message, LONGEST_MESSAGE);
        this = this.evidence("gatewayMessage", said);
        let who = who(case, &secrets);
        let data = this.data(case, &secrets);
        let short = this.short();
        let lead = if this.pairing.is_some() {
            PAIRING
        } else {
            this.lead
        };
        let sentence = format!("{lead}{who} {}; {}", this.what, this.way_out);
        Diagnosis {
            code: this.code,
            sentence: harmless(&sentence),
            short: fitting(&harmless(&short), MAX_REASON),
            command: this.command,
            data,
        }
    }

    /// The close reason. Clients from 2026.4.21 read the request's id from it, as `(requestId: …)`.
    fn short(&self) -> String {
        let Some(request) = &self.pairing else {
            return self.brief_with_command();
        };
        let id = request
            .as_ref()
            .map(|id| format!("(requestId: {id})"))
            .unwrap_or_default();
        let command = self.command.as_deref().unwrap_or_default();
        let bare = self.bare.as_deref().unwrap_or(command);
        let wordings = [
            format!("{PAIRING}{}; run: {command} {id}", self.brief),
            format!("pairing required; run: {command} {id}"),
            format!("pairing required; {command} {id}"),
            format!("pairing required; run: {bare} {id}"),
            format!("pairing required; {bare} {id}"),
            format!("pairing required; {bare}"),
        ];
        let fitting = wordings
            .into_iter()
            .map(|wording| wording.trim_end().to_owned())
            .find(|wording| wording.len() <= MAX_REASON);
        // A request id may be 128 characters long.
        fitting.unwrap_or_else(|| "pairing required; run: scope-shim devices".to_owned())
    }

    fn brief_with_command(&self) -> String {
        let brief = format!("{}{}", self.lead, self.brief);
        self.command
            .as_ref()
            .map(|command| format!("{brief}; run: {command}"))
            .filter(|short| short.len() <= MAX_REASON)
            .unwrap_or(brief)
    }

    fn data(&self, case: &Case<'_>, secrets: &Secrets) -> Map<String, Value> {
        let scopes = |scopes: &Option<ScopeSet>| scopes.as_ref().map(|set| secrets.list(set));
        data(
            self.code,
            [
                ("device", json!(device(case.claims, secrets, LONGEST_ID))),
                ("client", json!(client(case.claims, secrets))),
                ("address", json!(case.address)),
                ("asked", json!(secrets.list(&case.claims.requested()))),
                ("approved", json!(scopes(&self.approved))),
                ("missing", json!(scopes(&self.missing))),
                ("requestId", json!(self.pairing.clone().flatten())),
                ("command", json!(self.command)),
                ("evidence", Value::Object(self.evidence.clone())),
            ],
        )
    }
}

fn who(case: &Case<'_>, secrets: &Secrets) -> String {
    let client = client(case.claims, secrets);
    let place = match case.address {
        _ if case.visit.circumstances.direct_local => "on this machine".to_owned(),
        NOBODY => "behind a proxy that scope-shim does not trust".to_owned(),
        address => format!("at {address}"),
    };
    match device(case.claims, secrets, 12) {
        Some(device) => format!("device {device} ({client} {place})"),
        None => format!("{client} {place}, without a device,"),
    }
}

pub(super) fn device(claims: &Claims, secrets: &Secrets, most: usize) -> Option<String> {
    let id = &claims.device.as_ref()?.id;
    let start: String = id.chars().take(most).collect();
    Some(secrets.clean(&start, most))
}

pub(super) fn client(claims: &Claims, secrets: &Secrets) -> String {
    let id = secrets.clean(&claims.client_id, LONGEST_NAME);
    let mode = secrets.clean(&claims.client_mode, LONGEST_NAME);
    let version = claims.client_version.as_deref().unwrap_or_default();
    let version = secrets.clean(version, LONGEST_NAME);
    harmless(format!("{id}/{mode} {version}").trim_end())
}

const PAIRING: &str = "pairing required: ";
/// Device ids are SHA-256 in hexadecimal.
pub(super) const LONGEST_ID: usize = 64;
const LONGEST_NAME: usize = 40;
const LONGEST_MESSAGE: usize = 240;
