//! What is kept of a session: everything that the decision went by, and no secret.

use serde::{Deserialize, Serialize};

use crate::decide::{self, Case, Step};
use crate::device::{DeviceRecord, OperatorToken};
use crate::engine::Visit;
use crate::findings::Code;
use crate::handshake::message::{AuthClaims, Claims};
use crate::profile::{Evidence, Profile, ScopeCheck};
use crate::scope::ScopeSet;
use crate::text::first;

/// One session: where it came from, what it asked for, how that was decided, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionTrace {
    /// The name of the session, as its log line has it.
    pub session: String,
    /// When it began, in milliseconds since the epoch.
    pub at_ms: i64,
    /// How long its handshake took, in milliseconds.
    pub ms: u64,
    /// The mode that the shim was in.
    pub mode: String,
    /// The client's address, as far as it is known.
    pub address: String,
    /// What the decision went by.
    #[serde(flatten)]
    pub case: CaseTrace,
    /// The steps that were taken; those of a second decision follow those of the first.
    pub steps: Vec<Step>,
    /// What was decided in the end, as the log line has it.
    pub decision: String,
    /// Why.
    pub why: String,
    /// What the gateway answered.
    pub answer: String,
    /// What the mode `on` would have done, where the shim only observed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub would: Option<String>,
    /// What was found to be wrong.
    pub finding: Option<FindingTrace>,
    /// What came of it.
    pub outcome: Outcome,
}

/// The answer to a question that nobody's session asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// What the decision went by.
    #[serde(flatten)]
    pub case: CaseTrace,
    /// What was taken for granted, because only a real session could show it.
    pub assumed: Vec<String>,
    /// The steps that were taken.
    pub steps: Vec<Step>,
    /// What was decided.
    pub decision: String,
    /// Why.
    pub why: String,
    /// What this gateway would do with it if there were no shim.
    pub without_the_shim: String,
}

/// How a decision came about.
#[derive(Clone, Debug)]
pub struct Taken {
    /// What it went by.
    pub case: CaseTrace,
    /// The steps.
    pub steps: Vec<Step>,
}

impl Taken {
    /// Steps that a client cannot make longer than they have to be.
    #[must_use]
    pub fn new(case: CaseTrace, mut steps: Vec<Step>) -> Self {
        for step in &mut steps {
            clip(&mut step.answer, LONGEST_TEXT);
            clip_list(&mut step.because);
        }
        Self { case, steps }
    }
}

/// Everything that a decision went by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CaseTrace {
    /// Where it came from.
    pub origin: Origin,
    /// What it claimed.
    pub claims: ClaimsTrace,
    /// Whose approval it rested on, where it rested on one.
    pub record: Option<RecordTrace>,
    /// The gateway.
    pub gateway: GatewayTrace,
    /// The scopes of an `x-openclaw-scopes` header.
    pub cap: Option<Vec<String>>,
    /// What the shim's own device was approved for; `None` where it was not paired.
    pub delegate: Option<Vec<String>>,
}

/// Where a session came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Origin {
    /// From the gateway's own machine, not through any proxy.
    pub direct_local: bool,
    /// The web page that it came from, as the browser says.
    pub page: Option<String>,
    /// The user that a trusted proxy named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// What a client claimed, without its secrets, signature and nonce.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClaimsTrace {
    /// `client.id`.
    pub client_id: String,
    /// `client.mode`.
    pub client_mode: String,
    /// `client.version`.
    pub client_version: Option<String>,
    /// `client.platform`.
    pub platform: String,
    /// `client.deviceFamily`.
    pub device_family: Option<String>,
    /// `role`.
    pub role: String,
    /// `scopes`.
    pub scopes: Vec<String>,
    /// The id of the device that it claimed to be.
    pub device: Option<String>,
    /// The kinds of credentials that it sent.
    pub credentials: Vec<String>,
}

