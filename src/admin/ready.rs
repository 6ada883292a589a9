//! Whether a handshake could be served now.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use hyper::{Response, StatusCode};
use serde_json::json;
use tokio::time::timeout;

use super::gate::Told;
use super::route::json;
use crate::app::{Fleet, Shim};
use crate::config::Mode;
use crate::control::Link;
use crate::dial::Side;
use crate::http::{Body, Front};
use crate::served::Served;

/// Whether each gateway could be reached, and why not.
pub(super) struct Ready(pub(super) Vec<(String, Result<(), String>)>);

impl Ready {
    /// Looks at every gateway.
    pub(super) async fn look(fleet: &Fleet) -> Self {
        let each = fleet
            .served
            .iter()
            .map(|served| async { (served.name.clone(), gateway(served).await) });
        Self(join_all(each).await)
    }
}

/// Answers `/ready`: a shim that is told to stop is not, so that nobody is sent to it any more.
pub(super) async fn answer(shim: &Shim, told: Told) -> Response<Body> {
    let draining = shim.draining();
    let gateways = Ready::look(&shim.fleet()).await.0;
    let ready = !draining && gateways.iter().all(|(_, reached)| reached.is_ok());
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    if told == Told::Little {
        return json(status, &json!({"ready": ready}));
    }
    let gateways = gateways.iter().map(|(name, reached)| {
        json!({"name": name, "ready": reached.is_ok(), "why": reached.as_ref().err()})
    });
    let gateways: Vec<_> = gateways.collect();
    json(
        status,
        &json!({"ready": ready, "draining": draining, "gateways": gateways}),
    )
}

async fn gateway(served: &Served) -> Result<(), String> {
    let front = served.front();
    // A shim that is off promises nothing that the gateway would not, least of all to be taken out of its way.
    if served.mode.get() == Mode::Off || front.engine.control.standing().link == Link::Up {
        return Ok(());
    }
    // One look serves all who ask at a time, so that probes cost the gateway next to nothing.
    let mut last = front.engine.telemetry.reached.lock().await;
    if let Some((at, reached)) = &*last
        && at.elapsed() < RECENT
    {
        return reached.clone();
    }
    let reached = dial(&front).await;
    *last = Some((Instant::now(), reached.clone()));
    reached
}

async fn dial(front: &Front) -> Result<(), String> {
    let authority = front.dialer.gateway.authority();
    match timeout(PATIENCE, front.dialer.dial(Side::Local)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(format!(
            "the gateway at {authority} does not answer: {error}"
        )),
        Err(_) => Err(format!(
            "the gateway at {authority} does not answer within {PATIENCE:?}"
        )),
    }
}

const RECENT: Duration = Duration::from_secs(2);
/// Probes wait for a second by default.
const PATIENCE: Duration = Duration::from_millis(800);
