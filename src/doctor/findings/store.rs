//! F18: the pairing store, and the shim's own device in it.

use super::Finding;
use crate::doctor::known::{Certainty, FIRST_WITH_DATABASE, LAST_WITH_FILES};
use crate::doctor::look::{DelegateLook, Form, Look, ON_PATH};
use crate::findings::Code;
use crate::profile::Version;
use crate::scope::{ALL, ScopeSet};

pub(super) fn findings(look: &Look) -> Vec<Finding> {
    [
        unreadable(look),
        version(look),
        both(look),
        moved(look),
        delegate(look),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn unreadable(look: &Look) -> Option<Finding> {
    let why = look.store.unreadable.as_ref()?;
    if look.store.is_untold {
        return None;
    }
    let subject = look.store.state.as_ref().map_or_else(
        || "the pairing store".to_owned(),
        |state| state.display().to_string(),
    );
    let finding = Finding::new(Code::StoreUnreadable, subject).seen(why);
    Some(finding.fix("run this as the user that runs the gateway; if its state is elsewhere, name the directory: gateway.state, --gateway-state"))
}

/// Something beside the gateway speaks of another version than the one that runs: of another generation of stores, or,
/// in the store itself, of a later release.
fn version(look: &Look) -> Option<Finding> {
    let (claimed, from) = look.version.contradicted.as_ref()?;
    if from == ON_PATH {
        return None;
    }
    let running = look.version.exact.as_ref().map(|(version, _)| *version);
    let is_later = look.store.app_version == Some(*claimed)
        && running.is_some_and(|running| *claimed > running);
    if same_generation(look, *claimed) && !is_later {
        return None;
    }
    let finding = Finding::new(Code::StoreMismatch, from)
        .seen(format!("{from} is of OpenClaw {claimed}"))
        .seen(format!("the gateway is {}", look.version.words()));
    Some(finding.fix(
        "if the gateway was put back to an earlier release, pair again what is missing; if it was updated, install its \
         service anew (openclaw gateway install --force); if this is another gateway's state, name the right one: gateway.state, --gateway-state",
    ))
}

fn same_generation(look: &Look, claimed: Version) -> bool {
    let with_database = look.version.since(FIRST_WITH_DATABASE);
    match with_database {
        Certainty::Certain => claimed >= FIRST_WITH_DATABASE,
        Certainty::No => claimed < FIRST_WITH_DATABASE,
        Certainty::Possible => true,
    }
}

/// A gateway that reads one form, and records in the other.
fn both(look: &Look) -> Option<Finding> {
    let migration = look.store.migration;
    let rows = migration.rows.filter(|rows| *rows > 0)?;
    if !migration.files {
        return None;
    }
    let reads = match look.store.form? {
        Form::Files => "devices/paired.json",
        Form::Database => "state/openclaw.sqlite",
    };
    let finding = Finding::new(Code::StoreMismatch, "two pairing stores")
        .seen(format!(
            "devices/paired.json is there, and state/openclaw.sqlite has {rows} paired"
        ))
        .seen(format!("this gateway reads {reads}"));
    Some(finding.fix(
        "devices that only the other store knows have to pair again; a gateway from 2026.8 imports the files when it \
         starts: openclaw doctor",
    ))
}

/// The files were imported and renamed, and then an earlier gateway was put back.
fn moved(look: &Look) -> Option<Finding> {
    let migration = look.store.migration;
    let reads_files = look.version.until(LAST_WITH_FILES);
    if !migration.migrated_files || reads_files != Certainty::Certain {
        return None;
    }
    let finding = Finding::new(Code::StoreMismatch, "devices/paired.json.migrated")
        .seen("a gateway from 2026.8 imported devices/paired.json and renamed it")
        .seen(format!(
            "the gateway is {} and reads only devices/paired.json",
            look.version.words()
        ));
    Some(finding.fix(
        "update the gateway again, or stop it and rename devices/paired.json.migrated to devices/paired.json",
    ))
}

/// What is seen of a device that has no record and no request, and what ends that.
fn unpaired(look: &Look) -> (String, String) {
    let why = look
        .shim
        .running
        .as_ref()
        .and_then(|running| running.why.as_ref());
    match why {
        Some(why) => (
            format!("the shim that runs cannot pair it: {why}"),
            "end that; the shim pairs its device by itself then".to_owned(),
        ),
        None => (
            "its key is there, and the pairing store does not know it".to_owned(),
            format!(
                "start {}: it pairs its device, or says which request to approve",
                look.shim.invocation.command(&["run"])
            ),
        ),
    }
}

fn delegate(look: &Look) -> Option<Finding> {
    let finding = |subject: &str| Finding::new(Code::DelegateNotPaired, subject);
    match &look.shim.delegate {
        DelegateLook::Absent | DelegateLook::Retired => None,
        DelegateLook::Unusable(why) => {
            let fix = "make the key readable by the shim's user alone, or move it away: the shim makes a new one";
            Some(finding("scope-shim's key").seen(why).fix(fix))
        }
        DelegateLook::Present(device) => {
            let snapshot = look.store.snapshot.as_ref()?;
            let subject = format!("scope-shim's device {}", device.short());
            let Some(record) = snapshot.devices.get(device) else {
                let request = snapshot
                    .pending
                    .iter()
                    .find(|request| request.device_id == *device);
                let (seen, fix) = match request {
                    Some(request) => (
                        "its pairing request waits".to_owned(),
                        format!("openclaw devices approve {}", request.request_id),
                    ),
                    None => unpaired(look),
                };
                return Some(finding(&subject).seen(seen).fix(fix));
            };
            let whole: ScopeSet = ALL.into_iter().collect();
            (!record.approved_scopes.names_all(&whole)).then(|| {
                let held = format!("it is paired for {} only", record.approved_scopes);
                let fix = "restart scope-shim: it pairs a new device for everything, and removes this one";
                finding(&subject).seen(held).fix(fix)
            })
        }
    }
}
