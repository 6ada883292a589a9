//! Words of clients and gateways, made fit for people to read.

use crate::handshake::message::{AuthClaims, Challenge, Claims};
use crate::scope::ScopeSet;

/// What a session must keep to itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Secrets(Vec<String>);

impl Secrets {
    pub(super) fn of(claims: &Claims, challenge: Option<&Challenge>) -> Self {
        let AuthClaims {
            token,
            password,
            device_token,
            bootstrap_token,
            has_unknown: _,
        } = &claims.auth;
        let device = claims.device.as_ref();
        let secrets = [token, password, device_token, bootstrap_token]
            .into_iter()
            .flatten()
            .map(String::as_str)
            .chain(device.map(|device| device.signature.as_str()))
            .chain(device.and_then(|device| device.nonce.as_deref()))
            .chain(challenge.map(|challenge| challenge.nonce.as_str()));
        let mut secrets: Vec<String> = secrets
            .filter(|secret| secret.len() >= SHORTEST_SECRET)
            .map(str::to_owned)
            .collect();
        // A secret may be a part of another one.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self(secrets)
    }

    /// At most `most` characters of `text`, in printable ASCII, without any secret.
    pub(super) fn clean(&self, text: &str, most: usize) -> String {
        let mut text = text.to_owned();
        for secret in &self.0 {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), "***");
            }
        }
        let mut clean = String::new();
        let mut characters = text.trim().chars();
        for character in characters.by_ref().take(most) {
            match character {
                ' '..='~' => clean.push(character),
                _ => clean.extend(character.escape_default()),
            }
        }
        if characters.next().is_some() {
            clean.push_str(ELLIPSIS);
        }
        harmless(&clean)
    }

    /// The short names of some scopes.
    pub(super) fn scopes(&self, scopes: &ScopeSet) -> String {
        if scopes.is_empty() {
            return "nothing".to_owned();
        }
        let mut names: Vec<String> = scopes
            .iter()
            .take(MOST_SCOPES)
            .map(|scope| {
                let short = scope.strip_prefix("operator.").unwrap_or(scope);
                self.clean(short, LONGEST_SCOPE)
            })
            .collect();
        let more = scopes.iter().count().saturating_sub(MOST_SCOPES);
        if more > 0 {
            names.push(format!("and {more} more"));
        }
        names.join(", ")
    }

    /// The whole names of some scopes.
    pub(super) fn list(&self, scopes: &ScopeSet) -> Vec<String> {
        let names = scopes.iter().take(MOST_SCOPES);
        names
            .map(|scope| self.clean(scope, LONGEST_SCOPE))
            .collect()
    }
}

/// The same without the words that make a client of 2026.2.21 delete its own pairing.
pub(super) fn harmless(text: &str) -> String {
    let mut out = text.to_owned();
    while let Some(at) = out.to_ascii_lowercase().find(FATAL) {
        out.replace_range(at..at + FATAL.len(), "device token refused");
    }
    out
}

/// How much of a path is shown, in characters.
pub(super) const LONGEST_PLACE: usize = 200;
const FATAL: &str = "device token mismatch";
/// Anything shorter is no secret, and taking it out of a text would only make that unreadable.
const SHORTEST_SECRET: usize = 6;
const ELLIPSIS: &str = "...";
const MOST_SCOPES: usize = 12;
const LONGEST_SCOPE: usize = 48;
