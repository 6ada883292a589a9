//! Where installed gateways are kept, and how two installers stay out of each other's way.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy as _;

use super::{Error, Version};

/// The directory in which gateways and their Nodes are installed, one directory each.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// The cache of this user: `SCOPE_SHIM_CACHE`, or `scope-shim/gateways` in the platform's cache directory.
    ///
    /// # Errors
    /// When the platform has no cache directory, or it cannot be created.
    pub fn of_this_user() -> Result<Self, Error> {
        if let Some(root) = std::env::var_os("SCOPE_SHIM_CACHE").filter(|root| !root.is_empty()) {
            return Self::at(root);
        }
        let platform = etcetera::choose_base_strategy()
            .map_err(|error| Error::NoCacheDirectory(error.to_string()))?;
        Self::at(platform.cache_dir().join("scope-shim").join("gateways"))
    }

    /// A cache in the directory `root`, which is created when it is missing.
    ///
    /// # Errors
    /// When the directory cannot be created or has no absolute path.
    pub fn at(root: impl Into<PathBuf>) -> Result<Self, Error> {
        let root = root.into();
        fs::create_dir_all(&root).map_err(Error::io("create", &root))?;
        let root = root.canonicalize().map_err(Error::io("resolve", &root))?;
        Ok(Self { root })
    }

    pub(super) fn gateway(&self, version: &Version) -> Slot {
        self.slot(&version.to_string())
    }

    pub(super) fn node(&self, major: u16) -> Slot {
        self.slot(&format!("node-{major}"))
    }

    fn slot(&self, name: &str) -> Slot {
        Slot {
            place: self.root.join(name),
            log: self.root.join(format!("{name}.log")),
            lock: self.root.join(format!(".{name}.lock")),
            draft: self.root.join(format!(".{name}.draft")),
            stale: self.root.join(format!(".{name}.stale")),
        }
    }
}

/// The place of one package in the cache. It appears there whole or not at all.
pub(super) struct Slot {
    place: PathBuf,
    log: PathBuf,
    lock: PathBuf,
    draft: PathBuf,
    stale: PathBuf,
}

impl Slot {
    /// Where the package is, or will be.
    pub(super) fn place(&self) -> &Path {
        &self.place
    }

    /// Where npm's output goes.
    pub(super) fn log(&self) -> &Path {
        &self.log
    }

    /// Makes sure that what `asked` describes is in its place: runs `build` in an empty draft directory, unless it is
    /// there already. What was built for another `asked` gives way.
    ///
    /// A second installer, also in another process, waits for the first and finds its work done. What an interrupted
    /// one left half-way is thrown away.
    pub(super) fn fill(
        &self,
        asked: &str,
        progress: &mut dyn FnMut(&str),
        build: impl FnOnce(&Path, &mut dyn FnMut(&str)) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if self.holds(asked) {
            return Ok(());
        }
        let lock = File::create(&self.lock).map_err(Error::io("create", &self.lock))?;
        if let Err(TryLockError::WouldBlock) = lock.try_lock() {
            progress(&format!(
                "waiting for another installation into {}",
                self.place.display()
            ));
        }
        lock.lock().map_err(Error::io("lock", &self.lock))?;
        if self.holds(asked) {
            return Ok(());
        }
        for abandoned in [&self.draft, &self.stale] {
            if abandoned.exists() {
                fs::remove_dir_all(abandoned)
                    .map_err(Error::io("remove the abandoned", abandoned))?;
            }
        }
        fs::create_dir_all(&self.draft).map_err(Error::io("create", &self.draft))?;
        build(&self.draft, progress).inspect_err(|_| {
            // The failure is what matters; the next attempt clears the draft as well.
            let _ = fs::remove_dir_all(&self.draft);
        })?;
        let stamp = self.draft.join(STAMP);
        fs::write(&stamp, asked).map_err(Error::io("write", &stamp))?;
        if self.place.exists() {
            fs::rename(&self.place, &self.stale).map_err(Error::io("move away", &self.place))?;
        }
        fs::rename(&self.draft, &self.place).map_err(Error::io("move into place", &self.place))?;
        // What is left of it costs space, and the next installation removes it.
        let _ = fs::remove_dir_all(&self.stale);
        Ok(())
    }

    fn holds(&self, asked: &str) -> bool {
        fs::read_to_string(self.place.join(STAMP)).is_ok_and(|stamp| stamp == asked)
    }
}

/// Says what a package was built for: what is wanted of the same version may change from one release to the next.
const STAMP: &str = ".asked";

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    type Tested = Result<(), Box<dyn std::error::Error>>;

    fn failed(path: &Path) -> Error {
        Error::Io {
            action: "install",
            path: path.to_owned(),
            source: std::io::Error::other("half-way"),
        }
    }

    #[test]
    fn two_installers_at_once_install_once() -> Tested {
        let root = tempfile::tempdir()?;
        let cache = Cache::at(root.path())?;
        let installs = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    cache.node(22).fill("node", &mut |_| (), |draft, _| {
                        installs.fetch_add(1, Ordering::SeqCst);
                        fs::write(draft.join("node"), "here").map_err(Error::io("write", draft))
                    })
                });
            }
        });
        assert_eq!(installs.load(Ordering::SeqCst), 1);
        assert_eq!(
            fs::read_to_string(cache.node(22).place().join("node"))?,
            "here"
        );
        Ok(())
    }

    #[test]
    fn a_failed_installation_leaves_nothing_in_place_and_is_tried_again() -> Tested {
        let root = tempfile::tempdir()?;
        let slot = Cache::at(root.path())?.node(24);
        let first = slot.fill("node", &mut |_| (), |draft, _| {
            fs::write(draft.join("half"), "").map_err(Error::io("write", draft))?;
            Err(failed(draft))
        });
        assert!(first.is_err());
        assert!(!slot.place().exists());

        slot.fill("node", &mut |_| (), |draft, _| {
            assert_eq!(
                fs::read_dir(draft).map(Iterator::count).ok(),
                Some(0),
                "the abandoned draft is gone"
            );
            Ok(())
        })?;
        assert!(slot.place().is_dir());
        Ok(())
    }

    #[test]
    fn what_was_installed_for_another_wish_gives_way() -> Tested {
        let root = tempfile::tempdir()?;
        let slot = Cache::at(root.path())?.node(24);
        let fill = |asked: &str| {
            slot.fill(asked, &mut |_| (), |draft, _| {
                fs::write(draft.join("is"), asked).map_err(Error::io("write", draft))
            })
        };
        for asked in ["without a browser", "with a browser", "with a browser"] {
            fill(asked)?;
            assert_eq!(fs::read_to_string(slot.place().join("is"))?, asked);
        }
        let left: Vec<_> = fs::read_dir(root.path())?.collect::<Result<_, _>>()?;
        assert_eq!(left.len(), 2, "the package and its lock: {left:?}");
        Ok(())
    }
}
