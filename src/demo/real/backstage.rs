//! What takes long and blocks: npm, the gateway's start and its command line. All of it can be broken off.

use std::io::{self, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::super::Failure;
use super::super::farewell::{Farewell, INTERRUPTED};
use super::super::npm::process::stop_everything;
use super::super::npm::{
    Cache, Credential, Error as NpmError, GatewayOptions, RealGateway, Version, install,
};

/// Runs what blocks on a thread that may wait, and ends it when the demo is to end.
pub(super) struct Backstage {
    farewell: Farewell,
}

impl Backstage {
    pub(super) fn new(farewell: Farewell) -> Self {
        Self { farewell }
    }

    /// Waits until the demo is to end.
    pub(super) async fn farewell(&mut self) {
        self.farewell.said().await;
    }

    /// Runs `work`. When the demo is to end meanwhile, every process that it started is ended, and so is the work.
    pub(super) async fn run<T, F>(&mut self, work: F) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T, NpmError> + Send + 'static,
    {
        let mut work = spawn_blocking(work);
        tokio::select! {
            done = &mut work => return Ok(done??),
            () = self.farewell.said() => {}
        }
        loop {
            stop_everything();
            tokio::select! {
                // What it made of its end does not matter, but a gateway in it is stopped before anything else is.
                _ = &mut work => return Err(INTERRUPTED.into()),
                () = sleep(BETWEEN_STOPS) => {}
            }
        }
    }

    /// Installs the gateway and starts it in a home below `place`.
    pub(super) async fn start_gateway(
        &mut self,
        version: Version,
        place: &Path,
        token: &str,
    ) -> Result<Arc<RealGateway>, Failure> {
        let options = GatewayOptions {
            home: place.join("home"),
            port: free_port()?,
            credential: Credential::Token(token.to_owned()),
            settings: Value::Null,
            environment: Vec::new(),
        };
        let start = move || {
            let installed = install(&Cache::of_this_user()?, &version, &mut progress)?;
            progress(&format!(
                "openclaw {version}: starting in {} (up to a minute)",
                options.home.display()
            ));
            RealGateway::start(&installed, options)
        };
        Ok(Arc::new(self.run(start).await?))
    }

    /// Stops the gateway and waits until its processes are gone; now nothing breaks that off.
    pub(super) async fn stop_gateway(&self, gateway: Arc<RealGateway>) -> Result<(), Failure> {
        // The last handle: every command that held another has ended.
        Ok(spawn_blocking(move || drop(gateway)).await?)
    }
}

/// Says what takes its time, beside the story.
pub(super) fn progress(line: &str) {
    // Without standard error there is nobody to tell.
    let _ = writeln!(io::stderr(), "{line}");
}

/// A port with room above it: a gateway opens others there. Two demos at once do not begin at the same one.
fn free_port() -> Result<u16, Failure> {
    let places = usize::from((LAST_PORT - FIRST_PORT) / ROOM);
    let begin = usize::try_from(std::process::id()).unwrap_or_default() % places;
    (FIRST_PORT..LAST_PORT)
        .step_by(usize::from(ROOM))
        .cycle()
        .skip(begin)
        .take(places)
        .find(|&port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok())
        .ok_or_else(|| "no free port for the gateway on 127.0.0.1".into())
}

/// Below those that systems hand out by themselves.
const FIRST_PORT: u16 = 19_000;
const LAST_PORT: u16 = 28_000;
const ROOM: u16 = 20;

const BETWEEN_STOPS: Duration = Duration::from_millis(100);
