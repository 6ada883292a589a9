//! Whether the process answers at all.

use serde_json::{Value, json};

use super::gate::Gate;
use crate::app::Shim;

/// It does.
pub(super) fn live(shim: &Shim, gate: &Gate) -> Value {
    if !gate.tells_details() {
        return json!({"live": true});
    }
    json!({
        "live": true,
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "sessions": shim.sessions.len(),
    })
}
