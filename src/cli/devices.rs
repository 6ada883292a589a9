//! `scope-shim devices`: the paired devices and the requests that wait.

use super::{ExitStatus, Said, Style};
use crate::app::Failure;
use crate::config::{Config, Environment};
use crate::doctor::{Look, json, render};

/// Reads the pairing store, and shows it without its secrets. Changes nothing.
///
/// # Errors
///
/// Why the store cannot be read.
pub async fn run(config: &Config, as_json: bool, style: Style) -> Result<Said, Failure> {
    let look = Look::take(config, &Environment::of_process()).await;
    if let Some(why) = &look.store.unreadable {
        return Err(format!("the pairing store cannot be read: {why}").into());
    }
    let text = if as_json {
        json::devices(&look).unwrap_or_default()
    } else {
        render::devices(&look, style)
    };
    Ok(Said {
        text,
        status: ExitStatus::Ok,
    })
}
