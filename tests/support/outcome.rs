//! How a handshake ended, and the words for it.

use serde_json::Value;

use super::session::Session;

/// How a handshake ended.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The status of a refused upgrade, and its body.
    pub http: Option<(u16, String)>,
    /// The challenge's payload.
    pub challenge: Option<Value>,
    /// `hello-ok`.
    pub hello: Option<Value>,
    /// The error of the answer to `connect`.
    pub error: Option<Value>,
    /// Close code and reason.
    pub close: Option<(u16, String)>,
    /// The open session, after `hello-ok`.
    pub session: Option<Session>,
}

impl Outcome {
    /// `error.code`.
    pub fn code(&self) -> &str {
        self.field(|error| &error["code"])
    }

    /// `error.details.code`.
    pub fn detail(&self) -> &str {
        self.field(|error| &error["details"]["code"])
    }

    /// `error.details.reason`.
    pub fn reason(&self) -> &str {
        self.field(|error| &error["details"]["reason"])
    }

    /// `error.message`.
    pub fn message(&self) -> &str {
        self.field(|error| &error["message"])
    }

    /// `error.details.requestId`.
    pub fn request_id(&self) -> &str {
        self.field(|error| &error["details"]["requestId"])
    }

    fn field<'a>(&'a self, pick: fn(&'a Value) -> &'a Value) -> &'a str {
        self.error
            .as_ref()
            .and_then(|error| pick(error).as_str())
            .unwrap_or_default()
    }

    /// The device token that `hello-ok` hands out.
    pub fn device_token(&self) -> Option<&str> {
        self.hello.as_ref()?["auth"]["deviceToken"].as_str()
    }

    /// The session; panics with the refusal if there is none.
    pub fn admitted(self) -> Session {
        let why = format!("{:?} {:?} {:?}", self.http, self.error, self.close);
        self.session
            .unwrap_or_else(|| panic!("not admitted: {why}"))
    }

    /// In one line, as in the behaviour tables: `ok rwAap`, `PAIRING_REQUIRED/not-paired`, …
    pub async fn label(&mut self) -> String {
        if let Some(session) = &mut self.session {
            return format!("ok {}", session.letters().await);
        }
        if let Some((status, _)) = &self.http {
            return format!("http {status}");
        }
        let Some(error) = &self.error else {
            let (code, reason) = self.close.clone().unwrap_or_default();
            return format!("close {code} {reason}").trim_end().to_owned();
        };
        match (self.detail(), self.reason()) {
            ("", _) => format!(
                "{}: {}",
                self.code(),
                error["message"].as_str().unwrap_or_default()
            ),
            (detail, "") => detail.to_owned(),
            (detail, reason) => format!("{detail}/{reason}"),
        }
    }

    /// Everything about a refusal but the ids in it.
    pub fn whole(&self) -> String {
        let Some(error) = &self.error else {
            return match &self.hello {
                Some(_) => "ok".to_owned(),
                None => format!("{:?} {:?}", self.http, self.close),
            };
        };
        let mut details = Vec::new();
        for (key, value) in error["details"].as_object().into_iter().flatten() {
            let value = match (key.as_str(), value) {
                ("requestId" | "deviceId", _) => "…".to_owned(),
                (_, Value::String(text)) => text.clone(),
                (_, value) => value.to_string(),
            };
            details.push(format!("{key}={value}"));
        }
        let (code, reason) = self.close.clone().unwrap_or_default();
        let reason = match reason.split_once("(requestId: ") {
            Some((text, _id)) => format!("{text}(requestId: …"),
            None => reason,
        };
        let (kind, message) = (self.code(), self.message());
        let details = if details.is_empty() {
            String::new()
        } else {
            format!(" · {}", details.join(", "))
        };
        let reason = if reason == message {
            "same".to_owned()
        } else {
            reason
        };
        format!("{kind}: {message}{details} · close {code} {reason}")
            .trim_end()
            .to_owned()
    }

    /// What a client's code acts on, without any text for people and without what the shim adds.
    pub fn verdict(&self) -> String {
        let Some(error) = &self.error else {
            return self.whole();
        };
        let mut details = error["details"].as_object().cloned().unwrap_or_default();
        details.remove("scopeShim");
        // Text for people, too.
        details.remove("remediationHint");
        for id in ["requestId", "deviceId"] {
            if let Some(value) = details.get_mut(id) {
                *value = Value::from("…");
            }
        }
        let close = self.close.as_ref().map(|(code, _)| *code);
        format!(
            "{} {} · close {close:?}",
            self.code(),
            Value::Object(details)
        )
        .replace(" {}", "")
    }
}
