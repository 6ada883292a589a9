//! The pairing store's contents: who is paired, who waits, and how that changes.

use std::collections::BTreeMap;
use std::io;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::profile::Profile;
use super::random;
use super::scopes;

/// A paired device, with the gateway's field names.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Paired {
    pub(super) device_id: String,
    pub(super) public_key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) display_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) platform: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) device_family: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) client_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) client_mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) role: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) roles: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) scopes: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) approved_scopes: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) remote_ip: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) tokens: BTreeMap<String, Token>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) approved_via: Option<String>,
    pub(super) created_at_ms: i64,
    pub(super) approved_at_ms: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_seen_at_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_seen_reason: Option<String>,
    /// Fields this simulation does not know stay in the file.
    #[serde(flatten)]
    pub(super) rest: Map<String, Value>,
}

/// A device token, one per role.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Token {
    pub(super) token: String,
    pub(super) role: String,
    pub(super) scopes: Vec<String>,
    pub(super) created_at_ms: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rotated_at_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) revoked_at_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_used_at_ms: Option<i64>,
    /// 2026.9.6 binds tokens of browser sessions to the shared secret's generation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) issuer: Option<Value>,
}

/// A pairing request that waits for an answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Pending {
    pub(super) request_id: String,
    pub(super) device_id: String,
    pub(super) public_key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) display_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) platform: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) device_family: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) client_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) client_mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) role: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) roles: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) scopes: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) remote_ip: Option<String>,
    pub(super) silent: bool,
    pub(super) is_repair: bool,
    pub(super) ts: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) refreshed_at_ms: Option<i64>,
}

/// Both halves of the store, as loaded for one decision.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct State {
    pub(super) pending: BTreeMap<String, Pending>,
    pub(super) paired: BTreeMap<String, Paired>,
}

/// Why a device token is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenFault {
    Mismatch,
    Scopes,
}

impl Paired {
    /// The scopes the owner approved.
    pub(super) fn baseline(&self) -> &[String] {
        let approved = self.approved_scopes.as_deref();
        approved.or(self.scopes.as_deref()).unwrap_or_default()
    }

    /// The list a connect is compared with: 2026.4.21 and later look at what was approved, older
    /// ones at the list that every connect adds to.
    pub(super) fn access_scopes(&self, profile: Profile) -> &[String] {
        if profile >= Profile::Pending {
            return self.baseline();
        }
        self.scopes
            .as_deref()
            .or(self.approved_scopes.as_deref())
            .unwrap_or_default()
    }

    pub(super) fn approved_roles(&self) -> Vec<String> {
        let role = self.role.as_slice();
        scopes::merge([self.roles.as_deref().unwrap_or_default(), role])
    }

    /// From 2026.4.21 a role counts only while its token is not revoked.
    pub(super) fn effective_roles(&self, profile: Profile) -> Vec<String> {
        let mut roles = self.approved_roles();
        if profile >= Profile::Pending {
            let active = |role: &String| {
                self.tokens
                    .get(role)
                    .is_some_and(|token| token.revoked_at_ms.is_none())
            };
            roles.retain(active);
        }
        roles
    }

    /// The record as `device.pair.list` shows it: no secrets, and not what was approved.
    pub(super) fn redacted(&self) -> Value {
        let mut value = serde_json::to_value(self).unwrap_or_default();
        if let Some(map) = value.as_object_mut() {
            map.shift_remove("approvedScopes");
            map.shift_remove("tokens");
            let summaries: Vec<Value> = self.tokens.values().map(Token::summary).collect();
            if !summaries.is_empty() {
                map.insert("tokens".to_owned(), Value::Array(summaries));
            }
        }
        value
    }
}

impl Token {
    fn new(role: &str, scopes: Vec<String>, existing: Option<&Self>, now: i64) -> io::Result<Self> {
        Ok(Self {
            token: random::token()?,
            role: role.to_owned(),
            scopes,
            created_at_ms: existing.map_or(now, |token| token.created_at_ms),
            rotated_at_ms: existing.map(|_| now),
            revoked_at_ms: None,
            last_used_at_ms: existing.and_then(|token| token.last_used_at_ms),
            issuer: None,
        })
    }

    pub(super) fn issued_at_ms(&self) -> i64 {
        self.rotated_at_ms.unwrap_or(self.created_at_ms)
    }

    fn summary(&self) -> Value {
        let mut value = json!({
            "role": self.role,
            "scopes": self.scopes,
            "createdAtMs": self.created_at_ms,
        });
        let times = [
            ("rotatedAtMs", self.rotated_at_ms),
            ("revokedAtMs", self.revoked_at_ms),
            ("lastUsedAtMs", self.last_used_at_ms),
        ];
        for (key, time) in times {
            if let Some(time) = time {
                value[key] = time.into();
            }
        }
        value
    }
}

