//! How commands speak of devices, requests and commands.
//!
//! Names come from clients: control characters are escaped before they reach a terminal.

use std::fmt::Write as _;

use super::{Settings, Style};
use crate::approval::{Candidate, Objection};
use crate::config::Config;
use crate::device::{DeviceId, DeviceRecord};
use crate::invocation::quoted;
use crate::text::safe;

/// A row of a block: its name in a column of its own.
pub(super) fn row(text: &mut String, style: Style, name: &str, value: &str) {
    let _ = writeln!(text, "  {} {value}", style.faint(format!("{name:<9}")));
}

/// `cli/cli on linux`.
pub(super) fn client(id: Option<&str>, mode: Option<&str>, platform: Option<&str>) -> String {
    let mut text = safe(id.unwrap_or("an unnamed client"));
    if let Some(mode) = mode {
        let _ = write!(text, "/{}", safe(mode));
    }
    if let Some(platform) = platform {
        let _ = write!(text, " on {}", safe(platform));
    }
    text
}

/// `0123456789ab (a name)`.
pub(super) fn device(id: &DeviceId, name: Option<&str>) -> String {
    let short = safe(&id.short());
    match name {
        Some(name) => format!("{short} ({})", safe(name)),
        None => short,
    }
}

/// `0123456789ab (a name), cli/cli on linux`.
pub(super) fn record(record: &DeviceRecord) -> String {
    format!(
        "{}, {}",
        device(&record.device_id, record.display_name.as_deref()),
        client(
            record.client_id.as_deref(),
            record.client_mode.as_deref(),
            record.platform.as_deref()
        )
    )
}

/// Where a request came from.
pub(super) fn origin(candidate: &Candidate) -> String {
    match candidate.request.remote_ip.as_deref() {
        Some(address) if !candidate.is_from_here() => safe(address),
        _ => "this machine".to_owned(),
    }
}

/// Why the shim does not approve a request, and what would change that.
pub(super) fn objection(candidate: &Candidate, config: &Config) -> Option<String> {
    Some(match candidate.objection(&config.policy)? {
        Objection::ForeignKey => {
            "its key is not the key of the device that it names; reject it with openclaw devices reject".to_owned()
        }
        Objection::Capped { scopes, setting } => {
            let said = config.settings.iter().find(|known| known.key == setting);
            let place = said.map_or_else(String::new, |said| format!(" ({})", said.origin));
            let setting = safe(&setting);
            format!("{setting}{place} keeps {scopes} from this client; allow it there, or reject the request with openclaw devices reject")
        }
    })
}

/// A command of this program with the settings that were given to this one.
pub(super) fn command(settings: &Settings, words: &[&str]) -> String {
    let mut text = "scope-shim".to_owned();
    let (name, rest) = words.split_at(words.len().min(1));
    let config = settings.config.as_ref();
    let config = config.map(|file| ("--config", file.display().to_string()));
    let flags = settings
        .flags()
        .into_iter()
        .map(|flag| (flag.name, flag.value));
    let gateway = settings.gateway_name.clone();
    let gateway = gateway.map(|name| ("--gateway-name", name));
    let given = config
        .into_iter()
        .chain(gateway)
        .chain(flags)
        .flat_map(|(flag, value)| [flag.to_owned(), value]);
    let words = name.iter().map(|&word| word.to_owned());
    let rest = rest.iter().map(|&word| word.to_owned());
    for word in words.chain(given).chain(rest) {
        let _ = write!(text, " {}", quoted(&word));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_clients_reach_no_terminal_as_they_are() {
        let text = client(Some("a\u{1b}[2J"), Some("b\n"), Some("c\r"));
        assert_eq!(text, r"a\u{1b}[2J/b\n on c\r");
    }
}
