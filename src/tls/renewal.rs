//! Files that are renewed by somebody else, such as certbot or Kubernetes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::event::EventKind;
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use super::expiry::DAY;
use super::{Files, Listening};

impl Listening {
    /// Takes the files whenever they change, and says once a day that the certificate ends. Never returns.
    ///
    /// Files that are no pair, because one of them is written yet or the wrong one was, leave the pair in use where it
    /// is: that is said once, and they are tried again.
    pub async fn follow(self: Arc<Self>) {
        let woken = Arc::new(Notify::new());
        let mut directories = Directories::new(Arc::clone(&woken));
        let mut complaint = None;
        let mut told = Instant::now();
        loop {
            directories.watch(&self.files());
            let change = async {
                tokio::select! {
                    () = woken.notified() => {}
                    () = self.moved.notified() => {}
                }
                sleep(SETTLE).await;
            };
            let _ = timeout(POLL, change).await;
            let listening = Arc::clone(&self);
            let Ok(renewed) = tokio::task::spawn_blocking(move || listening.renew()).await else {
                continue;
            };
            match renewed {
                Ok(true) => {
                    info!(certificate = %self.fingerprint(), "the TLS certificate was renewed");
                    (complaint, told) = (None, Instant::now());
                    self.tell_findings();
                }
                Ok(false) => complaint = None,
                Err(error) if complaint.as_ref() == Some(&error) => {}
                Err(error) => {
                    warn!("the TLS certificate in use stays: {error}");
                    complaint = Some(error);
                }
            }
            if told.elapsed() >= DAY {
                told = Instant::now();
                self.tell_findings();
            }
        }
    }

    fn tell_findings(&self) {
        crate::log::findings(&self.files().findings(&self.pair()));
    }
}

/// Watches on the directories in which something may change.
struct Directories {
    watcher: Option<RecommendedWatcher>,
    watched: BTreeSet<PathBuf>,
}

impl Directories {
    fn new(woken: Arc<Notify>) -> Self {
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event.is_ok_and(|event| !matches!(event.kind, EventKind::Access(_))) {
                woken.notify_one();
            }
        });
        Self {
            // Without events the files are looked at every now and then.
            watcher: watcher.ok(),
            watched: BTreeSet::new(),
        }
    }

    fn watch(&mut self, files: &Files) {
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        let wanted: BTreeSet<PathBuf> = [&files.certificate, &files.key]
            .into_iter()
            .flat_map(|file| around(file))
            .collect();
        for gone in self.watched.difference(&wanted) {
            let _ = watcher.unwatch(gone);
        }
        self.watched
            .retain(|directory| wanted.contains(directory) && directory.is_dir());
        for directory in wanted {
            if !self.watched.contains(&directory)
                && watcher
                    .watch(&directory, RecursiveMode::NonRecursive)
                    .is_ok()
            {
                self.watched.insert(directory);
            }
        }
    }
}

/// The directory of the link, which certbot sets anew, and that of the file, where others write.
fn around(file: &Path) -> impl Iterator<Item = PathBuf> {
    let target = file.canonicalize().ok();
    [Some(file.to_owned()), target]
        .into_iter()
        .flatten()
        .filter_map(|file| file.parent().map(Path::to_owned))
}

/// The two files are written one after the other.
const SETTLE: Duration = Duration::from_millis(200);
/// How often they are looked at without an event: some file systems raise none.
const POLL: Duration = Duration::from_secs(30);
