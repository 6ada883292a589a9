//! The gateway itself: F17, and whatever else it says.

use super::Case;
use super::draft::Draft;
use super::text::Secrets;
use crate::findings::Code;

pub(super) fn unavailable(case: &Case<'_>) -> Draft {
    let secrets = Secrets::of(case.claims, case.challenge);
    let after = retry_after(case);
    let wait = wait(after);
    let said = secrets.clean(&case.refusal.message, 120);
    Draft::new(
        Code::GatewayStarting,
        format!("came while the gateway starts or restarts (\"{said}\")"),
        format!("wait: {wait}"),
        "the gateway is starting; try again in a few seconds",
    )
    .evidence("retryAfterMs", after)
}

/// With `gateway.roles` or access policies the gateway looks a user's profile up, where it may not get an answer
/// (2026.9.6).
pub(super) fn profile(case: &Case<'_>) -> Draft {
    let secrets = Secrets::of(case.claims, case.challenge);
    let after = retry_after(case);
    let said = secrets.clean(&case.refusal.message, 240);
    Draft::new(
        Code::ProxyUser,
        format!("is a user whose profile the gateway cannot verify just now (\"{said}\")"),
        format!(
            "wait: {}; the gateway's log says why (user profile resolution failed), and who connects with the shared token \
             needs no profile",
            wait(after)
        ),
        "the gateway cannot verify its user's profile just now",
    )
    .command("openclaw logs".to_owned())
    .evidence("retryAfterMs", after)
}

fn retry_after(case: &Case<'_>) -> Option<u64> {
    case.message.pointer("/error/retryAfterMs")?.as_u64()
}

fn wait(after: Option<u64>) -> String {
    match after {
        Some(ms) => format!("it asks to be tried again in {ms} ms"),
        None => "try again in a few seconds".to_owned(),
    }
}

/// Whether it refuses, and gives no reason at all.
pub(super) fn says_nothing(case: &Case<'_>) -> bool {
    case.refusal.message == "unauthorized" && case.refusal.details_code.is_none()
}

/// The gateway's own words are the best there is.
pub(super) fn other(case: &Case<'_>) -> Draft {
    let secrets = Secrets::of(case.claims, case.challenge);
    let said = match case.refusal.message.trim() {
        "" => secrets.clean(&case.refusal.code, 60),
        message => secrets.clean(message, 240),
    };
    Draft::new(
        Code::Refused,
        format!("was refused: {said}"),
        "the gateway's log says more: openclaw logs",
        said.clone(),
    )
}
