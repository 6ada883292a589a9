//! What is the shim's own alone: its directory, and what is written there.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why what is there cannot be the shim's own. The text says what to do.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NotOwn {
    /// Another user's, who can know or change what is in it.
    #[error(
        "{} belongs to user {owner}, and scope-shim runs as user {own}; remove it, or let it be that user's: chown {own} {}",
        .path.display(),
        .path.display()
    )]
    Owner {
        /// The file or directory.
        path: PathBuf,
        /// Its user.
        owner: u32,
        /// Who the shim runs as.
        own: u32,
    },
    /// A link or something else that leads who knows where.
    #[error("{} is no plain file; remove it", .0.display())]
    NotPlain(PathBuf),
    /// Others may write there, and that cannot be changed.
    #[error("others can write to {} ({source}); run: chmod go-w {}", .path.display(), .path.display())]
    Loose {
        /// The directory.
        path: PathBuf,
        /// Why the shim did not change it.
        source: io::Error,
    },
    /// It cannot be looked at.
    #[error("cannot look at {}: {source}", .path.display())]
    Unseen {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Makes a directory, for nobody but its owner, where there is none. Of what root makes below another user's directory that
/// user is the owner, as of its files.
pub(crate) fn directory(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| *parent != Path::new("")) {
        directory(parent)?;
    }
    let mut builder = fs::DirBuilder::new();
    // Somebody else may have made it meanwhile.
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)?;
    #[cfg(unix)]
    if let Some((user, group)) = owner_to_be_left(path)? {
        use rustix::fs::OFlags;
        // That user may put a link there meanwhile.
        let flags = (OFlags::DIRECTORY | OFlags::NOFOLLOW).bits().cast_signed();
        let mut options = fs::OpenOptions::new();
        std::os::unix::fs::OpenOptionsExt::custom_flags(options.read(true), flags);
        std::os::unix::fs::fchown(options.open(path)?, Some(user), Some(group))?;
    }
    Ok(())
}

/// Writes a draft that nobody else can read, in the place of what a crash, or anybody, has left under this name: a link
/// that lies there is not followed.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => create(path, bytes),
    }
}

/// Makes a file that nobody else can read, where there is none.
pub(crate) fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = created(path, fs::OpenOptions::new().write(true))?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Opens a file to be appended to, and makes it for nobody else where there is none. In another user's directory root
/// follows no link.
pub(crate) fn append(path: &Path) -> io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    options.read(true).append(true);
    match created(path, &mut options) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            options.create_new(false);
            #[cfg(unix)]
            if owner_to_be_left(path)?.is_some() {
                let flags = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
                std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, flags);
            }
            options.open(path)
        }
        made => made,
    }
}

/// What root makes in another user's directory is that user's: a shim that may not read what it was told with `sudo` would
/// go on as if nobody had told it.
fn created(path: &Path, options: &mut fs::OpenOptions) -> io::Result<fs::File> {
    options.create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    let file = options.open(path)?;
    #[cfg(unix)]
    if let Some((user, group)) = owner_to_be_left(path)? {
        std::os::unix::fs::fchown(&file, Some(user), Some(group))?;
    }
    Ok(file)
}

/// The user and group of the directory of this file, where that is another user's and this is root.
#[cfg(unix)]
fn owner_to_be_left(path: &Path) -> io::Result<Option<(u32, u32)>> {
    use std::os::unix::fs::MetadataExt as _;
    let Some(directory) = path.parent().filter(|_| own_user() == 0) else {
        return Ok(None);
    };
    let directory = fs::metadata(directory)?;
    Ok((directory.uid() != 0).then(|| (directory.uid(), directory.gid())))
}

/// Has a directory remember the names in it, whatever becomes of the machine. Not every system can be asked for that.
pub(crate) fn settle(directory: &Path) -> io::Result<()> {
    if cfg!(unix) {
        fs::File::open(directory)?.sync_all()?;
    }
    Ok(())
}

/// Sees to it that nobody but the shim's user, and root, changes what is in its directory.
///
/// One of root's that is open to all is what an orchestrator mounts for a process that is alone with it: what lies in it
/// is looked at for itself.
#[cfg(unix)]
pub(crate) fn secure_directory(path: &Path) -> Result<(), NotOwn> {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(unseen(path, source)),
    };
    let own = own_user();
    match metadata.uid() {
        owner if owner == own => {}
        0 => return Ok(()),
        owner => return Err(foreign(path, owner, own)),
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o022 == 0 {
        return Ok(());
    }
    let narrowed = fs::set_permissions(path, fs::Permissions::from_mode(mode & !0o022));
    narrowed.map_err(|source| NotOwn::Loose {
        path: path.to_owned(),
        source,
    })?;
    tracing::warn!("others could write to {}; now they cannot", path.display());
    Ok(())
}

