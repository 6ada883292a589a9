//! No answer to a handshake: how far it got, and how long the gateway took (F17).

use std::net::IpAddr;
use std::time::Duration;

use serde_json::json;

use super::Diagnosis;
use super::data::data;
use super::draft::client;
use super::text::{Secrets, harmless};
use crate::findings::Code;
use crate::handshake::message::Claims;
use crate::profile::Profile;
use crate::text::fitting;
use crate::ws::close::MAX_REASON;

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
    let ended = if silence.closed {
        "closed"
    } else {
        "fell silent"
    };
    let took = silence.elapsed.as_millis();
    let limit = silence.profile.handshake_timeout();
    let allowed = match limit {
        Some(limit) => format!("; its own limit is {} s", limit.as_secs()),
        None => String::new(),
    };
    let words = silence.reached.words();
    let sentence = format!(
        "the gateway {ended} {words}, {took} ms into the handshake of {who} at {}{allowed}; look at its load and at \
         its log: {LOGS}",
        silence.address
    );
    let short = format!("scope-shim: the gateway {ended} {words}, {took} ms{allowed}; see: {LOGS}");
    let evidence = json!({
        "reached": silence.reached.name(),
        "ended": ended,
        "elapsedMs": u64::try_from(took).unwrap_or(u64::MAX),
        "gatewayLimitMs": limit.map(|limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)),
    });
    let data = data(
        Code::NoAnswer,
        [
            ("client", json!(silence.claims.map(|_| who))),
            ("address", json!(silence.address)),
            ("command", json!(LOGS)),
            ("evidence", evidence),
        ],
    );
    Diagnosis {
        code: Code::NoAnswer,
        sentence: harmless(&sentence),
        short: fitting(&harmless(&short), MAX_REASON),
        command: Some(LOGS.to_owned()),
        data,
    }
}

const LOGS: &str = "openclaw logs";
