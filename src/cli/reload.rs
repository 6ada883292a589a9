//! `scope-shim reload`: the running shim reads its configuration again.

use std::fmt::Write as _;

use hyper::StatusCode;
use serde_json::{Value, json};

use super::target::{Missed, Target};
use super::{ExitStatus, Said};
use crate::admin::ClientError;
use crate::config::{Origin, Problem, Problems};
use crate::text::safe;

/// Has it read again, and says what changed.
///
/// # Errors
///
/// Every problem of a configuration that cannot be used: the one before still holds. Or that no shim answers.
pub async fn run(target: &Target) -> Result<Said, Missed> {
    match target.client()?.post("/reload", &json!({})).await {
        Ok(answer) => Ok(shown(&answer)),
        Err(ClientError::Refused { status, message })
            if status == StatusCode::UNPROCESSABLE_ENTITY =>
        {
            Err(Missed::Configuration(refused(&message)))
        }
        Err(error) => Err(target.missed(error)),
    }
}

/// The shim's own words, one problem after the other, and what they mean for it.
fn refused(message: &str) -> Problems {
    let mut problems: Vec<Problem> = Vec::new();
    let still = "not reloaded: the running scope-shim goes on with what it had";
    for line in message.lines().chain([still]) {
        match problems.last_mut() {
            // Hints are indented.
            Some(problem) if line.starts_with(' ') => {
                problem.message.push('\n');
                problem.message.push_str(&safe(line));
            }
            _ => problems.push(Problem {
                origin: Origin::Default,
                message: safe(line),
                hint: None,
            }),
        }
    }
    Problems(problems)
}

fn shown(answer: &Value) -> Said {
    let list = |key| {
        answer
            .get(key)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
    };
    let word = |of: &Value, key| safe(of.get(key).and_then(Value::as_str).unwrap_or_default());
    let mut text = String::new();
    let mut section = |title: &str, holds: &str| {
        let changes: Vec<&Value> = list("changes")
            .filter(|c| word(c, "holds") == holds)
            .collect();
        if !changes.is_empty() {
            let _ = writeln!(text, "{title}");
        }
        for change in changes {
            let gateway = match word(change, "gateway").as_str() {
                "" => String::new(),
                name => format!("{name}: "),
            };
            let _ = writeln!(text, "  {gateway}{}", word(change, "text"));
        }
        !text.is_empty()
    };
    let changed = [
        ("changed, for all sessions:", "now"),
        ("changed, for new sessions:", "for-new-sessions"),
        (
            "needs a restart, until then the old value holds:",
            "after-restart",
        ),
    ]
    .map(|(title, holds)| section(title, holds))
    .contains(&true);
    if !changed {
        text.push_str("read again; nothing has changed\n");
    }
    for finding in list("findings") {
        let lines = finding
            .get("text")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let lines: Vec<String> = lines.lines().map(safe).collect();
        let _ = writeln!(text, "warning: {}", lines.join("\n"));
    }
    let restart = list("changes").any(|change| word(change, "holds") == "after-restart");
    let status = if restart {
        ExitStatus::Findings
    } else {
        ExitStatus::Ok
    };
    Said { text, status }
}
