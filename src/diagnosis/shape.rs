//! The form of a refusal that the client at hand really shows to its user.
//!
//! What they show, seen with the real clients and a gateway that sends answer and close in one write, as the shim does:
//!
//! | client | pairing is required | any other refusal |
//! |---|---|---|
//! | command line 2026.2.19 to 3.24 | `error.message`, last the close reason | the same |
//! | command line 4.21 to 7.1 | its own text with `details.requestId`, last the close reason | `error.message`, last the close reason |
//! | command line 8.2, 9.6 | its own text with `details.requestId`, nothing else | `error.message` |
//! | `openclaw status` from 4.21 | `details.remediationHint` | |
//! | Control UI 2.19, 2.21 | the close reason | the close reason |
//! | Control UI 2.26 to 3.24 | `error.message` | `error.message` |
//! | Control UI 4.21, 5.7 | its own text with `details.requestId` | `error.message` |
//! | Control UI from 6.11 | its own panel with `details.requestId` | its own panel, `error.message` under "Raw error" |
//!
//! So one form serves all of them: the sentence in `error.message` and as the hint, the short form as the close reason.
//! What must stay is what they decide by. That is `error.code` and everything in `error.details`, and also words:
//!
//! - `pairing required` makes `openclaw devices` from 2.21 fall back to the local store, and picks panels and hints;
//! - a whole `(requestId: …)` in the close reason is compared with the local store by `openclaw devices` 6.11 and 7.1;
//! - from 5.7 `openclaw gateway restart` takes a close reason that starts with the gateway's own `pairing required:` or
//!   `unauthorized: gateway token mismatch` for a sign of life;
//! - nodes from 8.2 change the protocol version on `protocol mismatch`, and leave out a field on
//!   `invalid connect params: …`, where the refusal has no code;
//! - Control UI 2.19 picks its help by `unauthorized`, `secure context` and `device identity required`.
//!
//! Hence both texts begin with the gateway's own words.

use serde_json::{Value, json};

use super::Diagnosis;
use crate::handshake::message::{self, Claims, Refusal};
use crate::profile::Version;
use crate::text::fitting;
use crate::ws::close::MAX_REASON;

/// Puts a diagnosis into the gateway's own refusal, and returns the reason to close with: at most [`MAX_REASON`] bytes.
///
/// The gateway's `error.code` and `error.details.code` stay: clients stop or try again by them.
pub fn shape(message: &mut Value, diagnosis: &Diagnosis, claims: &Claims) -> String {
    let refusal = message::refusal(message.get("error").unwrap_or(&Value::Null));
    let texts = Texts::new(&refusal, diagnosis, claims);
    if let Some(error) = message.get_mut("error").and_then(Value::as_object_mut) {
        error.insert("message".to_owned(), json!(texts.message()));
        let details = error.entry("details").or_insert_with(|| json!({}));
        if let Some(details) = details.as_object_mut() {
            let found = diagnosis.sentence != refusal.message;
            if found && refusal.details_code.is_some() && refusal.wants_pairing() {
                details.insert("remediationHint".to_owned(), json!(texts.sentence));
            }
            details.insert("scopeShim".to_owned(), json!(diagnosis.data));
        }
    }
    scrub(message);
    texts.close_reason()
}

/// What the two texts of a refusal are made of.
struct Texts {
    sentence: String,
    short: String,
    command: Option<String>,
    /// The gateway's own words, from the fullest to the fewest that clients recognise the refusal by.
    leads: Vec<String>,
    /// ` (requestId: …)`, or nothing.
    request: String,
}

impl Texts {
    fn new(refusal: &Refusal, diagnosis: &Diagnosis, claims: &Claims) -> Self {
        let pairing = refusal.wants_pairing();
        let own = |text: &str| {
            let text = scrubbed(text);
            if pairing { text } else { unmistakable(text) }
        };
        Self {
            sentence: own(&diagnosis.sentence),
            short: own(&diagnosis.short),
            command: diagnosis.command.as_deref().map(scrubbed),
            leads: leads(refusal),
            request: request(refusal, claims).unwrap_or_default(),
        }
    }

    fn message(&self) -> String {
        let lead = self.leads.first().map_or("", String::as_str);
        after(lead, &self.sentence)
    }

    /// The fullest text that a close frame can carry: rather without the gateway's full words than without the
    /// finding, and rather without the finding than without the request id, where one is read.
    fn close_reason(&self) -> String {
        let ends: &[&str] = if self.request.is_empty() {
            &[""]
        } else {
            &[&self.request, ""]
        };
        let texts = || [Some(&self.short), self.command.as_ref()];
        ends.iter()
            .flat_map(|end| {
                texts().into_iter().flatten().flat_map(move |text| {
                    (self.leads.iter()).map(move |lead| format!("{}{end}", after(lead, text)))
                })
            })
            .find(|reason| reason.len() <= MAX_REASON)
            .unwrap_or_else(|| {
                let lead = self.leads.last().map_or("", String::as_str);
                fitting(&after(lead, &self.short), MAX_REASON)
            })
    }
}

