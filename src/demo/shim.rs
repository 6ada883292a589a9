//! The shim of the demo: the same as `scope-shim run`, in this process.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Failure;
use crate::config::{Config, Environment};
use crate::delegate::Delegate;
use crate::{app, listen};

/// A running shim. Dropping it stops it, without waiting.
pub(super) struct Shim {
    pub(super) address: SocketAddr,
    /// The address that was wanted, where somebody else has it.
    pub(super) taken: Option<SocketAddr>,
    /// Its own device.
    pub(super) delegate: Delegate,
    /// Its configuration.
    pub(super) config: PathBuf,
    stop: CancellationToken,
    serving: JoinHandle<Result<(), Failure>>,
    _background: Background,
}

impl Shim {
    /// Starts a shim in front of `gateway`, whose state is in `state`, with its own files in `place`.
    ///
    /// Where `wanted` is taken it listens on a free port of the same address.
    pub(super) async fn start(
        place: &Path,
        wanted: SocketAddr,
        gateway: SocketAddr,
        state: &Path,
    ) -> Result<Self, Failure> {
        let background = Background::new()?;
        let bound = background.runtime()?.spawn(bind(wanted)).await?;
        let (listener, taken) =
            bound.map_err(|error| format!("cannot listen on {wanted}: {error}"))?;
        let address = listener.local_addr()?;
        let file = place.join("scope-shim.toml");
        let config = configure(&file, place, address, gateway, state)?;
        let delegate = Delegate::load_or_create(&config.data)?;
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let serving = app::serve(config, listener, stopped);
        Ok(Self {
            address,
            taken,
            delegate,
            config: file,
            stop,
            serving: background.runtime()?.spawn(serving),
            _background: background,
        })
    }

    /// Stops listening, lets sessions end, and then ends everything else.
    pub(super) async fn stop(self) -> Result<(), Failure> {
        self.stop.cancel();
        self.serving.await?
    }
}

/// Binds `wanted`, or a free port of the same address; then `wanted` comes back too.
async fn bind(wanted: SocketAddr) -> io::Result<(TcpListener, Option<SocketAddr>)> {
    match listen::bind(wanted).await {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let listener = listen::bind(SocketAddr::new(wanted.ip(), 0)).await?;
            Ok((listener, Some(wanted)))
        }
        bound => Ok((bound?, None)),
    }
}

/// A file as an operator writes it, and nothing of the operator's own: no variables, no other file.
fn configure(
    file: &Path,
    place: &Path,
    listen: SocketAddr,
    gateway: SocketAddr,
    state: &Path,
) -> Result<Config, Failure> {
    let data = place.join("shim");
    // The requests that the direct attempts leave are part of the story; the shim would approve them.
    let text = format!(
        "listen = \"{listen}\"\ndata = {data:?}\n\n[gateway]\nurl = \"ws://{gateway}\"\nstate = {state:?}\n\n\
         [policy]\nentitled_repairs = \"off\"\n"
    );
    fs::write(file, text)?;
    let environment = Environment::from_iter([("HOME", place.to_string_lossy())]);
    Config::load(Some(file), &[], &environment).map_err(|problems| {
        let problems = problems.0.iter().map(ToString::to_string);
        problems.collect::<Vec<_>>().join("; ").into()
    })
}

/// A runtime for the shim alone, so that all of it ends before the gateway behind it does: it would complain.
struct Background(Option<Runtime>);

impl Background {
    fn new() -> io::Result<Self> {
        let runtime = Builder::new_multi_thread().enable_all().build()?;
        Ok(Self(Some(runtime)))
    }

    fn runtime(&self) -> io::Result<&Runtime> {
        self.0
            .as_ref()
            .ok_or_else(|| io::Error::other("the shim has been stopped"))
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // The only way that is allowed on a thread of another runtime.
            runtime.shutdown_background();
        }
    }
}
