//! The directories around a store's files.
//!
//! A file that is replaced by renaming takes its watch with it, so its directory is watched, and the two above: those
//! tell when the directory itself is created, deleted or swapped.

use std::collections::{BTreeSet, HashSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use notify::event::{EventKind, ModifyKind};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

use crate::identity::store::Stamp;

/// Watches on directories, set again whenever a directory turns out to be another one.
pub(super) struct Directories {
    watcher: Option<RecommendedWatcher>,
    /// From the top down.
    directories: Vec<Directory>,
    files: Vec<PathBuf>,
}

struct Directory {
    path: PathBuf,
    /// Whether the files cannot be followed without it. Above the state directory that is so only while it is missing.
    needed: bool,
    watched: Option<Stamp>,
}

impl Directories {
    /// Prepares watches that wake `woken`; [`watched`](Self::watched) sets them.
    pub(super) fn new(files: &[PathBuf], woken: Arc<Notify>) -> Self {
        let names = names(files);
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event.map_or(true, |event| matters(&event, &names)) {
                woken.notify_one();
            }
        });
        let watcher = watcher.inspect_err(|error| {
            tracing::warn!(finding = "store", %error, "file events are not available; the pairing store is polled");
        });
        Self::of(files, watcher.ok())
    }

    /// Without watches, as where the system has none left.
    #[cfg(test)]
    pub(super) fn unwatchable(files: &[PathBuf], _: Arc<Notify>) -> Self {
        Self::of(files, None)
    }

    fn of(files: &[PathBuf], watcher: Option<RecommendedWatcher>) -> Self {
        let level = |level: usize| {
            files
                .iter()
                .filter_map(move |file| file.ancestors().nth(level))
        };
        let needed: BTreeSet<_> = level(1)
            .chain(level(2))
            .filter(|path| is_named(path))
            .collect();
        let above: BTreeSet<_> = level(3)
            .filter(|path| is_named(path) && !needed.contains(path))
            .collect();
        let directory = |path: &Path, needed| Directory {
            path: path.to_owned(),
            needed,
            watched: None,
        };
        // A path sorts before those below it.
        let above = above.into_iter().map(|path| directory(path, false));
        let directories = above
            .chain(needed.into_iter().map(|path| directory(path, true)))
            .collect();
        Self {
            watcher,
            directories,
            files: files.to_vec(),
        }
    }

    /// Sets the watches that are missing, and says whether every change raises an event from now on. Blocks.
    pub(super) fn watched(mut self) -> (Self, bool) {
        let Some(watcher) = &mut self.watcher else {
            return (self, false);
        };
        let mut followed = HashSet::new();
        let mut complete = true;
        for directory in &mut self.directories {
            let now = Stamp::of(&directory.path).ok().flatten();
            let same = match (&directory.watched, &now) {
                (Some(watched), Some(now)) => watched.is_same_file(now),
                _ => false,
            };
            if !same {
                if directory.watched.take().is_some() {
                    // Fails where the directory is gone, and its watch with it.
                    let _ = watcher.unwatch(&directory.path);
                }
                directory.watched = now.filter(|_| {
                    watcher
                        .watch(&directory.path, RecursiveMode::NonRecursive)
                        .is_ok()
                });
            }
            let parent_tells = || {
                directory
                    .path
                    .parent()
                    .is_some_and(|parent| followed.contains(parent))
            };
            if directory.watched.is_some() || (now.is_none() && parent_tells()) {
                followed.insert(directory.path.clone());
            } else if directory.needed {
                complete = false;
            }
        }
        // What a link leads to changes where nobody watches.
        let leads_away = |file: &PathBuf| file.is_symlink();
        let followed = complete && !self.files.iter().any(leads_away);
        (self, followed)
    }
}

fn is_named(path: &Path) -> bool {
    !path.as_os_str().is_empty()
}

/// The names of the files, and of the directories down to them.
fn names(files: &[PathBuf]) -> HashSet<OsString> {
    let paths = files.iter().flat_map(|file| file.ancestors().take(3));
    paths
        .filter_map(|path| path.file_name().map(ToOwned::to_owned))
        .collect()
}

/// Whether an event can mean that the store has changed.
///
/// Reading a database raises events too: its files are opened and closed, and SQLite sets the owner of the `-wal` each
/// time that it opens it as root. Paths are compared by their last part, because some systems resolve links in them.
fn matters(event: &Event, names: &HashSet<OsString>) -> bool {
    if event.need_rescan() || event.paths.is_empty() {
        return true;
    }
    let reading = matches!(
        event.kind,
        EventKind::Access(_) | EventKind::Modify(ModifyKind::Metadata(_))
    );
    !reading
        && event
            .paths
            .iter()
            .any(|path| path.file_name().is_some_and(|name| names.contains(name)))
}