/// The gateway's own words, from the fullest to the fewest that clients recognise the refusal by.
fn leads(refusal: &Refusal) -> Vec<String> {
    if refusal.wants_pairing() {
        return vec![PAIRING_REQUIRED.to_owned()];
    }
    let words = &refusal.message;
    let fewest = RECOGNISED
        .iter()
        .find(|recognised| find(words, recognised).is_some());
    let fewest = fewest.copied().unwrap_or_default().to_owned();
    if find(words, DEADLY).is_some() {
        return vec![fewest];
    }
    vec![without_advice(words).to_owned(), fewest]
}

/// `unauthorized: gateway token mismatch (provide gateway auth token)` without its parenthesis, in the place of which
/// comes something better.
fn without_advice(words: &str) -> &str {
    match words.split_once(" (") {
        Some((head, _)) if head.starts_with("unauthorized") => head,
        _ => words,
    }
}

/// `text` behind `lead`; what both begin with is said once.
fn after(lead: &str, text: &str) -> String {
    if lead.is_empty() || find(text, lead) == Some(0) {
        return text.to_owned();
    }
    let topic = lead.split_inclusive(": ").next().unwrap_or_default();
    let text = if topic.len() < lead.len() {
        text.strip_prefix(topic).unwrap_or(text)
    } else {
        text
    };
    format!("{lead}: {text}")
}

/// ` (requestId: …)`, where the gateway's own close reason has it too (from 2026.4.21, which explains what it requires)
/// and the client may look for it.
fn request(refusal: &Refusal, claims: &Claims) -> Option<String> {
    let id = refusal.request_id.as_ref()?;
    let has_it = refusal.wants_pairing() && refusal.message != PAIRING_REQUIRED;
    (has_it && reads_request_id(claims)).then(|| format!(" (requestId: {id})"))
}

/// Whether the client looks for the request id in the close reason, as the command lines 2026.6.11 and 7.1 do. Who is not known is
/// taken for one: other people's programs read it too. Up to 2026.2.26 a command line says `dev` for its version.
fn reads_request_id(claims: &Claims) -> bool {
    let version = claims.client_version.as_deref().unwrap_or_default();
    let known_not_to = Version::parse(version)
        .is_some_and(|version| (FIRST_OF_ALL..=LAST_THAT_DOES_NOT).contains(&version));
    !known_not_to && version != "dev"
}

/// Takes the words that cost old clients their pairing out of every text of a message.
///
/// On a close reason with them 2026.2.19 forgets its device token, and 2026.2.21 removes the device from the gateway's
/// own store, as its `node run` was seen to do. Clients from 2026.5.7 know `device token rejected` too.
fn scrub(value: &mut Value) {
    match value {
        Value::String(text) if find(text, DEADLY).is_some() => *text = scrubbed(text),
        Value::Array(items) => items.iter_mut().for_each(scrub),
        Value::Object(fields) => fields.values_mut().for_each(scrub),
        _ => {}
    }
}

fn scrubbed(text: &str) -> String {
    replaced(text, DEADLY, "device token rejected")
}

/// Without the words by which clients would take another refusal for one that wants pairing.
fn unmistakable(text: String) -> String {
    PAIRING_WORDS.iter().fold(text, |text, (words, instead)| {
        replaced(&text, words, instead)
    })
}

/// Replaces `words`, in whatever case.
fn replaced(text: &str, words: &str, instead: &str) -> String {
    match find(text, words).and_then(|at| Some((text.get(..at)?, text.get(at + words.len()..)?))) {
        Some((before, behind)) => {
            format!("{before}{instead}{}", replaced(behind, words, instead))
        }
        None => text.to_owned(),
    }
}

/// Where `words`, which are in lower case, begin in a text of whatever case.
fn find(text: &str, words: &str) -> Option<usize> {
    text.to_ascii_lowercase().find(&words.to_ascii_lowercase())
}

const PAIRING_REQUIRED: &str = "pairing required";
const DEADLY: &str = "device token mismatch";

/// What clients look for in a refusal that has no code, the more telling first.
const RECOGNISED: &[&str] = &[
    "secure context",
    "device identity required",
    "unauthorized",
    "protocol mismatch",
    "invalid connect params",
    "origin not allowed",
];

/// What clients from 2026.4.21 recognise a refusal by that wants pairing, and what says the same to people.
const PAIRING_WORDS: &[(&str, &str)] = &[
    (PAIRING_REQUIRED, "pairing needed"),
    (" pending approval", " awaiting approval"),
];

/// A lower number is the version of somebody else's program.
const FIRST_OF_ALL: Version = Version::v2026(1, 0);
const LAST_THAT_DOES_NOT: Version = Version::v2026(5, 7);

#[cfg(test)]
mod tests;
