//! `scope-shim upgrade`: a new version takes over from the running one.

use serde_json::{Value, json};

use super::target::{Missed, Target};
use super::{ExitStatus, Said};

/// Has the program at the running shim's own path take over.
///
/// # Errors
///
/// When no shim answers, or the new version does not come to serve; then the running one goes on.
pub async fn run(target: &Target) -> Result<Said, Missed> {
    let client = target.client()?;
    let answer = client
        .post("/upgrade", &json!({}))
        .await
        .map_err(|error| target.missed(error))?;
    let version = match client.get("/live").await {
        Ok(live) => live
            .get("version")
            .and_then(Value::as_str)
            .map(str::to_owned),
        Err(_) => None,
    };
    let number = |path: &str| {
        answer
            .pointer(path)
            .and_then(Value::as_u64)
            .unwrap_or_default()
    };
    let old = answer
        .pointer("/before/version")
        .and_then(Value::as_str)
        .unwrap_or("?");
    let stay = match number("/before/sessions") {
        0 => "no session was under way".to_owned(),
        1 => "1 session stays with the old process until it ends".to_owned(),
        number => format!("{number} sessions stay with the old process until they end"),
    };
    let text = format!(
        "upgraded: {} (process {}) has taken over from {old} (process {}); {stay}\n",
        version.as_deref().unwrap_or("the new version"),
        number("/pid"),
        number("/before/pid"),
    );
    Ok(Said {
        text: crate::text::safe(text.trim_end()) + "\n",
        status: ExitStatus::Ok,
    })
}
