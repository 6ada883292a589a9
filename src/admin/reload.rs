//! Has the configuration read again, and tells what became of it.

use std::sync::Arc;

use hyper::StatusCode;
use serde_json::{Value, json};

use super::route::{Answer, Refused};
use crate::app::{Change, Effect, Shim};

/// What changed, or every problem that kept it from being used.
pub(super) async fn reload(shim: &Arc<Shim>) -> Answer {
    let reloaded = shim.reload_everywhere().await.map_err(|problems| Refused {
        status: StatusCode::UNPROCESSABLE_ENTITY,
        kind: "bad_configuration",
        message: problems.to_string(),
    })?;
    let changes = reloaded.changes.iter().map(change);
    let findings = reloaded.findings.iter().map(|finding| {
        json!({"code": finding.code, "message": finding.message, "fix": finding.fix, "text": finding.to_string()})
    });
    Ok(json!({
        "changes": changes.collect::<Vec<_>>(),
        "findings": findings.collect::<Vec<_>>(),
    }))
}

/// What is told of the reloads so far: the last one, where it was refused, and what waits for a restart.
pub(super) fn history(shim: &Shim) -> Value {
    let history = shim.reload_history();
    let configs = shim.configs();
    let command = |word: &str| match configs.first() {
        Some(config) => config.invocation.command(&[word]),
        None => format!("scope-shim {word}"),
    };
    let refused = history.refused.map(|refused| {
        let problems = refused.problems.0.iter().map(ToString::to_string);
        json!({
            "at": refused.at_ms,
            "problems": problems.collect::<Vec<_>>(),
            "fix": format!("correct that, and run: {}", command("reload")),
        })
    });
    let waiting = history.waiting.map(|waiting| {
        let changes = waiting.changes.iter().map(change);
        json!({
            "at": waiting.at_ms,
            "changes": changes.collect::<Vec<_>>(),
            "fix": restart(&waiting.changes, &command("upgrade")),
        })
    });
    json!({"last_success": history.last_success_ms, "refused": refused, "waiting": waiting})
}

/// How those take effect. A command finds a running shim by some of them, and would look for it in the wrong place.
fn restart(changes: &[Change], upgrade: &str) -> String {
    let finds = |change: &Change| ["data", "admin.socket"].contains(&change.key.as_str());
    if changes.iter().any(finds) {
        "restart scope-shim".to_owned()
    } else {
        format!("restart scope-shim, or run: {upgrade}")
    }
}

fn change(change: &Change) -> Value {
    json!({
        "gateway": change.gateway,
        "key": change.key,
        "old": change.old,
        "new": change.new,
        "holds": match change.effect {
            Effect::AtOnce => "now",
            Effect::Next | Effect::Engine => "for-new-sessions",
            Effect::Restart => "after-restart",
        },
        "text": change.to_string(),
    })
}
