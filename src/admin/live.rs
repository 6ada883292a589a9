//! Whether the process answers at all.

use serde_json::{Value, json};

use super::gate::Told;
use crate::app::Shim;

/// It does.
pub(super) fn live(shim: &Shim, told: Told) -> Value {
    if told == Told::Little {
        return json!({"live": true});
    }
    json!({
        "live": true,
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "sessions": shim.sessions.len(),
    })
}
