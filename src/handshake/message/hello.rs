//! `hello-ok`: the gateway lets a session in.

use std::ops::Range;

use serde_json::Value;

use super::{Claims, usual};

/// A `hello-ok`, of which no more is looked into than matters: it may be long.
#[derive(Clone, Debug)]
pub struct Hello {
    told: Value,
    /// The text, and where `payload.auth` stands in it; `None` where `told` is the whole message.
    text: Option<(String, Option<Range<usize>>)>,
}

impl Hello {
    /// Reads a gateway's message, if it is the usual `hello-ok` for the request `id`.
    #[must_use]
    pub fn parse(payload: &[u8], id: &str) -> Option<Self> {
        let text = std::str::from_utf8(payload).ok()?;
        let (told, auth) = usual::hello(text, id)?;
        let place = auth.map(|auth| {
            let start = auth.as_ptr().addr() - text.as_ptr().addr();
            start..start + auth.len()
        });
        Some(Self {
            told,
            text: Some((text.to_owned(), place)),
        })
    }

    /// What it says of the gateway (`payload.server`) and of the session (`payload.auth`), each in its place.
    #[must_use]
    pub const fn told(&self) -> &Value {
        &self.told
    }

    /// The message as the client of a delegated session is to see it: `auth` says the session's role and scopes, and
    /// keeps nothing that was issued to the delegate.
    #[must_use]
    pub fn of_delegated(mut self, claims: &Claims) -> String {
        crate::rewrite::hello(&mut self.told, claims);
        let Some((text, place)) = self.text else {
            return self.told.to_string();
        };
        let parts = place.as_ref().and_then(|place| {
            let auth = self.told.pointer("/payload/auth")?;
            Some((text.get(..place.start)?, auth, text.get(place.end..)?))
        });
        match parts {
            Some((before, auth, behind)) => format!("{before}{auth}{behind}"),
            None => text,
        }
    }
}

/// One that was read whole.
impl From<Value> for Hello {
    fn from(message: Value) -> Self {
        Self {
            told: message,
            text: None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use serde_json::json;

    use super::*;

    const TEXT: &str = r#"{"type":"res", "id":"1","ok":true,"payload":{"type":"hello-ok","server":{"version":"2026.7.1"},
        "features":{"methods":["a","b"]},"auth": {"deviceToken":"secret","role":"node"},"policy":{"tick":1.50}}}"#;

    fn claims() -> Claims {
        Claims {
            role: "operator".to_owned(),
            scopes: vec!["operator.read".to_owned()],
            ..Claims::default()
        }
    }

    #[test]
    fn only_server_and_auth_are_looked_into() {
        let hello = Hello::parse(TEXT.as_bytes(), "1").unwrap();
        assert_eq!(
            hello.told(),
            &json!({"payload": {"server": {"version": "2026.7.1"}, "auth": {"deviceToken": "secret", "role": "node"}}})
        );
        assert!(Hello::parse(TEXT.as_bytes(), "2").is_none());
    }

    #[test]
    fn a_delegated_session_sees_all_but_auth_as_the_gateway_wrote_it() {
        let shown = Hello::parse(TEXT.as_bytes(), "1")
            .unwrap()
            .of_delegated(&claims());
        let expected = TEXT.replace(
            r#"{"deviceToken":"secret","role":"node"}"#,
            r#"{"role":"operator","scopes":["operator.read"]}"#,
        );
        assert_eq!(shown, expected);
    }

    #[test]
    fn what_cannot_be_read_of_auth_is_not_shown_either() {
        for odd in [r#""\ud83d""#, "1e999"] {
            let text = TEXT.replace(r#""node""#, odd);
            let hello = Hello::parse(text.as_bytes(), "1").unwrap();
            let shown = hello.of_delegated(&claims());
            assert!(shown.contains(r#""auth": null"#), "{shown}");
        }
    }

    #[test]
    fn an_unusual_one_is_left_to_be_read_whole_and_keeps_no_secret_either() {
        let twice = TEXT.replace("\"policy\"", r#""auth":{"deviceToken":"secret"},"policy""#);
        assert!(Hello::parse(twice.as_bytes(), "1").is_none());
        let whole: Value = serde_json::from_str(&twice).unwrap();
        assert!(
            !Hello::from(whole)
                .of_delegated(&claims())
                .contains("secret")
        );
    }
}
