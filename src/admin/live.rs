//! Whether the process answers at all.

use serde_json::{Value, json};

/// It does.
pub(super) fn live() -> Value {
    json!({"live": true, "version": env!("CARGO_PKG_VERSION"), "pid": std::process::id()})
}
