//! The Unix socket.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
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
        let draft = Draft::new(path)?;
        let listener = UnixListener::bind(draft.socket())?;
        fs::set_permissions(draft.socket(), fs::Permissions::from_mode(0o600))?;
        let inode = fs::metadata(draft.socket())?.ino();
        fs::rename(draft.socket(), path)?;
        let path = path.to_owned();
        Ok((Self { path, inode }, listener))
    }
}

/// A directory for nobody else, in which a socket is made: it can be connected to from the moment on that it is bound, and
/// gets its permissions only after that.
struct Draft(PathBuf);

impl Draft {
    fn new(path: &Path) -> io::Result<Self> {
        // A short name, because the system takes only short ones.
        let draft = Self(path.with_file_name(format!(".{:x}", std::process::id())));
        // What a crash has left; a version before this one made it a socket.
        draft.clear();
        let _ = fs::remove_file(&draft.0);
        fs::DirBuilder::new().mode(0o700).create(&draft.0)?;
        Ok(draft)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("s")
    }

    fn clear(&self) {
        let _ = fs::remove_file(self.socket());
        let _ = fs::remove_dir(&self.0);
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        self.clear();
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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_else_reaches_a_socket_and_nothing_is_left_of_how_it_was_made() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        let left = Draft::new(&path).unwrap();
        fs::write(left.socket(), "").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!(mode(&left.0), 0o700);
        // As a crash does.
        std::mem::forget(left);
        let (socket, _listener) = Socket::bind(&path, false).await.unwrap();
        assert_eq!(mode(&path), 0o600);
        let names = || fs::read_dir(dir.path()).unwrap().flatten();
        let names: Vec<_> = names().map(|entry| entry.file_name()).collect();
        assert_eq!(names, ["admin.sock"]);
        assert!(socket.is_there());
    }
}
