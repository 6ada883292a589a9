//! The shapes in which a gateway writes down a paired device and a pending request.
//!
//! The same fields appear as JSON in the files and in `device.pair.list`, and as columns in SQLite.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::PendingRequest;
use crate::device::{DeviceId, DeviceRecord, OperatorToken};
use crate::scope::ScopeSet;
use crate::secret::Secret;

/// One entry of `paired.json`, or of `device.pair.list`'s `paired`.
///
/// `T` is how the entry carries its tokens.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound = "T: Deserialize<'de>")]
pub(super) struct PairedEntry<'a, T> {
    #[serde(borrow)]
    pub(super) device_id: Option<Word<'a>>,
    pub(super) public_key: Option<String>,
    #[serde(default)]
    pub(super) display_name: Loose<String>,
    pub(super) platform: Option<String>,
    pub(super) device_family: Option<String>,
    pub(super) client_id: Option<String>,
    pub(super) client_mode: Option<String>,
    #[serde(borrow)]
    pub(super) role: Option<Word<'a>>,
    #[serde(borrow)]
    pub(super) roles: Option<Vec<Word<'a>>>,
    #[serde(borrow)]
    pub(super) scopes: Option<Vec<Word<'a>>>,
    #[serde(borrow)]
    pub(super) approved_scopes: Option<Vec<Word<'a>>>,
    pub(super) tokens: Option<T>,
    #[serde(default)]
    pub(super) approved_at_ms: Loose<u64>,
    #[serde(default)]
    pub(super) last_seen_at_ms: Loose<u64>,
}

/// How a store carries the tokens of a device.
pub(super) trait Tokens {
    /// The token for the `operator` role.
    fn operator(self) -> OperatorToken;
}

/// The tokens as the stores keep them: role to token.
///
/// No `Debug`, here and below: the tokens are not wrapped yet.
#[derive(Deserialize)]
pub(super) struct TokenTable<'a> {
    #[serde(borrow)]
    operator: Option<TokenEntry<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TokenEntry<'a> {
    token: Option<String>,
    #[serde(borrow)]
    scopes: Option<Vec<Word<'a>>>,
    #[serde(default)]
    revoked_at_ms: Loose<IgnoredAny>,
}

/// What `device.pair.list` tells of a token.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TokenSummary {
    role: String,
    #[serde(default)]
    revoked_at_ms: Loose<IgnoredAny>,
}

/// One entry of `pending.json`, or of `device.pair.list`'s `pending`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PendingEntry {
    pub(super) request_id: Option<String>,
    pub(super) device_id: String,
    #[serde(default)]
    pub(super) public_key: Loose<String>,
    #[serde(default)]
    pub(super) display_name: Loose<String>,
    pub(super) client_id: Option<String>,
    pub(super) client_mode: Option<String>,
    pub(super) platform: Option<String>,
    pub(super) role: Option<String>,
    pub(super) roles: Option<Vec<String>>,
    pub(super) scopes: Option<Vec<String>>,
    pub(super) remote_ip: Option<String>,
    pub(super) silent: Option<bool>,
    pub(super) is_repair: Option<bool>,
    #[serde(default)]
    pub(super) ts: Loose<u64>,
}

/// Why one record is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Flaw {
    #[error("it is filed under another device's id")]
    ForeignId,
    #[error("it has no id")]
    NoId,
    #[error("it has no public key")]
    NoPublicKey,
    #[error("a field is of the wrong type")]
    WrongType,
}

impl<T: Tokens> PairedEntry<'_, T> {
    /// The record, filed under `key` where the store has keys.
    pub(super) fn into_record(self, key: Option<&str>) -> Result<DeviceRecord, Flaw> {
        let device_id = match (key, self.device_id) {
            (Some(key), Some(own)) if key != own.0 => return Err(Flaw::ForeignId),
            (_, Some(own)) => own.into(),
            (Some(key), None) => key.to_owned(),
            (None, None) => return Err(Flaw::NoId),
        };
        let asked = scopes(self.scopes);
        Ok(DeviceRecord {
            device_id: DeviceId::new(device_id),
            public_key: self.public_key.ok_or(Flaw::NoPublicKey)?,
            display_name: self.display_name.0,
            platform: self.platform,
            device_family: self.device_family,
            client_id: self.client_id,
            client_mode: self.client_mode,
            roles: roles(self.roles, self.role),
            approved_scopes: match self.approved_scopes {
                None => asked.clone(),
                approved => scopes(approved),
            },
            scopes: asked,
            operator_token: self.tokens.map_or(OperatorToken::None, Tokens::operator),
            approved_at_ms: self.approved_at_ms.0,
            last_seen_at_ms: self.last_seen_at_ms.0,
        })
    }
}

