//! What a file looks like from outside: enough to know whether it has to be read again.

use std::fs::Metadata;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// A file's identity, size and times.
#[derive(Clone, Copy, Debug)]
pub(in crate::identity) struct Stamp {
    file: FileId,
    size: u64,
    modified: Option<SystemTime>,
    taken: SystemTime,
}

impl Stamp {
    /// The stamp of the file at `path`, or `None` where there is none.
    pub(in crate::identity) fn of(path: &Path) -> io::Result<Option<Self>> {
        match path.metadata() {
            Ok(metadata) => Ok(Some(Self::from_metadata(&metadata))),
            Err(error) if is_absence(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn from_metadata(metadata: &Metadata) -> Self {
        Self {
            file: FileId::of(metadata),
            size: metadata.len(),
            modified: metadata.modified().ok(),
            taken: SystemTime::now(),
        }
    }

    /// The stamp of a file whose change time moves without a change.
    pub(super) fn without_change_time(mut self) -> Self {
        self.file.forget_changed();
        self
    }

    /// Whether the file is older than one step of the clock that its times come from.
    fn is_settled(&self) -> bool {
        let newest = self.modified.max(self.file.changed());
        newest.is_some_and(|newest| match self.taken.duration_since(newest) {
            Ok(age) => age > CLOCK_GRAIN,
            // It was not written just now: the clock has been set back since.
            Err(ahead) => ahead.duration() > FAR_AHEAD,
        })
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Whether the two stamps are of one file, whatever happened to it in between.
    pub(in crate::identity) fn is_same_file(&self, other: &Self) -> bool {
        self.file.is_same(&other.file)
    }

    /// Whether nothing was written between the two stamps.
    ///
    /// File times move in steps of some milliseconds, so two writes within one step can leave the same stamp: a
    /// stamp taken right after a write proves nothing, and counts as changed.
    pub(super) fn proves_unchanged(&self, later: &Self) -> bool {
        self.is_settled() && self.looks_like(later)
    }

    /// Whether the two stamps show the same file, size and times.
    pub(super) fn looks_like(&self, other: &Self) -> bool {
        (self.file, self.size, self.modified) == (other.file, other.size, other.modified)
    }
}

/// Whether nothing was written between two looks at a path: see [`Stamp::proves_unchanged`].
pub(super) fn unchanged(before: Option<&Stamp>, after: Option<&Stamp>) -> bool {
    match (before, after) {
        (None, None) => true,
        (Some(before), Some(after)) => before.proves_unchanged(after),
        _ => false,
    }
}

/// Whether an error says that there is no such file.
pub(in crate::identity) fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

#[cfg(unix)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
    changed: Option<(i64, i64)>,
}

#[cfg(unix)]
impl FileId {
    fn of(metadata: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            changed: Some((metadata.ctime(), metadata.ctime_nsec())),
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }

    fn forget_changed(&mut self) {
        self.changed = None;
    }

    /// The change time, which unlike the modification time cannot be set back.
    fn changed(&self) -> Option<SystemTime> {
        let (seconds, nanoseconds) = self.changed?;
        let since_epoch = Duration::new(
            u64::try_from(seconds).ok()?,
            u32::try_from(nanoseconds).ok()?,
        );
        SystemTime::UNIX_EPOCH.checked_add(since_epoch)
    }
}

#[cfg(not(unix))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileId(Option<SystemTime>);

#[cfg(not(unix))]
impl FileId {
    fn of(metadata: &Metadata) -> Self {
        Self(metadata.created().ok())
    }

    fn is_same(&self, other: &Self) -> bool {
        self == other
    }

    fn forget_changed(&mut self) {}

    fn changed(&self) -> Option<SystemTime> {
        self.0
    }
}

/// Longer than one step of any file system's clock that a gateway is likely to run on.
const CLOCK_GRAIN: Duration = Duration::from_millis(50);
/// Farther than the clocks of two machines that share a file system are apart.
const FAR_AHEAD: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use std::fs;

    use super::*;

    #[test]
    fn a_fresh_stamp_proves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "one").unwrap();
        let first = Stamp::of(&path).unwrap().unwrap();
        let second = Stamp::of(&path).unwrap().unwrap();
        assert!(first.looks_like(&second));
        assert!(!first.proves_unchanged(&second));
    }

    #[test]
    fn a_file_of_a_time_to_come_is_no_fresh_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "one").unwrap();
        let stamp = || {
            let now = SystemTime::now();
            let of = Stamp::of(&path).unwrap().unwrap().without_change_time();
            Stamp { taken: now, ..of }
        };
        let at = |ahead: u64| {
            let time = SystemTime::now() + Duration::from_secs(ahead);
            fs::File::open(&path).unwrap().set_modified(time).unwrap();
            stamp().proves_unchanged(&stamp())
        };
        assert!(at(3600));
        assert!(!at(5), "another machine's clock may be ahead");
    }

    #[cfg(unix)]
    #[test]
    fn a_rewrite_of_equal_size_and_restored_time_is_still_seen() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let old = SystemTime::now() - Duration::from_secs(3600);
        let write = |text: &str| {
            fs::write(&path, text).unwrap();
            fs::File::open(&path).unwrap().set_modified(old).unwrap();
        };
        write("one");
        let first = Stamp::of(&path).unwrap().unwrap();
        let deadline = std::time::Instant::now() + Duration::from_secs(5);
        loop {
            write("two");
            if !Stamp::of(&path).unwrap().unwrap().looks_like(&first) {
                return;
            }
            assert!(
                std::time::Instant::now() < deadline,
                "the change time never moved"
            );
        }
    }

    #[test]
    fn a_file_that_is_not_there_has_no_stamp() {
        let directory = tempfile::tempdir().unwrap();
        assert!(Stamp::of(&directory.path().join("none")).unwrap().is_none());
        fs::write(directory.path().join("file"), "").unwrap();
        assert!(
            Stamp::of(&directory.path().join("file/below"))
                .unwrap()
                .is_none()
        );
    }
}
