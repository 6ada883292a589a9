//! Reading the gateway's JSON5 file without trusting it.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::include;
use crate::config::{Environment, Finding, Warning};

/// A parsed configuration file with its includes resolved.
pub(super) struct Document {
    pub(super) path: PathBuf,
    root: Value,
}

impl Document {
    /// The value at a dotted key; `null` counts as unset.
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        let mut value = &self.root;
        for part in key.split('.') {
            value = value.as_object()?.get(part)?;
        }
        (!value.is_null()).then_some(value)
    }

    /// How `check` names a value of the file.
    pub(super) fn origin(&self, key: &str) -> String {
        format!("{}: {key}", self.path.display())
    }

    /// A key holds something of the wrong kind. What it holds is not repeated: it may be a secret.
    pub(super) fn wrong(&self, key: &str, expected: &str) -> Finding {
        let found = self.get(key).map_or("nothing", kind);
        Finding::new(
            Warning::GatewayConfigType,
            format!(
                "{}: {key}: expected {expected}, found {found}; the shim ignores it",
                self.path.display()
            ),
            format!("correct {key}, or give the shim the setting itself"),
        )
    }
}

/// Reads and parses the file; `None` when there is none at all.
pub(super) fn load(
    path: &Path,
    environment: &Environment,
    findings: &mut Vec<Finding>,
) -> Result<Option<Document>, Finding> {
    if !path.exists() {
        findings.push(Finding::new(
            Warning::GatewayConfigMissing,
            format!("there is no gateway configuration at {}", path.display()),
            "if the gateway's state is elsewhere, name the directory (gateway.state, --gateway-state); otherwise its address \
             (gateway.url, --gateway) and its secret (gateway.token_file, SCOPE_SHIM_GATEWAY_TOKEN) are all that is needed",
        ));
        return Ok(None);
    }
    let unusable = |why: String| {
        Finding::new(
            Warning::GatewayConfigUnusable,
            format!("{}{why}; the shim goes on without it", path.display()),
            "correct the file, or give the gateway's address (gateway.url, --gateway) and secret (gateway.token_file, \
             SCOPE_SHIM_GATEWAY_TOKEN)",
        )
    };
    let root = parse_file(path).map_err(unusable)?;
    if !root.is_object() {
        return Err(unusable(format!(
            ": expected an object, found {}",
            kind(&root)
        )));
    }
    let root = include::resolve(root, path, environment, findings);
    Ok(Some(Document {
        path: path.to_owned(),
        root,
    }))
}

/// Parses one file. The error starts with a place or a colon and holds nothing of the file's contents.
pub(super) fn parse_file(path: &Path) -> Result<Value, String> {
    let text = read(path)?;
    parse(&text)
}

/// The text of a regular file of bounded size.
pub(super) fn read(path: &Path) -> Result<String, String> {
    let metadata = fs::metadata(path).map_err(|error| format!(": {error}"))?;
    if !metadata.is_file() {
        // A pipe would block for ever.
        return Err(": it is not a regular file".to_owned());
    }
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(|error| format!(": {error}"))?;
    file.take(MOST_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!(": {error}"))?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(format!(": it is larger than {} KiB", MOST_BYTES / 1024));
    }
    String::from_utf8(bytes).map_err(|_| ": it is not UTF-8".to_owned())
}

/// Parses JSON5.
pub(super) fn parse(text: &str) -> Result<Value, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if deeper_than(text, DEEPEST) {
        return Err(format!(": it nests deeper than {DEEPEST} levels"));
    }
    json5::from_str(text).map_err(|error| {
        // Only the code: any other text could repeat what the file holds.
        let what = error
            .code()
            .map_or_else(|| "not JSON5".to_owned(), |code| code.to_string());
        match error.position() {
            Some(place) => format!(":{}:{}: {what}", place.line + 1, place.column + 1),
            None => format!(": {what}"),
        }
    })
}

/// Whether brackets outside of texts and comments nest deeper than `limit`.
///
/// The parser calls itself for each level and has no limit of its own, so that a deep file would end the process. Where
/// this scan and the parser could disagree it counts more, not less: a comment ends at every line terminator of JSON5.
fn deeper_than(text: &str, limit: usize) -> bool {
    let mut depth = 0_usize;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '{' | '[' => {
                depth += 1;
                if depth > limit {
                    return true;
                }
            }
            '}' | ']' => depth = depth.saturating_sub(1),
            '"' | '\'' => {
                while let Some(inside) = letters.next() {
                    match inside {
                        '\\' => {
                            letters.next();
                        }
                        inside if inside == letter => break,
                        _ => {}
                    }
                }
            }
            '/' => match letters.peek() {
                Some('/') => {
                    let ends = |c: char| matches!(c, '\n' | '\r' | '\u{2028}' | '\u{2029}');
                    letters.by_ref().find(|c| ends(*c));
                }
                Some('*') => {
                    letters.next();
                    while let Some(inside) = letters.next() {
                        if inside == '*' && letters.next_if_eq(&'/').is_some() {
                            break;
                        }
                    }
                }
                _ => {}
            },
            _ => {}
        }
    }
    false
}

/// The kind of a value, with its article.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(true) => "true",
        Value::Bool(false) => "false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// No configuration seen comes near to this.
const MOST_BYTES: u64 = 1024 * 1024;
/// Far below what any thread's stack holds, far above what any configuration needs.
const DEEPEST: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_counts_brackets_outside_of_texts_and_comments() {
        assert!(!deeper_than("[[]][[]]", 2));
        assert!(deeper_than("[[[", 2));
        assert!(!deeper_than(r#"["[[[[", '{{"\'{{']"#, 1));
        assert!(!deeper_than("[ // [[[\n /* [[[ * [ **/ ]", 1));
        assert!(deeper_than("// \u{2028}[[", 1));
        assert!(deeper_than("// \r[[", 1));
        assert!(deeper_than("/[[", 1));
    }

    #[test]
    fn json5_is_read_and_a_slip_is_placed() {
        let value = parse("\u{feff}{gateway: {port: 0x4965, /* x */ bind: 'lan',},}");
        assert_eq!(
            value,
            Ok(serde_json::json!({"gateway": {"port": 18789, "bind": "lan"}}))
        );
        let error = parse("{\n  token: \"s3cret\"\n  x: 1}").err();
        assert_eq!(error.as_deref(), Some(":3:3: expected comma"));
        assert!(parse("").is_err());
        assert!(parse(&"[".repeat(1_000_000)).is_err());
        assert!(parse(&"{a:".repeat(500_000)).is_err());
    }
}
