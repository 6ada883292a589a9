//! The story on a real gateway, with its own command line.

mod backstage;
mod command;
mod scene;

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};

use super::farewell::Farewell;
use super::npm::{Error as NpmError, Version};
use super::page::Page;
use super::shim::Shim;
use super::{Failure, LISTEN, conclude, fresh_token, invitation, scratch};
use crate::cli;
use backstage::Backstage;
use scene::Scene;

/// Tells the story and, unless it is to end then, stays until it is told to stop. The gateway ends with it.
pub(super) async fn tell<W: Write>(
    page: &mut Page<W>,
    options: &cli::Demo,
    version: &str,
) -> Result<(), Failure> {
    let version: Version = version.parse()?;
    let mut backstage = Backstage::new(Farewell::new()?);
    let place = scratch()?;
    let token = fresh_token()?;
    page.headline(&format!(
        "scope-shim demo: OpenClaw {version} as it is, and the shim in front of it"
    ))?;
    let started = backstage.start_gateway(version, place.path(), &token).await;
    let gateway = match started {
        Err(failure) if points_to_a_log(&failure) => {
            let _kept = place.keep();
            return Err(failure);
        }
        started => started?,
    };
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, gateway.port()));
    let wanted = options.listen.unwrap_or(LISTEN);
    let shim = Shim::start(place.path(), wanted, address, &gateway.state_directory()).await?;
    let told = Scene {
        gateway: &gateway,
        address,
        shim: &shim,
        place: place.path(),
    }
    .play(page, &mut backstage)
    .await;
    if told.is_ok() && !options.exit {
        invitation::real(page, &shim, &gateway, &token)?;
        backstage.farewell().await;
    }
    shim.stop().await?;
    backstage.stop_gateway(gateway).await?;
    told?;
    conclude(page)
}

/// Whether the reason names the gateway's log, which then has to stay where it is.
fn points_to_a_log(failure: &Failure) -> bool {
    matches!(
        failure.downcast_ref(),
        Some(NpmError::GatewayDidNotStart { .. })
    )
}
