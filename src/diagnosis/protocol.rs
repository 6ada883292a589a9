//! Client and gateway are of different generations: F16.

use serde_json::{Value, json};

use super::Case;
use super::draft::Draft;
use super::text::Secrets;
use crate::findings::Code;

pub(super) fn explain(case: &Case<'_>) -> Draft {
    let number = |key: &str| {
        let value = case.message.pointer(&format!("/error/details/{key}"));
        value.and_then(Value::as_i64)
    };
    let (min, max) = case.claims.protocol;
    let (min, max) = (
        min.or_else(|| number("clientMinProtocol")),
        max.or_else(|| number("clientMaxProtocol")),
    );
    let expected = number("expectedProtocol");
    let probe = number("minimumProbeProtocol");
    let side = match (min, max, expected) {
        (_, Some(max), Some(expected)) if max < expected => Older::Client,
        (Some(min), _, Some(expected)) if min > expected => Older::Gateway,
        _ => Older::Unknown,
    };
    let speaks = match expected {
        Some(expected) => format!("{expected}"),
        None => "another version".to_owned(),
    };
    let range = range(min, max);
    Draft::new(
        Code::ProtocolMismatch,
        format!(
            "speaks protocol {range}, and the gateway ({}) {speaks}",
            case.profile
        ),
        side.way_out(),
        format!(
            "client speaks protocol {range}, gateway {speaks}; {}",
            side.way_out()
        ),
    )
    .command(side.command())
    .evidence("clientProtocol", json!({"min": min, "max": max}))
    .evidence(
        "gatewayProtocol",
        json!({"expected": expected, "minimumForProbes": probe}),
    )
    .evidence("older", side.name())
}

/// A closed object: one field too many is a newer client, one too few an older one.
pub(super) fn schema(case: &Case<'_>) -> Draft {
    let message = &case.refusal.message;
    let side = match message {
        message if message.contains("unexpected property") => Older::Gateway,
        message if message.contains("must have required property") => Older::Client,
        _ => return super::gateway::other(case),
    };
    let secrets = Secrets::of(case.claims, case.challenge);
    let said = secrets.clean(message, 160);
    let what = match side {
        Older::Gateway => "sent a field that this gateway does not know",
        Older::Client | Older::Unknown => "did not send a field that this gateway needs",
    };
    Draft::new(
        Code::ProtocolMismatch,
        format!("{what} ({said})"),
        side.way_out(),
        format!("{what}; {}", side.way_out()),
    )
    .command(side.command())
    .evidence("older", side.name())
}

#[derive(Clone, Copy)]
enum Older {
    Client,
    Gateway,
    Unknown,
}

impl Older {
    fn way_out(self) -> &'static str {
        match self {
            Self::Client => "update the client",
            Self::Gateway => "update the gateway, or use a client of its version",
            Self::Unknown => "update the older side",
        }
    }

    fn command(self) -> Option<String> {
        match self {
            Self::Client | Self::Gateway => Some("openclaw update".to_owned()),
            Self::Unknown => None,
        }
    }

    fn name(self) -> Option<&'static str> {
        match self {
            Self::Client => Some("client"),
            Self::Gateway => Some("gateway"),
            Self::Unknown => None,
        }
    }
}

fn range(min: Option<i64>, max: Option<i64>) -> String {
    match (min, max) {
        (Some(min), Some(max)) if min == max => min.to_string(),
        (Some(min), Some(max)) => format!("{min} to {max}"),
        (Some(one), None) | (None, Some(one)) => one.to_string(),
        (None, None) => "of an unknown version".to_owned(),
    }
}
