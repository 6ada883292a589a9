//! Has the configuration read again.

use std::sync::Arc;

use hyper::StatusCode;
use serde_json::json;

use super::route::{Answer, Refused};
use crate::app::{Effect, Shim};

/// What changed, or every problem that kept it from being used.
pub(super) async fn reload(shim: &Arc<Shim>) -> Answer {
    let reloaded = shim.reload_everywhere().await.map_err(|problems| Refused {
        status: StatusCode::UNPROCESSABLE_ENTITY,
        kind: "bad_configuration",
        message: problems.to_string(),
    })?;
    let changes = reloaded.changes.iter().map(|change| {
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
    });
    let findings = reloaded.findings.iter().map(|finding| {
        json!({"code": finding.code, "message": finding.message, "fix": finding.fix, "text": finding.to_string()})
    });
    Ok(json!({
        "changes": changes.collect::<Vec<_>>(),
        "findings": findings.collect::<Vec<_>>(),
    }))
}
