//! Taking the delegate off the gateway again, with everything that is left of it there.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::json;
use tracing::warn;

use super::once::{Once, OnceError};
use super::session::{self, NAME, OpenError, Session};
use super::{CallError, Calls, Settings};
use crate::approval::{self, Listing};
use crate::device::DeviceId;
use crate::scope;

/// What was removed, and what could not be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Removal {
    /// The devices that were removed: the delegate, and what it was before.
    pub removed: Vec<String>,
    /// Its pairing requests that were rejected.
    pub rejected: Vec<String>,
    /// What somebody else has to do, as commands.
    pub left: Vec<String>,
    /// Other devices of the shim's name. They may be another shim's.
    pub namesakes: Vec<String>,
}

impl Removal {
    /// Whether nothing of this shim is on the gateway any more.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.left.is_empty()
    }
}

/// Removes the delegate, the devices that it was before, and their pairing requests. What is gone already is no error.
///
/// It opens a session with no more than `operator.pairing`: that is enough for every gateway with the shared secret
/// (2026.2.19 to 2026.9.6), and any record of the delegate covers it. A delegate that is not paired, but that the
/// gateway would pair silently, is paired by that session and removed by it.
///
/// # Errors
///
/// When the gateway cannot be reached, or refuses the shim for another reason than that it is not paired.
pub async fn remove(settings: &Settings) -> Result<Removal, OnceError> {
    // A command may have made a key since this one was deleted. One that cannot be read is no reason to stay paired.
    if let Err(error) = settings.delegate.look_again() {
        warn!("{error}");
    }
    if settings.delegate.is_discarded() {
        return Ok(Removal::default());
    }
    let own = Own::of(settings);
    let scopes = [scope::PAIRING.to_owned()];
    match Session::open(settings, &scopes).await {
        Ok(session) => Ok(own.sweep(session).await),
        Err(OpenError::Refused(refusal)) if refusal.wants_pairing() => {
            match session::open_unpaired(settings).await {
                Some(session) => Ok(own.sweep(session).await),
                None => Ok(own.left_to_others(refusal.request_id.as_deref())),
            }
        }
        Err(error) => Err(OnceError::of(error, settings)),
    }
}

/// A delegate is called so, mostly with the beginning of its device id behind it.
fn is_a_delegate(name: &str) -> bool {
    name.strip_prefix(NAME)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
}

/// The devices that are this shim's.
struct Own {
    delegate: DeviceId,
    former: BTreeSet<DeviceId>,
}

impl Own {
    fn of(settings: &Settings) -> Self {
        let delegate = settings.delegate.device_id();
        let mut former: BTreeSet<DeviceId> = settings.delegate.former().into_iter().collect();
        former.remove(&delegate);
        Self { delegate, former }
    }

    fn has(&self, device: &DeviceId) -> bool {
        *device == self.delegate || self.former.contains(device)
    }

    /// The delegate's own record goes last: gateways from 2026.4.21 close the session with it.
    async fn sweep(&self, session: Session) -> Removal {
        let mut session = Once::around(session);
        let mut removal = Removal::default();
        match approval::look(&mut session).await {
            Ok(listing) => {
                self.sweep_listed(&mut session, &listing, &mut removal)
                    .await
            }
            Err(_) => {
                self.remove(&mut session, &self.delegate, &mut removal)
                    .await
            }
        }
        session.close().await;
        removal
    }

    async fn sweep_listed(&self, session: &mut Once, listing: &Listing, removal: &mut Removal) {
        for request in &listing.waiting {
            if self.has(&request.device_id) {
                self.reject(session, &request.request_id, removal).await;
            }
        }
        let devices = self.former.iter().chain([&self.delegate]);
        for device in devices.filter(|device| listing.devices.contains_key(device)) {
            self.remove(session, device, removal).await;
        }
        let others = listing.devices.values();
        let namesakes = others.filter(|record| {
            let name = record.display_name.as_deref().unwrap_or_default();
            is_a_delegate(name) && !self.has(&record.device_id)
        });
        removal.namesakes = namesakes
            .map(|record| record.device_id.as_str().to_owned())
            .collect();
    }

    async fn reject(&self, session: &mut Once, request: &str, removal: &mut Removal) {
        let params = json!({"requestId": request});
        match session.call("device.pair.reject", params).await {
            Ok(_) => removal.rejected.push(request.to_owned()),
            Err(_) => removal.left.push(reject_command(request)),
        }
    }

    async fn remove(&self, session: &mut Once, device: &DeviceId, removal: &mut Removal) {
        let params = json!({"deviceId": device.as_str()});
        match session.call("device.pair.remove", params).await {
            // A session that ends over the removal of its own device has done its work. One that is lost may not have.
            Ok(_) | Err(CallError::DelegateRemoved) => {
                removal.removed.push(device.as_str().to_owned());
            }
            Err(CallError::Refused(refusal)) if refusal.message.contains("unknown deviceId") => {}
            Err(_) => removal.left.push(remove_command(device)),
        }
    }

    fn left_to_others(&self, request: Option<&str>) -> Removal {
        let mut left = Vec::new();
        left.extend(request.map(reject_command));
        Removal {
            left,
            ..Removal::default()
        }
    }
}

fn reject_command(request: &str) -> String {
    format!("openclaw devices reject {}", request.escape_debug())
}

fn remove_command(device: &DeviceId) -> String {
    format!("openclaw devices remove {device}")
}
