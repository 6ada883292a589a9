//! What differs between two configurations, and what a change of each key takes.

use std::fmt;

use crate::config::{Config, Origin, Setting};

/// One key that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The gateway that it is about, where there are several and it is not about all of them.
    pub gateway: Option<String>,
    /// The key in the configuration file, or what else was read.
    pub key: String,
    /// What it said before; a secret as `***`.
    pub old: String,
    /// What it says now.
    pub new: String,
    /// What it takes.
    pub effect: Effect,
}

/// What a change takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It holds at once; delegated sessions that it makes too wide end.
    AtOnce,
    /// It holds for the next sessions; those under way go on as they began.
    Next,
    /// The same, and it takes an engine of its own.
    Engine,
    /// It holds after a restart.
    Restart,
}

impl Change {
    /// A gateway that is not configured any more: nobody comes to it, and its sessions go on to their end.
    pub(super) fn gone(name: &str) -> Self {
        Self::whole(name, UNSAID)
    }

    /// A gateway that was not there before.
    pub(super) fn added(name: &str) -> Self {
        Self::whole(UNSAID, name)
    }

    fn whole(old: &str, new: &str) -> Self {
        Self {
            gateway: None,
            key: "gateway".to_owned(),
            old: old.to_owned(),
            new: new.to_owned(),
            effect: Effect::Next,
        }
    }
}

/// `key: old → new`.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, old, new, .. } = self;
        // Keys and values may come from the gateway's files.
        let text = format!("{key}: {old} → {new}");
        f.write_str(&crate::text::safe(&text))
    }
}

/// What a change of a key takes. One that nobody thought of takes a restart.
fn effect(old: &Config, new: &Config, key: &str) -> Effect {
    if key.starts_with("tls.") && !both_encrypt(old, new) {
        return Effect::Restart;
    }
    if key == "gateway.auth" && (old.gateway.auth.takes_users() || new.gateway.auth.takes_users()) {
        // Which header names a user, and how the shim itself gets in, is settled for a whole engine.
        return Effect::Engine;
    }
    known(key).unwrap_or(Effect::Restart)
}

/// A door speaks either TLS or plaintext, for as long as it is open.
fn both_encrypt(old: &Config, new: &Config) -> bool {
    old.tls.files.is_some() == new.tls.files.is_some()
}

/// A key that takes a restart keeps its old value in [`effective`], too.
fn known(key: &str) -> Option<Effect> {
    Some(match key {
        "gateway.auth" | "limits.drain" | "limits.connections" | "log.format" | "log.level" => {
            Effect::AtOnce
        }
        "mode"
        | "tls.certificate"
        | "tls.key"
        | "tls.plaintext"
        | "trusted_proxies"
        | "proxy_protocol"
        | "gateway.hosts"
        | "limits.header_bytes"
        | "limits.header_timeout"
        | "limits.connect_frame_bytes"
        | "limits.handshake_timeout"
        | "limits.idle_timeout"
        | "limits.vanished_timeout"
        | "limits.gateway_handshakes" => Effect::Next,
        "gateway.url"
        | "gateway.state"
        | "gateway.store"
        | "gateway.local_source"
        | "gateway.remote_source"
        | "gateway.connect_timeout"
        | "gateway.user"
        | "gateway.ca_file"
        | "gateway.fingerprint"
        | "gateway.certificate"
        | "gateway.plaintext"
        | "log.sessions" => Effect::Engine,
        "listen" | "data" | "sandbox" | "gateway.name" | "gateway.data" | "admin.socket"
        | "admin.listen" | "admin.probes" => Effect::Restart,
        key if key.starts_with("policy.") => Effect::AtOnce,
        key if key.starts_with("cache.") => Effect::Engine,
        _ => return None,
    })
}

