//! The Unix socket.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

/// The socket's file, removed when it is dropped, unless another shim has put its own there by then.
#[derive(Debug)]
pub(super) struct Socket {
    path: PathBuf,
    inode: u64,
}

impl Socket {
    /// Binds it, in the place of one that nobody serves any more, or of the one that this shim succeeds.
    pub(super) async fn bind(path: &Path, takes_over: bool) -> io::Result<(Self, UnixListener)> {
        if !takes_over && UnixStream::connect(path).await.is_ok() {
            let text = "another scope-shim runs with this data directory";
            return Err(io::Error::new(io::ErrorKind::AddrInUse, text));
        }
        // A short name, because the system takes only short ones.
        let draft = path.with_file_name(format!(".{:x}", std::process::id()));
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

impl Socket {
    /// Whether whoever connects to the path still gets here.
    pub(super) fn is_there(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|there| there.ino() == self.inode)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.is_there() {
            let _ = fs::remove_file(&self.path);
        }
    }
}
