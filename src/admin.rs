//! The admin surface: HTTP on a Unix socket in the data directory, for the shim's own commands and for monitoring.
//!
//! Whoever may open the socket may do everything: it lies in a directory that only its owner can enter, and so does
//! the key of the delegate.

pub mod client;
mod live;
mod mode;
mod reload;
mod route;
mod upgrade;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::app::Shim;
use crate::config::Config;
#[cfg(unix)]
use crate::delegate::private_directory;

pub use client::{Client, ClientError};

/// Where the socket of a shim with this data directory is.
#[must_use]
pub fn socket(data: &Path) -> PathBuf {
    data.join(SOCKET)
}

/// The admin surface of a running shim; dropping it takes its socket away.
#[derive(Debug)]
pub struct Admin {
    calls: TaskTracker,
    #[cfg(unix)]
    _socket: Option<unix::Socket>,
}

impl Admin {
    /// Completes when the last call has been answered; to be asked when no more can come.
    pub async fn ended(&self) {
        self.calls.close();
        self.calls.wait().await;
    }
}

/// Starts to serve it, until `stop`. What cannot be had is told, and costs nothing but itself: sessions come first.
///
/// `takes_over`: the shim that answers there now is the one whose place this one takes.
pub async fn start(
    configs: &[Config],
    shim: Arc<Shim>,
    stop: CancellationToken,
    takes_over: bool,
) -> Admin {
    let calls = TaskTracker::new();
    #[cfg(unix)]
    {
        let Some(config) = configs.first() else {
            return Admin {
                calls,
                _socket: None,
            };
        };
        let path = socket(&config.base);
        // Where each gateway has a directory elsewhere, nobody else makes it; a failure shows when the socket is bound.
        let _ = private_directory(&config.base);
        match unix::Socket::bind(&path, takes_over).await {
            Ok((socket, listener)) => {
                let serving = unix::serve(listener, shim, stop, calls.clone());
                calls.spawn(serving);
                Admin {
                    calls,
                    _socket: Some(socket),
                }
            }
            Err(error) => {
                warn!(
                    "no admin socket at {}: {error}; the other commands cannot reach this shim",
                    path.display()
                );
                Admin {
                    calls,
                    _socket: None,
                }
            }
        }
    }
    #[cfg(not(unix))]
    {
        let _ = (configs, shim, stop, takes_over);
        Admin { calls }
    }
}

#[cfg(unix)]
mod unix {
    use std::fs;
    use std::io;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    use std::path::{Path, PathBuf};
    use std::sync::Arc;

    use hyper::server::conn::http1;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use tokio::net::{UnixListener, UnixStream};
    use tokio_util::sync::CancellationToken;
    use tokio_util::task::TaskTracker;
    use tracing::debug;

    use super::route;
    use crate::app::Shim;

    /// The socket's file, removed when it is dropped, unless another shim has put its own there by then.
    #[derive(Debug)]
    pub(super) struct Socket {
        path: PathBuf,
        inode: u64,
    }

    impl Socket {
        /// Binds it, in the place of one that nobody serves any more.
        pub(super) async fn bind(
            path: &Path,
            takes_over: bool,
        ) -> io::Result<(Self, UnixListener)> {
            if !takes_over && UnixStream::connect(path).await.is_ok() {
                let text = "another scope-shim runs with this data directory";
                return Err(io::Error::new(io::ErrorKind::AddrInUse, text));
            }
            let draft = path.with_extension(format!("{}.draft", std::process::id()));
            let _ = fs::remove_file(&draft);
            let listener = UnixListener::bind(&draft)?;
            // Nobody can reach it before its permissions are set: it gets its name only then.
            fs::set_permissions(&draft, fs::Permissions::from_mode(0o600))?;
            let inode = fs::metadata(&draft)?.ino();
            fs::rename(&draft, path)?;
            let path = path.to_owned();
            Ok((Self { path, inode }, listener))
        }
    }

    impl Drop for Socket {
        fn drop(&mut self) {
            let own = fs::metadata(&self.path).is_ok_and(|there| there.ino() == self.inode);
            if own {
                let _ = fs::remove_file(&self.path);
            }
        }
    }

    pub(super) async fn serve(
        listener: UnixListener,
        shim: Arc<Shim>,
        stop: CancellationToken,
        calls: TaskTracker,
    ) {
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let Ok((stream, _)) = accepted else {
                tokio::time::sleep(super::ACCEPT_PAUSE).await;
                continue;
            };
            let (shim, stop) = (Arc::clone(&shim), stop.clone());
            calls.spawn(async move {
                let service = service_fn(move |request| {
                    let shim = Arc::clone(&shim);
                    async move { Ok::<_, hyper::Error>(route::answer(&shim, request).await) }
                });
                let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                tokio::pin!(served);
                let ended = tokio::select! {
                    ended = &mut served => ended,
                    () = stop.cancelled() => {
                        served.as_mut().graceful_shutdown();
                        served.await
                    }
                };
                if let Err(error) = ended {
                    debug!("an admin connection ended: {error}");
                }
            });
        }
    }
}

const SOCKET: &str = "admin.sock";
#[cfg(unix)]
const ACCEPT_PAUSE: std::time::Duration = std::time::Duration::from_millis(100);
