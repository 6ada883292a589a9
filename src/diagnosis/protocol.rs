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
    let program = Program::of(case);
    Draft::new(
        Code::ProtocolMismatch,
        format!(
            "speaks protocol {range}, and the gateway ({}) {speaks}",
            case.profile
        ),
        side.way_out(program),
        format!(
            "client speaks protocol {range}, gateway {speaks}; {}",
            side.way_out(program)
        ),
    )
    .command(side.command(program))
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
    let program = Program::of(case);
    let secrets = Secrets::of(case.claims, case.challenge);
    let said = secrets.clean(message, 160);
    let what = match side {
        Older::Gateway => "sent a field that this gateway does not know",
        Older::Client | Older::Unknown => "did not send a field that this gateway needs",
    };
    Draft::new(
        Code::ProtocolMismatch,
        format!("{what} ({said})"),
        side.way_out(program),
        format!("{what}; {}", side.way_out(program)),
    )
    .command(side.command(program))
    .evidence("older", side.name())
}

/// The gateway ends the node of its own machine that an update left behind: its service is to start it anew (2026.7.35
/// and 2026.9.6). They speak the same protocol.
pub(super) fn old_node(case: &Case<'_>) -> Draft {
    let secrets = Secrets::of(case.claims, case.challenge);
    let version = |key: &str| {
        let value = case.message.pointer(&format!("/error/details/{key}"));
        value
            .and_then(Value::as_str)
            .map(|version| secrets.clean(version, 40))
    };
    let (node, gateway) = (version("clientVersion"), version("gatewayVersion"));
    let releases = match (&node, &gateway) {
        (Some(node), Some(gateway)) => format!(" (the node is {node}, the gateway {gateway})"),
        _ => String::new(),
    };
    Draft::new(
        Code::ProtocolMismatch,
        format!("is the node of the gateway's own machine, and of an earlier release than the gateway{releases}"),
        format!("restart the node: {RESTART_NODE}"),
        "the node is of an earlier release than its gateway; restart the node",
    )
    .command(RESTART_NODE.to_owned())
    .evidence("nodeVersion", node)
    .evidence("gatewayVersion", gateway)
    .evidence("older", "client")
}

#[derive(Clone, Copy)]
enum Older {
    Client,
    Gateway,
    Unknown,
}

impl Older {
    fn way_out(self, program: Program) -> &'static str {
        match (self, program) {
            // It comes from the gateway, and the browser keeps it.
            (Self::Client | Self::Gateway, Program::Page) => "reload the page",
            (Self::Client, Program::OpenClaw) => "update the client",
            (Self::Client, Program::Other) => "update that program",
            (Self::Gateway, Program::OpenClaw) => {
                "update the gateway, or use a client of its version"
            }
            (Self::Gateway, Program::Other) => {
                "update the gateway, or use a version of that program that fits it"
            }
            (Self::Unknown, _) => "update the older side",
        }
    }

    /// `openclaw update` updates what comes with the command line, and nothing else.
    fn command(self, program: Program) -> Option<String> {
        match (self, program) {
            (Self::Client | Self::Gateway, Program::OpenClaw) => Some("openclaw update".to_owned()),
            _ => None,
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

/// What a client is part of.
#[derive(Clone, Copy)]
enum Program {
    /// The command line, and what it starts.
    OpenClaw,
    /// The Control UI.
    Page,
    /// An app, or somebody else's program.
    Other,
}

impl Program {
    fn of(case: &Case<'_>) -> Self {
        match case.claims.client_id.as_str() {
            "cli" | "gateway-client" | "node-host" | "openclaw-tui" | "tui" => Self::OpenClaw,
            "openclaw-control-ui" => Self::Page,
            _ => Self::Other,
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

const RESTART_NODE: &str = "openclaw node restart";
