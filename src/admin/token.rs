//! The tokens of the admin port: 256 random bits each, in files of the data directory that its owner alone can read.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::private::{self, NotOwn};
use crate::secret::Secret;

/// Why there is no token.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The file cannot be read or written.
    #[error("cannot use {}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It may be another user's, or known to one.
    #[error(transparent)]
    NotOwn(#[from] NotOwn),
    /// It is not what the shim writes.
    #[error("{} holds no token; remove it, and start scope-shim again", .0.display())]
    NotAToken(PathBuf),
    /// The system has no randomness to give.
    #[error("this system gave no random bytes for a token")]
    NoRandomness,
}

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Everything.
    Admin,
    /// To look at the metrics and no more, so that what scrapes them can switch nothing.
    Metrics,
}

impl Use {
    const fn file(self) -> &'static str {
        match self {
            Self::Admin => "admin.token",
            Self::Metrics => "metrics.token",
        }
    }
}

/// A token of the shim with this data directory. It outlives the process, so that monitoring goes on after a restart;
/// one that others could read is replaced.
///
/// # Errors
///
/// When it cannot be read, or neither be made; and when it, or the directory, is another user's.
pub fn load_or_create(data: &Path, used_for: Use) -> Result<Secret, TokenError> {
    private::secure_directory(data)?;
    let path = data.join(used_for.file());
    match fs::symlink_metadata(&path) {
        Ok(metadata) => {
            private::check_file(&path, &metadata)?;
            if !is_exposed(&metadata) {
                return read(path);
            }
            tracing::warn!(
                "others could read {}; there is a new token in it",
                path.display()
            );
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(TokenError::Io { path, source }),
    }
    let mut bytes = Zeroizing::new([0; 32]);
    rand::fill(&mut *bytes).map_err(|_| TokenError::NoRandomness)?;
    let token = Zeroizing::new(URL_SAFE_NO_PAD.encode(*bytes));
    if let Err(source) = write(&path, &token) {
        return Err(TokenError::Io { path, source });
    }
    read(path)
}

/// The token for everything of the shim that runs with this data directory.
///
/// # Errors
///
/// When there is none, or it cannot be read.
pub fn load(data: &Path) -> Result<Secret, TokenError> {
    read(data.join(Use::Admin.file()))
}

/// The user whose shim made it.
#[cfg(target_os = "linux")]
pub(super) fn owner(data: &Path) -> Option<u32> {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = fs::metadata(data.join(Use::Admin.file())).ok()?;
    Some(metadata.uid())
}

fn read(path: PathBuf) -> Result<Secret, TokenError> {
    let text = match fs::read_to_string(&path) {
        Ok(text) => Zeroizing::new(text),
        Err(source) => return Err(TokenError::Io { path, source }),
    };
    let token = text.trim();
    if token.len() != LENGTH || URL_SAFE_NO_PAD.decode(token).is_err() {
        return Err(TokenError::NotAToken(path));
    }
    Ok(Secret::new(token))
}

/// Whole or not at all, and never readable by others.
fn write(path: &Path, token: &str) -> io::Result<()> {
    let directory = path.parent().unwrap_or_else(|| Path::new("."));
    let mut draft = tempfile::NamedTempFile::new_in(directory)?;
    draft.write_all(token.as_bytes())?;
    draft.as_file().sync_all()?;
    draft.persist(path)?;
    Ok(())
}

#[cfg(unix)]
fn is_exposed(metadata: &fs::Metadata) -> bool {
    std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o077 != 0
}

#[cfg(not(unix))]
fn is_exposed(_metadata: &fs::Metadata) -> bool {
    false
}

/// 32 bytes in Base64 without padding.
const LENGTH: usize = 43;

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_random_and_outlives_the_process() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let token = load_or_create(one.path(), Use::Admin).unwrap();
        assert_eq!(
            token.reveal(),
            load_or_create(one.path(), Use::Admin).unwrap().reveal()
        );
        assert_ne!(
            token.reveal(),
            load_or_create(other.path(), Use::Admin).unwrap().reveal()
        );
        assert_eq!(URL_SAFE_NO_PAD.decode(token.reveal()).unwrap().len(), 32);
    }

    #[cfg(unix)]
    #[test]
    fn a_token_that_others_could_read_is_replaced() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let token = load_or_create(dir.path(), Use::Admin).unwrap();
        let path = dir.path().join("admin.token");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_ne!(
            load_or_create(dir.path(), Use::Admin).unwrap().reveal(),
            token.reveal()
        );
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }

    #[test]
    fn each_use_has_a_token_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let all = load_or_create(dir.path(), Use::Admin).unwrap();
        let metrics = load_or_create(dir.path(), Use::Metrics).unwrap();
        assert_ne!(all.reveal(), metrics.reveal());
        assert_eq!(load(dir.path()).unwrap().reveal(), all.reveal());
    }

    #[cfg(unix)]
    #[test]
    fn a_token_that_another_user_laid_there_is_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let (elsewhere, path) = (dir.path().join("known"), dir.path().join("admin.token"));
        write(
            &elsewhere,
            load_or_create(dir.path(), Use::Metrics).unwrap().reveal(),
        )
        .unwrap();
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        let refused = load_or_create(dir.path(), Use::Admin)
            .unwrap_err()
            .to_string();
        assert!(refused.contains("is no plain file; remove it"), "{refused}");
        fs::remove_file(&path).unwrap();
        fs::rename(&elsewhere, &path).unwrap();
        if std::os::unix::fs::chown(&path, Some(64_321), None).is_ok() {
            let refused = load_or_create(dir.path(), Use::Admin)
                .unwrap_err()
                .to_string();
            assert!(refused.contains("belongs to user 64321"), "{refused}");
        }
    }

    #[test]
    fn what_is_no_token_is_never_taken_for_one() {
        let dir = tempfile::tempdir().unwrap();
        for text in ["", "secret", "\n"] {
            write(&dir.path().join("admin.token"), text).unwrap();
            assert!(load_or_create(dir.path(), Use::Admin).is_err(), "{text:?}");
        }
    }
}