/// What was approved for a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordTrace {
    /// The device's id.
    pub device: String,
    /// Its approved scopes.
    pub approved: Vec<String>,
    /// The state of its own token: `live`, `revoked`, `none` or `withheld`.
    pub token: String,
    /// The scopes of its own token, where that is known.
    pub token_scopes: Option<Vec<String>>,
}

/// What was known of the gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayTrace {
    /// In words.
    pub name: String,
    /// Its version, where it says one.
    pub version: Option<String>,
    /// Whether it is known to be of the generation up to 2026.2.21.
    pub early: bool,
    /// How it compares scopes: `literal`, `implied` or `unknown`.
    pub compares: String,
    /// Who said so, where it was not the gateway itself.
    pub known_from: Option<String>,
}

/// What was found to be wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindingTrace {
    /// The stable code.
    pub code: String,
    /// The finding in a sentence.
    pub sentence: String,
    /// The command that ends it.
    pub fix: Option<String>,
}

impl FindingTrace {
    /// A finding, as far as it fits.
    #[must_use]
    pub fn new(code: Code, sentence: &str, fix: Option<&str>) -> Self {
        Self {
            code: code.as_str().to_owned(),
            sentence: clipped(sentence),
            fix: fix.map(clipped),
        }
    }
}

/// What came of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The client left before there was an answer.
    Left,
    /// The gateway did not answer.
    Unanswered,
    /// The gateway accepted the client's own request.
    Accepted,
    /// The gateway accepted it with fewer scopes than it asked for.
    Degraded,
    /// The gateway accepted what the shim's own device asked for in its place.
    Delegated,
    /// The same, after it had refused the client's own request.
    Healed,
    /// The gateway refused it.
    Refused,
    /// The shim gave the gateway's refusal of before again.
    Repeated,
    /// The shim asked the client to come back.
    SentBack,
}

impl Outcome {
    /// In words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Left => "the client left before there was an answer",
            Self::Unanswered => "the gateway did not answer",
            Self::Accepted => "the gateway let it in",
            Self::Repeated => "the shim gave the gateway's refusal of before again",
            Self::SentBack => "the shim asked the client to come back",
            Self::Degraded => "the gateway let it in with fewer scopes than it asked for",
            Self::Delegated => {
                "repaired: the gateway let it in as the shim's own device, which asked in its place"
            }
            Self::Healed => {
                "repaired: the gateway refused it at first, and let it in as the shim's own device"
            }
            Self::Refused => "the gateway refused it",
        }
    }
}

impl CaseTrace {
    /// What a decision goes by.
    #[must_use]
    pub fn new(case: Case<'_>, visit: &Visit) -> Self {
        Self {
            origin: Origin {
                direct_local: visit.circumstances.direct_local,
                page: visit.origin.as_deref().map(clipped),
                user: visit.user.as_deref().map(clipped),
            },
            claims: ClaimsTrace::of(case.claims),
            record: decide::approved(case.identity).map(|record| RecordTrace::of(&record)),
            gateway: GatewayTrace::of(case.profile),
            cap: case.cap.map(list),
            delegate: case.delegate.map(list),
        }
    }
}

impl ClaimsTrace {
    fn of(claims: &Claims) -> Self {
        let mut scopes = claims.scopes.clone();
        clip_list(&mut scopes);
        Self {
            client_id: clipped(&claims.client_id),
            client_mode: clipped(&claims.client_mode),
            client_version: claims.client_version.as_deref().map(clipped),
            platform: clipped(&claims.platform),
            device_family: claims.device_family.as_deref().map(clipped),
            role: clipped(&claims.role),
            scopes,
            device: claims.device.as_ref().map(|device| clipped(&device.id)),
            credentials: credentials(&claims.auth),
        }
    }
}

fn credentials(auth: &AuthClaims) -> Vec<String> {
    [
        ("token", auth.token.is_some()),
        ("password", auth.password.is_some()),
        ("device token", auth.device_token.is_some()),
        ("setup code", auth.bootstrap_token.is_some()),
        ("another credential", auth.has_unknown),
    ]
    .into_iter()
    .filter(|(_, sent)| *sent)
    .map(|(name, _)| name.to_owned())
    .collect()
}

