//! No answer to a handshake: how far it got, and how long the gateway took (F17).

use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Value, json};

use super::Diagnosis;
use super::data::data;
use super::draft::client;
use super::text::{Secrets, harmless};
use crate::findings::Code;
use crate::handshake::message::Claims;
use crate::profile::Profile;
use crate::text::fitting;
use crate::ws::Close;
use crate::ws::close::{MAX_REASON, NO_STATUS, SERVICE_RESTART, TOO_BIG, TRY_AGAIN_LATER};

/// A handshake that the gateway left without an answer.
#[derive(Clone, Copy, Debug)]
pub struct Silence<'a> {
    /// What the client claimed, where it got that far.
    pub claims: Option<&'a Claims>,
    /// The client's address, as far as it is known.
    pub address: IpAddr,
    /// How the gateway behaves.
    pub profile: &'a Profile,
    /// The last thing that happened.
    pub reached: Reached,
    /// How long it took.
    pub elapsed: Duration,
    /// Whether the gateway ended it; else it fell silent.
    pub closed: bool,
    /// What it said when it ended it, if it said anything.
    pub close: Option<&'a Close>,
}

/// How far a handshake got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// The gateway agreed to the upgrade.
    Upgrade,
    /// It sent its challenge.
    Challenge,
    /// It was sent the `connect` request.
    Request,
}

impl Silence<'_> {
    const fn ended(&self) -> &'static str {
        if self.closed { "closed" } else { "fell silent" }
    }
}

impl Reached {
    const fn words(self) -> &'static str {
        match self {
            Self::Upgrade => "after the upgrade, before its challenge",
            Self::Challenge => "after its challenge",
            Self::Request => "after it was sent the connect request",
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Upgrade => "upgrade",
            Self::Challenge => "challenge",
            Self::Request => "connect",
        }
    }
}

/// Explains it.
#[must_use]
pub fn no_answer(silence: &Silence<'_>) -> Diagnosis {
    let secrets = silence
        .claims
        .map(|claims| Secrets::of(claims, None))
        .unwrap_or_default();
    let who = match silence.claims {
        Some(claims) => client(claims, &secrets),
        None => "a client".to_owned(),
    };
    let said = silence.close.filter(|close| close.code != NO_STATUS);
    let said = said.map(|close| (close.code, secrets.clean(&close.reason, LONGEST_REASON)));
    let texts = texts(silence, &who, said.as_ref());
    let data = data(
        Code::NoAnswer,
        [
            ("client", json!(silence.claims.map(|_| who))),
            ("address", json!(silence.address)),
            ("command", json!(texts.command)),
            ("evidence", evidence(silence, said)),
        ],
    );
    Diagnosis {
        code: Code::NoAnswer,
        sentence: harmless(&texts.sentence),
        short: fitting(&harmless(&texts.short), MAX_REASON),
        command: texts.command.map(str::to_owned),
        data,
    }
}

struct Texts {
    sentence: String,
    short: String,
    command: Option<&'static str>,
}

fn texts(silence: &Silence<'_>, who: &str, said: Option<&(u16, String)>) -> Texts {
    let (ended, words) = (silence.ended(), silence.reached.words());
    let (took, address) = (silence.elapsed.as_millis(), silence.address);
    let quoted = match said {
        Some((code, reason)) if reason.is_empty() => format!(" ({code})"),
        Some((code, reason)) => format!(" ({code} \"{reason}\")"),
        None => String::new(),
    };
    let happened = format!(
        "the gateway {ended} {words}{quoted}, {took} ms into the handshake of {who} at {address}"
    );
    if let Some(way_out) = silence.close.and_then(way_out) {
        return Texts {
            sentence: format!("{happened}; {way_out}"),
            short: format!("scope-shim: {way_out}{quoted}"),
            command: None,
        };
    }
    let allowed = match silence.profile.handshake_timeout() {
        Some(limit) => format!("; its own limit is {} s", limit.as_secs()),
        None => String::new(),
    };
    Texts {
        sentence: format!("{happened}{allowed}; look at its load and at its log: {LOGS}"),
        short: format!(
            "scope-shim: the gateway {ended} {words}{quoted}, {took} ms{allowed}; see: {LOGS}"
        ),
        command: Some(LOGS),
    }
}

fn evidence(silence: &Silence<'_>, said: Option<(u16, String)>) -> Value {
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let mut evidence = json!({
        "reached": silence.reached.name(),
        "ended": silence.ended(),
        "elapsedMs": ms(silence.elapsed),
        "gatewayLimitMs": silence.profile.handshake_timeout().map(ms),
    });
    if let (Some((code, reason)), Some(evidence)) = (said, evidence.as_object_mut()) {
        evidence.insert("closeCode".to_owned(), json!(code));
        evidence.insert("closeReason".to_owned(), json!(reason));
    }
    evidence
}

/// What ends it, where the gateway's own words say what it is about.
fn way_out(close: &Close) -> Option<&'static str> {
    match (close.code, close.reason.as_str()) {
        // From 2026.7.35.
        (AUTH_CHANGED, "gateway auth changed") => {
            Some("the gateway's secret was changed: reconnect with the new one")
        }
        // Every version.
        (SERVICE_RESTART, _) => Some("the gateway restarts: wait, and connect again"),
        // From 2026.7.35.
        (TRY_AGAIN_LATER, "gateway starting") => {
            Some("the gateway starts: wait, and connect again")
        }
        // From 2026.3.13: so much it takes from somebody who is not connected yet.
        (TOO_BIG, _) => {
            Some("the connect request has more than the gateway's 64 KiB: send a shorter one")
        }
        _ => None,
    }
}

/// The gateways' own.
const AUTH_CHANGED: u16 = 4001;
const LONGEST_REASON: usize = 80;
const LOGS: &str = "openclaw logs";
