//! Has a new version take over.

use hyper::StatusCode;
use serde_json::json;

use super::route::{Answer, Refused};
use crate::app::Shim;

/// The process that has taken over, or why this one goes on.
pub(super) async fn upgrade(shim: &Shim) -> Answer {
    match shim.upgrade().await {
        Ok(pid) => Ok(json!({
            "pid": pid,
            "before": {"pid": std::process::id(), "version": env!("CARGO_PKG_VERSION"), "sessions": shim.sessions.len()},
        })),
        Err(why) => Err(Refused {
            status: StatusCode::CONFLICT,
            kind: "not_upgraded",
            message: why,
        }),
    }
}