/// Whether a file is the shim's own: plain, and its user's.
#[cfg(unix)]
pub(crate) fn check_file(path: &Path, metadata: &fs::Metadata) -> Result<(), NotOwn> {
    use std::os::unix::fs::MetadataExt as _;
    if !metadata.is_file() {
        return Err(NotOwn::NotPlain(path.to_owned()));
    }
    let own = own_user();
    match metadata.uid() {
        owner if owner == own => Ok(()),
        owner => Err(foreign(path, owner, own)),
    }
}

/// Whether a file was put there by somebody who is neither the shim's user nor the one whose directory it lies in.
#[cfg(unix)]
pub(crate) fn check_planted(path: &Path, metadata: &fs::Metadata) -> Result<(), NotOwn> {
    use std::os::unix::fs::MetadataExt as _;
    let own = own_user();
    let owner = metadata.uid();
    let directory = path.parent().and_then(|parent| fs::metadata(parent).ok());
    let fits =
        owner == own || owner == 0 || directory.is_some_and(|directory| directory.uid() == owner);
    if fits {
        return Ok(());
    }
    Err(foreign(path, owner, own))
}

#[cfg(not(unix))]
pub(crate) fn check_planted(_path: &Path, _metadata: &fs::Metadata) -> Result<(), NotOwn> {
    Ok(())
}

#[cfg(not(unix))]
pub(crate) fn secure_directory(_path: &Path) -> Result<(), NotOwn> {
    Ok(())
}

#[cfg(not(unix))]
pub(crate) fn check_file(path: &Path, metadata: &fs::Metadata) -> Result<(), NotOwn> {
    match metadata.is_file() {
        true => Ok(()),
        false => Err(NotOwn::NotPlain(path.to_owned())),
    }
}

#[cfg(unix)]
fn own_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

#[cfg(unix)]
fn foreign(path: &Path, owner: u32, own: u32) -> NotOwn {
    NotOwn::Owner {
        path: path.to_owned(),
        owner,
        own,
    }
}

pub(crate) fn unseen(path: &Path, source: io::Error) -> NotOwn {
    NotOwn::Unseen {
        path: path.to_owned(),
        source,
    }
}

#[cfg(all(test, unix))]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_link_that_lies_where_a_draft_goes_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (precious, draft) = (dir.path().join("precious"), dir.path().join("1.draft"));
        fs::write(&precious, "kept").unwrap();
        symlink(&precious, &draft).unwrap();
        write(&draft, b"new").unwrap();
        assert_eq!(fs::read(&precious).unwrap(), b"kept");
        assert_eq!(fs::read(&draft).unwrap(), b"new");
        assert_eq!(mode(&draft), 0o600);
    }

    #[test]
    fn what_root_makes_in_the_directory_of_a_user_is_that_users() {
        use std::os::unix::fs::MetadataExt as _;
        let dir = tempfile::tempdir().unwrap();
        if chown(dir.path(), Some(64_321), Some(64_322)).is_err() {
            // Only root can give something away.
            return;
        }
        let [made, begun] = ["made", "begun"].map(|name| dir.path().join(name));
        write(&made, b"new").unwrap();
        append(&begun).unwrap().write_all(b"new").unwrap();
        append(&begun).unwrap().write_all(b", and more").unwrap();
        let (above, below) = (dir.path().join("above"), dir.path().join("above/below"));
        directory(&below).unwrap();
        let expected = [
            (&made, 0o600),
            (&begun, 0o600),
            (&above, 0o700),
            (&below, 0o700),
        ];
        for (path, rights) in expected {
            let metadata = fs::metadata(path).unwrap();
            let has = (metadata.uid(), metadata.gid(), mode(path));
            assert_eq!(has, (64_321, 64_322, rights), "{}", path.display());
        }
        assert_eq!(fs::read(&begun).unwrap(), b"new, and more");
    }

    #[test]
    fn root_appends_nothing_to_what_a_users_link_leads_to() {
        let dir = tempfile::tempdir().unwrap();
        if chown(dir.path(), Some(64_321), None).is_err() {
            // Only root can give something away.
            return;
        }
        let (precious, log) = (dir.path().join("precious"), dir.path().join("log"));
        fs::write(&precious, "kept").unwrap();
        symlink(&precious, &log).unwrap();
        assert!(append(&log).is_err());
        assert_eq!(fs::read(&precious).unwrap(), b"kept");
    }

    #[test]
    fn a_directory_that_others_can_write_to_is_closed_to_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        assert!(secure_directory(&path).is_ok(), "there is none yet");
        directory(&path).unwrap();
        assert_eq!(mode(&path), 0o700);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o775)).unwrap();
        secure_directory(&path).unwrap();
        assert_eq!(mode(&path), 0o755);
    }

    #[test]
    fn what_belongs_to_another_user_is_refused_and_it_is_said_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        if chown(dir.path(), Some(64_321), None).is_err() {
            // Only root can give something away.
            return;
        }
        let refused = secure_directory(dir.path()).unwrap_err().to_string();
        assert!(refused.contains("belongs to user 64321"), "{refused}");
        assert!(refused.contains("chown 0 "), "{refused}");
    }
}
