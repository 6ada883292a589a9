//! The certificates that clients are shown, read again.

use std::sync::Arc;

use super::problem;
use crate::config::{Config, Problems};
use crate::served::Door;

/// Shows clients what the files hold now. A door that had no certificate gets none before a restart.
///
/// # Errors
///
/// When files are no pair; the doors before them may show their new ones already, which are good.
pub(super) fn renew(doors: &[Arc<Door>], configs: &[Config]) -> Result<(), Problems> {
    for door in doors {
        let behind = |config: &&Config| {
            let mut served = door.served.iter();
            served.any(|served| served.name == config.name)
        };
        let config = configs.iter().find(behind);
        let files = config.and_then(|config| config.tls.files.clone());
        if let (Some(tls), Some(files)) = (&door.tls, files) {
            tls.replace(files)
                .map_err(|error| problem(error.to_string()))?;
        }
    }
    Ok(())
}