impl State {
    /// Requests older than five minutes are gone.
    pub(super) fn expire(&mut self, now: i64) {
        self.pending.retain(|_, pending| {
            now - pending.refreshed_at_ms.unwrap_or(pending.ts) <= PENDING_LIFETIME_MS
        });
    }

    /// Whether `token` is the device's own, unrevoked, for this role and these scopes.
    pub(super) fn verify_token(
        &mut self,
        profile: Profile,
        device_id: &str,
        token: &str,
        role: &str,
        requested: &[String],
        now: i64,
    ) -> Result<(), TokenFault> {
        let device = self.paired.get_mut(device_id).ok_or(TokenFault::Mismatch)?;
        let baseline = scopes::normalize(profile, device.baseline());
        let entry = device.tokens.get_mut(role).ok_or(TokenFault::Mismatch)?;
        let issuer = entry.issuer.as_ref();
        let outlived = issuer.is_some_and(|issuer| issuer["generation"] != GENERATION);
        if entry.revoked_at_ms.is_some() || entry.token != token.trim() || outlived {
            return Err(TokenFault::Mismatch);
        }
        let approved =
            profile == Profile::Literal || scopes::allow(profile, role, &entry.scopes, &baseline);
        let requested = scopes::normalize(profile, requested);
        if !approved || !scopes::allow(profile, role, &requested, &entry.scopes) {
            return Err(TokenFault::Scopes);
        }
        entry.last_used_at_ms = Some(now);
        Ok(())
    }

    /// The token this connect is handed: the stored one if it covers the request, else a new one
    /// with exactly the requested scopes. None for a device that is not paired.
    pub(super) fn ensure_token(
        &mut self,
        profile: Profile,
        device_id: &str,
        role: &str,
        requested: &[String],
        issuer: Option<Value>,
        now: i64,
    ) -> io::Result<Option<Token>> {
        let Some(device) = self.paired.get_mut(device_id) else {
            return Ok(None);
        };
        let requested = scopes::normalize(profile, requested);
        let baseline = scopes::normalize(profile, device.baseline());
        let within = |list: &[String]| {
            profile == Profile::Literal || scopes::allow(profile, role, list, &baseline)
        };
        if !within(&requested) {
            return Ok(None);
        }
        if let Some(existing) = device.tokens.get(role)
            && existing.revoked_at_ms.is_none()
            && within(&existing.scopes)
            && existing.issuer == issuer
            && scopes::allow(profile, role, &requested, &existing.scopes)
        {
            return Ok(Some(existing.clone()));
        }
        let mut token = Token::new(role, requested, device.tokens.get(role), now)?;
        token.issuer = issuer;
        device.tokens.insert(role.to_owned(), token.clone());
        Ok(Some(token))
    }

    /// Replaces a token. 2026.2.19 takes any scopes, and stores them in the record as well.
    pub(super) fn rotate(
        &mut self,
        profile: Profile,
        device_id: &str,
        role: &str,
        requested: Option<&[String]>,
        now: i64,
    ) -> io::Result<Option<Token>> {
        let Some(device) = self.paired.get_mut(device_id) else {
            return Ok(None);
        };
        let existing = device.tokens.get(role);
        let current = existing
            .map(|token| token.scopes.as_slice())
            .or(device.scopes.as_deref());
        let scopes = scopes::normalize(profile, requested.or(current).unwrap_or_default());
        let baseline = scopes::normalize(profile, device.baseline());
        if profile != Profile::Literal && !scopes::allow(profile, role, &scopes, &baseline) {
            return Ok(None);
        }
        let mut token = Token::new(role, scopes, existing, now)?;
        token.rotated_at_ms = Some(now);
        token.issuer = existing.and_then(|token| token.issuer.clone());
        if profile == Profile::Literal && requested.is_some() {
            device.scopes = Some(token.scopes.clone());
        }
        device.tokens.insert(role.to_owned(), token.clone());
        Ok(Some(token))
    }

    /// Marks a token as revoked.
    pub(super) fn revoke(&mut self, device_id: &str, role: &str, now: i64) -> Option<Token> {
        let token = self.paired.get_mut(device_id)?.tokens.get_mut(role)?;
        token.revoked_at_ms = Some(now);
        Some(token.clone())
    }

    /// A first token for a record that is written by hand.
    pub(super) fn first_token(role: &str, scopes: Vec<String>, now: i64) -> io::Result<Token> {
        Token::new(role, scopes, None, now)
    }

    /// A token in place of another after an approval.
    pub(super) fn next_token(
        role: &str,
        scopes: Vec<String>,
        existing: Option<&Token>,
        now: i64,
    ) -> io::Result<Token> {
        let mut token = Token::new(role, scopes, existing, now)?;
        token.issuer = existing.and_then(|token| token.issuer.clone());
        Ok(token)
    }
}

/// Which of the shared secrets that there were the gateway runs with.
pub(super) const GENERATION: &str = "1";
const PENDING_LIFETIME_MS: i64 = 5 * 60 * 1000;