/// Every key whose value is another, and what else of the gateway's own files is.
pub(super) fn differences(old: &Config, new: &Config) -> Vec<Change> {
    let label = new.label.as_ref().or(old.label.as_ref());
    let change = |key: &str, was: &str, is: &str, effect| Change {
        gateway: label.filter(|_| !Config::is_for_all(key)).cloned(),
        key: key.to_owned(),
        old: was.to_owned(),
        new: is.to_owned(),
        effect,
    };
    let mut changes = Vec::new();
    for key in keys(old, new) {
        let (was, is) = (value(old, key), value(new, key));
        if was != is {
            let (was, is) = (was.unwrap_or(UNSAID), is.unwrap_or(UNSAID));
            changes.push(change(key, was, is, effect(old, new, key)));
        } else if key == "gateway.auth" && old.gateway.auth != new.gateway.auth {
            let is = format!("{} (another)", is.unwrap_or(UNSAID));
            let effect = effect(old, new, key);
            changes.push(change(key, was.unwrap_or(UNSAID), &is, effect));
        }
    }
    if changes.is_empty() && old.gateway.facts != new.gateway.facts {
        changes.push(Change {
            gateway: label.cloned(),
            ..change(OWN_FILES, "as read before", "read again", Effect::AtOnce)
        });
    }
    if old.hosts != new.hosts && !changes.iter().any(|change| change.key.ends_with("hosts")) {
        let (was, is) = (old.hosts.join(", "), new.hosts.join(", "));
        changes.push(change("gateway.hosts", &was, &is, Effect::Next));
    }
    changes
}

/// The keys of both, in the order of the file.
fn keys<'a>(old: &'a Config, new: &'a Config) -> Vec<&'a str> {
    let mut keys: Vec<&str> = new.settings.iter().map(|s| s.key.as_str()).collect();
    let gone = old.settings.iter().map(|s| s.key.as_str());
    let gone: Vec<&str> = gone.filter(|key| !keys.contains(key)).collect();
    keys.extend(gone);
    keys
}

fn value<'a>(config: &'a Config, key: &str) -> Option<&'a str> {
    setting(config, key).map(|setting| setting.value.as_str())
}

fn setting<'a>(config: &'a Config, key: &str) -> Option<&'a Setting> {
    config.settings.iter().find(|setting| setting.key == key)
}

/// The new configuration, with the old values of what takes a restart.
pub(super) fn effective(old: &Config, new: &Config, changes: &[Change]) -> Config {
    let mut config = new.clone();
    config.listen = old.listen;
    config.data.clone_from(&old.data);
    keep_of_process(&mut config, old);
    for change in changes.iter().filter(|c| c.effect == Effect::Restart) {
        let kept = setting(old, &change.key);
        let place = config.settings.iter_mut().find(|s| s.key == change.key);
        match (place, kept) {
            (Some(place), Some(kept)) => *place = kept.clone(),
            (Some(place), None) => {
                UNSAID.clone_into(&mut place.value);
                place.origin = Origin::Default;
            }
            (None, Some(kept)) => config.settings.push(kept.clone()),
            (None, None) => {}
        }
    }
    config
}

/// Keeps what takes a restart and is the same for every gateway, one that was not there before included.
pub(super) fn keep_of_process(config: &mut Config, old: &Config) {
    config.base.clone_from(&old.base);
    config.sandbox = old.sandbox;
    config.admin.clone_from(&old.admin);
    if !both_encrypt(old, config) {
        config.tls.clone_from(&old.tls);
    }
}

/// What else is read.
const OWN_FILES: &str = "the gateway's own files";
/// A key that is not there.
const UNSAID: &str = "none";

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;
    use crate::config::Environment;

    #[test]
    fn somebody_has_thought_of_every_key() {
        let home = tempfile::tempdir().unwrap();
        let environment = Environment::from_iter([("HOME", home.path().display().to_string())]);
        let config = Config::load(None, &[], &environment).unwrap();
        for setting in &config.settings {
            assert!(known(&setting.key).is_some(), "{}", setting.key);
        }
    }
}
