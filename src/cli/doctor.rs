//! `scope-shim doctor`: what is wrong, or about to go wrong, between the gateway and its clients.

use super::{ExitStatus, Said, Style};
use crate::config::{Config, Environment};
use crate::doctor::{self, Look, json, render};

/// Looks, and says what was found. Changes nothing.
///
/// The status is [`ExitStatus::Findings`] where there is something to say, and [`ExitStatus::Failure`] where neither the
/// gateway nor its store could be looked at.
pub async fn run(config: &Config, as_json: bool, style: Style) -> Said {
    let look = Look::take(config, &Environment::of_process()).await;
    let findings = doctor::findings(&look);
    let text = if as_json {
        json::report(&look, &findings).unwrap_or_default()
    } else {
        render::report(&look, &findings, style)
    };
    let status = if look.is_blind() {
        ExitStatus::Failure
    } else if findings.is_empty() {
        ExitStatus::Ok
    } else {
        ExitStatus::Findings
    };
    Said { text, status }
}
