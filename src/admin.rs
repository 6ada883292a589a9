//! The admin surface: HTTP on a Unix socket in the data directory, for the shim's own commands and for monitoring.
//!
//! Whoever may open the socket may do everything: it lies in a directory that only its owner can enter, and so does
//! the key of the delegate.

mod approve;
pub mod client;
mod live;
mod mode;
pub mod page;
mod route;
mod status;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::app::Shim;
use crate::config::Config;

pub use client::{Client, ClientError};

/// Where the socket of a shim with this data directory is.
#[must_use]
pub fn socket(data: &Path) -> PathBuf {
    data.join(SOCKET)
}

/// The admin surface of a running shim; dropping it takes its socket away.
#[derive(Debug)]
pub struct Admin {
    #[cfg(unix)]
    _socket: Option<unix::Socket>,
}

/// Starts to serve it, until `stop`. What cannot be had is told, and costs nothing but itself: sessions come first.
pub async fn start(configs: &[Config], shim: Arc<Shim>, stop: CancellationToken) -> Admin {
    #[cfg(unix)]
    {
        let Some(config) = configs.first() else {
            return Admin { _socket: None };
        };
        let path = socket(&config.data);
        match unix::Socket::bind(&path).await {
            Ok((socket, listener)) => {
                tokio::spawn(unix::serve(listener, shim, stop));
                Admin {
                    _socket: Some(socket),
                }
            }
            Err(error) => {
                warn!(
                    "no admin socket at {}: {error}; the other commands cannot reach this shim",
                    path.display()
                );
                Admin { _socket: None }
            }
        }
    }
    #[cfg(not(unix))]
    {
        let _ = (configs, shim, stop);
        Admin {}
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
        pub(super) async fn bind(path: &Path) -> io::Result<(Self, UnixListener)> {
            if UnixStream::connect(path).await.is_ok() {
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

    pub(super) async fn serve(listener: UnixListener, shim: Arc<Shim>, stop: CancellationToken) {
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let Ok((stream, _)) = accepted else {
                tokio::time::sleep(super::ACCEPT_PAUSE).await;
                continue;
            };
            let shim = Arc::clone(&shim);
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let shim = Arc::clone(&shim);
                    async move { Ok::<_, hyper::Error>(route::answer(&shim, request).await) }
                });
                let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                if let Err(error) = served.await {
                    debug!("an admin connection ended: {error}");
                }
            });
        }
    }
}

const SOCKET: &str = "admin.sock";
#[cfg(unix)]
const ACCEPT_PAUSE: std::time::Duration = std::time::Duration::from_millis(100);
