//! The running proxy.

use crate::config::Config;

/// Serves until it is told to stop.
///
/// # Errors
///
/// When it cannot start.
pub async fn run(_config: Config) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    Ok(())
}