impl RecordTrace {
    fn of(record: &DeviceRecord) -> Self {
        let (token, token_scopes) = match &record.operator_token {
            OperatorToken::Live { scopes, .. } => ("live", Some(list(scopes))),
            OperatorToken::Revoked => ("revoked", None),
            OperatorToken::None => ("none", None),
            OperatorToken::Withheld => ("withheld", None),
        };
        Self {
            device: clipped(record.device_id.as_str()),
            approved: list(&record.approved_scopes),
            token: token.to_owned(),
            token_scopes,
        }
    }
}

impl GatewayTrace {
    fn of(profile: &Profile) -> Self {
        Self {
            name: profile.to_string(),
            version: profile.version.map(|version| version.to_string()),
            early: profile.early,
            compares: match profile.scope_check {
                ScopeCheck::Literal => "literal",
                ScopeCheck::Implied => "implied",
                ScopeCheck::Unknown => "unknown",
            }
            .to_owned(),
            known_from: None,
        }
    }

    /// The profile that this was the trace of, without what was learned besides.
    #[must_use]
    pub fn profile(&self) -> Profile {
        let mut profile = Profile::from_evidence(&Evidence {
            version: self.version.clone(),
            has_server_host: self.early,
        });
        if self.compares == "literal" {
            profile.scope_check = ScopeCheck::Literal;
        }
        profile
    }
}

fn list(scopes: &ScopeSet) -> Vec<String> {
    let mut list: Vec<String> = scopes.iter().map(str::to_owned).collect();
    clip_list(&mut list);
    list
}

fn clip_list(list: &mut Vec<String>) {
    let more = list.len().saturating_sub(LONGEST_LIST);
    list.truncate(LONGEST_LIST);
    for text in list.iter_mut() {
        clip(text, LONGEST_LINE);
    }
    if more > 0 {
        list.push(format!("… and {more} more"));
    }
}

/// At most so much of what a client may have sent.
fn clipped(text: &str) -> String {
    let mut text = text.to_owned();
    clip(&mut text, LONGEST_TEXT);
    text
}

fn clip(text: &mut String, characters: usize) {
    let end = first(text, characters).len();
    if end < text.len() {
        text.truncate(end);
        text.push('…');
    }
}

/// In characters; the longest sentence of the shim's own fits.
const LONGEST_TEXT: usize = 600;
/// One of many, in characters.
const LONGEST_LINE: usize = 240;
const LONGEST_LIST: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_sends_is_cut_to_size() {
        let claims = Claims {
            platform: "ä".repeat(5_000),
            scopes: vec!["x".repeat(5_000); 5_000],
            ..Claims::default()
        };
        let trace = ClaimsTrace::of(&claims);
        assert_eq!(trace.platform.chars().count(), LONGEST_TEXT + 1);
        assert_eq!(trace.scopes.len(), LONGEST_LIST + 1);
        assert_eq!(
            trace.scopes.last().map(String::as_str),
            Some("… and 4976 more")
        );
    }

    #[test]
    fn credentials_are_named_and_never_kept() {
        let claims = Claims {
            auth: AuthClaims {
                token: Some("hush".into()),
                device_token: Some("hush".into()),
                ..AuthClaims::default()
            },
            ..Claims::default()
        };
        let trace = ClaimsTrace::of(&claims);
        assert_eq!(trace.credentials, ["token", "device token"]);
        assert!(!format!("{trace:?}").contains("hush"));
    }

    #[test]
    fn a_gateway_is_known_again_by_its_trace() {
        for (version, early) in [
            (Some("dev"), true),
            (Some("dev"), false),
            (Some("2026.9.6"), false),
            (None, false),
        ] {
            let profile = Profile::from_evidence(&Evidence {
                version: version.map(str::to_owned),
                has_server_host: early,
            });
            assert_eq!(GatewayTrace::of(&profile).profile(), profile, "{version:?}");
        }
    }
}
