//! Which refusals are certain to come again, and for how long.

use std::time::Duration;

use serde_json::Value;

use crate::handshake::message::Refusal;

/// A refusal that may be given again without asking the gateway.
#[derive(Clone, Debug)]
pub struct Absorption {
    /// The gateway's whole message.
    pub message: Value,
    /// What it says.
    pub refusal: Refusal,
    /// What the gateway closed with.
    pub close_code: u16,
    /// For how long it holds.
    pub(super) lasts: Duration,
}

impl Absorption {
    /// `None` where the next attempt may well be answered otherwise, or where the message is of no size to keep.
    #[must_use]
    pub fn new(message: &Value, refusal: &Refusal, close_code: u16) -> Option<Self> {
        let lasts = lasts(message, refusal)?;
        (message.to_string().len() <= LONGEST_MESSAGE).then(|| Self {
            message: message.clone(),
            refusal: refusal.clone(),
            close_code,
            lasts,
        })
    }
}

fn lasts(message: &Value, refusal: &Refusal) -> Option<Duration> {
    if refusal.wants_pairing() {
        return Some(LONGEST);
    }
    if refusal.details_code.as_deref() == Some("AUTH_RATE_LIMITED") {
        let told = message
            .pointer("/error/retryAfterMs")
            .and_then(Value::as_u64);
        return Some(told.map_or(WRONG, Duration::from_millis).min(LONGEST));
    }
    // A gateway that is only starting says so with another code, or that the attempt may be repeated.
    let retryable = message.pointer("/error/retryable").and_then(Value::as_bool) == Some(true);
    let lasting = matches!(refusal.code.as_str(), "INVALID_REQUEST" | "NOT_PAIRED");
    (lasting && !retryable).then_some(WRONG)
}

/// Gateways drop a pairing request after five minutes (every version); then it has to be filed anew.
pub(super) const LONGEST: Duration = Duration::from_secs(5 * 60);
/// Wrong credentials, origins, protocols: what the gateway's configuration decides, which nobody announces. Ten wrong
/// credentials within a minute lock an address out (§11 of the behaviour tables), so one a minute does no harm.
const WRONG: Duration = Duration::from_secs(60);
/// Refusals are a few hundred bytes long.
const LONGEST_MESSAGE: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::handshake::message::Answer;

    fn absorption(error: &Value) -> Option<Duration> {
        let message = json!({"type": "res", "id": "1", "ok": false, "error": error});
        let Some(Answer::Refused { message, refusal }) =
            Answer::parse(message.to_string().as_bytes(), "1")
        else {
            return None;
        };
        Absorption::new(&message, &refusal, 1008).map(|absorption| absorption.lasts)
    }

    #[test]
    fn a_pairing_request_is_waited_for_as_long_as_the_gateway_keeps_it() {
        let old = json!({"code": "NOT_PAIRED", "message": "pairing required"});
        let new = json!({"code": "NOT_PAIRED", "message": "pairing required: …",
            "details": {"code": "PAIRING_REQUIRED", "retryable": true}});
        for error in [old, new] {
            assert_eq!(absorption(&error), Some(LONGEST));
        }
    }

    #[test]
    fn a_wrong_credential_is_tried_once_a_minute_and_a_lock_out_waited_for() {
        let wrong =
            json!({"code": "INVALID_REQUEST", "message": "unauthorized: gateway token mismatch"});
        assert_eq!(absorption(&wrong), Some(WRONG));
        let mut limited = json!({"code": "INVALID_REQUEST", "message": "unauthorized: too many…",
            "details": {"code": "AUTH_RATE_LIMITED"}, "retryable": true, "retryAfterMs": 7000});
        assert_eq!(absorption(&limited), Some(Duration::from_secs(7)));
        limited["retryAfterMs"] = json!(u64::MAX);
        assert_eq!(absorption(&limited), Some(LONGEST));
    }

    #[test]
    fn what_may_pass_by_itself_is_never_remembered() {
        let starting = json!({"code": "UNAVAILABLE", "message": "gateway starting; retry shortly",
            "retryable": true, "retryAfterMs": 500, "details": {"reason": "startup-sidecars"}});
        assert_eq!(absorption(&starting), None);
        let retryable = json!({"code": "INVALID_REQUEST", "message": "…", "retryable": true});
        assert_eq!(absorption(&retryable), None);
        let huge = json!({"code": "INVALID_REQUEST", "message": "x".repeat(LONGEST_MESSAGE)});
        assert_eq!(absorption(&huge), None);
    }
}
