//! `scope-shim demo`: the failure and its cure, on a gateway of its own.

pub mod npm;
pub mod simulated;

use std::net::SocketAddr;

/// Shows the failure and its cure, then stays up until it is told to stop.
///
/// # Errors
///
/// When it cannot start.
pub async fn run(
    _gateway: Option<String>,
    _listen: Option<SocketAddr>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    Ok(())
}
