//! The story on a simulated gateway, which needs nothing installed.

mod scene;

use std::fs;
use std::io::Write;
use std::path::Path;

use serde_json::json;

use super::client;
use super::farewell::{Farewell, INTERRUPTED};
use super::page::Page;
use super::shim::Shim;
use super::simulated::{Options, Profile, SimulatedGateway};
use super::{Failure, LISTEN, conclude, fresh_token, invitation, scratch};
use crate::cli;
use crate::delegate::{Delegate, PLATFORM};
use crate::scope::{ADMIN, PAIRING, READ};
use scene::Scene;

/// Tells the story and, unless it is to end then, stays until it is told to stop.
pub(super) async fn tell<W: Write>(page: &mut Page<W>, options: &cli::Demo) -> Result<(), Failure> {
    let mut farewell = Farewell::new()?;
    let place = scratch()?;
    let token = fresh_token()?;
    let gateway = SimulatedGateway::start(Options {
        profile: Profile::Literal,
        state_dir: place.path().join("gateway"),
        token: Some(token.clone()),
        ..Options::default()
    })
    .await?;
    let cast = Cast::pair(&gateway, place.path(), &token)?;
    let wanted = options.listen.unwrap_or(LISTEN);
    let shim = Shim::start(place.path(), wanted, gateway.addr(), gateway.state_dir()).await?;
    let scene = Scene {
        gateway: &gateway,
        shim: &shim,
        cast: &cast,
    };
    let told = tokio::select! {
        told = scene.play(page) => told,
        () = farewell.said() => Err(INTERRUPTED.into()),
    };
    if told.is_ok() && !options.exit {
        let state = place.path().join("client");
        invitation::simulated(page, &shim, gateway.addr(), &token, &state)?;
        farewell.said().await;
    }
    shim.stop().await?;
    gateway.stop().await;
    told?;
    conclude(page)
}

/// Who appears.
struct Cast {
    token: String,
    /// This machine's own command line, paired with what 2026.2.19 gave it.
    legacy: Delegate,
    /// A device that may only look.
    reader: Delegate,
}

impl Cast {
    fn pair(gateway: &SimulatedGateway, place: &Path, token: &str) -> Result<Self, Failure> {
        let legacy = Delegate::load_or_create(&place.join("devices/command-line"))?;
        let reader = Delegate::load_or_create(&place.join("devices/reader"))?;
        for (device, scopes) in [(&legacy, LEGACY.as_slice()), (&reader, &[READ])] {
            let key = client::public_key(device);
            gateway.pair(device.device_id().as_str(), &key, scopes, Some(PLATFORM))?;
        }
        // Where a gateway keeps its host's own device: clients without a device count as this one.
        let identity = gateway.state_dir().join("identity");
        fs::create_dir_all(&identity)?;
        let device = json!({"version": 1, "deviceId": legacy.device_id().as_str()});
        fs::write(identity.join("device.json"), device.to_string())?;
        Ok(Self {
            token: token.to_owned(),
            legacy,
            reader,
        })
    }
}

/// What 2026.2.19 approves by itself for the command line of its own machine.
const LEGACY: [&str; 3] = [ADMIN, "operator.approvals", PAIRING];