impl PendingEntry {
    /// The request, filed under `key` where the store has keys.
    pub(super) fn into_request(self, key: Option<&str>) -> Result<PendingRequest, Flaw> {
        let request_id = self.request_id.or_else(|| key.map(str::to_owned));
        Ok(PendingRequest {
            request_id: request_id.ok_or(Flaw::NoId)?,
            device_id: DeviceId::new(self.device_id),
            public_key: self.public_key.0,
            display_name: self.display_name.0,
            roles: roles(self.roles, self.role),
            scopes: scopes(self.scopes),
            client_id: self.client_id,
            client_mode: self.client_mode,
            platform: self.platform,
            is_repair: self.is_repair.unwrap_or_default(),
            silent: self.silent.unwrap_or_default(),
            ts_ms: self.ts.0,
            remote_ip: self.remote_ip,
        })
    }
}

impl Tokens for TokenTable<'_> {
    fn operator(self) -> OperatorToken {
        match self.operator {
            None => OperatorToken::None,
            Some(entry) if entry.revoked_at_ms.was_given() => OperatorToken::Revoked,
            Some(entry) => match entry.token {
                // An empty token would match a client that sends an empty one.
                Some(token) if !token.is_empty() => OperatorToken::Live {
                    token: Secret::new(token),
                    scopes: scopes(entry.scopes),
                },
                _ => OperatorToken::None,
            },
        }
    }
}

impl Tokens for Vec<TokenSummary> {
    fn operator(self) -> OperatorToken {
        match self.into_iter().find(|summary| summary.role == "operator") {
            None => OperatorToken::None,
            Some(summary) if summary.revoked_at_ms.was_given() => OperatorToken::Revoked,
            Some(_) => OperatorToken::Withheld,
        }
    }
}

fn roles<S: Into<String>>(roles: Option<Vec<S>>, role: Option<S>) -> Vec<String> {
    let roles = roles.unwrap_or_else(|| role.into_iter().collect());
    roles.into_iter().map(Into::into).collect()
}

fn scopes<S: AsRef<str> + Into<String>>(scopes: Option<Vec<S>>) -> ScopeSet {
    scopes.unwrap_or_default().into_iter().collect()
}

/// A text that is copied only where the record keeps it, which is most of the time that a large file takes.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct Word<'a>(#[serde(borrow)] Cow<'a, str>);

impl AsRef<str> for Word<'_> {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl From<String> for Word<'_> {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<Word<'_>> for String {
    fn from(word: Word<'_>) -> Self {
        word.0.into_owned()
    }
}

/// A field that decides nothing: a value of the wrong type counts as absent.
#[derive(Debug)]
pub(super) struct Loose<T>(pub(super) Option<T>, bool);

impl<T> Loose<T> {
    pub(super) fn new(value: Option<T>) -> Self {
        let given = value.is_some();
        Self(value, given)
    }
    /// Whether there was any value but `null`, of whatever type.
    fn was_given(&self) -> bool {
        self.1
    }
}

impl<T> Default for Loose<T> {
    fn default() -> Self {
        Self(None, false)
    }
}

/// What a [`Loose`] field makes of the two kinds of value that it may want.
pub(super) trait Wanted: Sized {
    fn from_text(_: &str) -> Option<Self> {
        None
    }

    fn from_number(_: u64) -> Option<Self> {
        None
    }
}

impl Wanted for String {
    fn from_text(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

impl Wanted for u64 {
    fn from_number(number: u64) -> Option<Self> {
        Some(number)
    }
}

impl Wanted for IgnoredAny {}

impl<'de, T: Wanted> Deserialize<'de> for Loose<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Anything<T>(std::marker::PhantomData<T>);

        impl<'de, T: Wanted> Visitor<'de> for Anything<T> {
            type Value = Loose<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("anything")
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Loose(T::from_text(text), true))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
                Ok(Loose(T::from_number(number), true))
            }

            fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
                Ok(Loose(None, true))
            }

            fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
                Ok(Loose(None, true))
            }

            fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
                Ok(Loose(None, true))
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Loose::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                while items.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Loose(None, true))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
                while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Loose(None, true))
            }
        }

        deserializer.deserialize_any(Anything(std::marker::PhantomData))
    }
}
