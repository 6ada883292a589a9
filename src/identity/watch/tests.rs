#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::fs;
use std::path::Path;

use tempfile::TempDir;
use tokio::sync::watch::Receiver;

use super::*;
use crate::device::DeviceId;
use crate::identity::resolver::CacheSettings;
use crate::identity::store::AutoStore;
use crate::identity::store::sqlite::tests::gateway::{Gateway, SCHEMA, pair};

/// A resolver over a state directory, with its watch running.
struct Watched {
    resolver: Resolver,
    changes: Receiver<u64>,
    _watch: Watch,
}

impl Watched {
    fn start(state: &Path) -> Self {
        Self::with(state, Directories::new)
    }

    fn with(state: &Path, watcher: Watcher) -> Self {
        let settings = CacheSettings {
            ttl: LONG,
            negative_ttl: LONG,
            ..CacheSettings::default()
        };
        let resolver = Resolver::new(Arc::new(AutoStore::new(state)), settings);
        let changes = resolver.changes();
        let watch = Watch::with(resolver.clone(), watcher);
        Self {
            resolver,
            changes,
            _watch: watch,
        }
    }

    /// Makes a change, and returns how long it took until `id` was paired or not.
    async fn time_until(&mut self, id: &str, paired: bool, change: impl FnOnce()) -> Duration {
        let id = DeviceId::new(id);
        assert_ne!(self.is_paired(&id).await, paired, "the change is one");
        change();
        let began = Instant::now();
        while self.is_paired(&id).await != paired {
            let changed = tokio::time::timeout(LONG, self.changes.changed());
            changed.await.unwrap().unwrap();
        }
        began.elapsed()
    }

    async fn is_paired(&self, id: &DeviceId) -> bool {
        self.resolver
            .resolve(id)
            .await
            .is_ok_and(|record| record.is_some())
    }
}

const LONG: Duration = Duration::from_secs(20);

fn state() -> TempDir {
    let state = tempfile::tempdir().unwrap();
    fs::create_dir(state.path().join("devices")).unwrap();
    state
}

fn text(id: &str, last_seen: u64) -> String {
    format!(
        r#"{{"{id}":{{"publicKey":"k","role":"operator","scopes":[],"lastSeenAtMs":{last_seen}}}}}"#
    )
}

fn write(state: &Path, id: &str) {
    fs::write(state.join("devices/paired.json"), text(id, 1)).unwrap();
}

/// As most gateways write: a new file, renamed over the old one.
fn replace(state: &Path, text: &str) {
    let (new, old) = (
        state.join("devices/paired.json.tmp"),
        state.join("devices/paired.json"),
    );
    fs::write(&new, text).unwrap();
    fs::rename(new, old).unwrap();
}

/// The middle one of five: a loaded machine may be late now and then, a slow mechanism always is.
fn assert_prompt(mut times: Vec<Duration>) {
    assert_eq!(times.len(), 5);
    times.sort();
    assert!(times[2] <= Duration::from_millis(300), "{times:?}");
}

#[tokio::test]
async fn a_change_of_the_file_is_visible_within_300_ms() {
    let state = state();
    write(state.path(), "d0");
    let mut watched = Watched::start(state.path());
    let mut times = Vec::new();
    for round in 1..=5 {
        let id = format!("d{round}");
        let change = || {
            if round % 2 == 0 {
                write(state.path(), &id)
            } else {
                replace(state.path(), &text(&id, 1))
            }
        };
        times.push(watched.time_until(&id, true, change).await);
    }
    assert_prompt(times);
}

#[tokio::test]
async fn without_file_events_a_change_is_visible_within_300_ms_too() {
    let state = state();
    write(state.path(), "d0");
    let mut watched = Watched::with(state.path(), Directories::unwatchable);
    let mut times = Vec::new();
    for round in 1..=5 {
        let id = format!("d{round}");
        times.push(
            watched
                .time_until(&id, true, || replace(state.path(), &text(&id, 1)))
                .await,
        );
    }
    assert_prompt(times);
}

#[tokio::test]
async fn a_commit_of_the_gateway_is_visible_within_300_ms_and_its_other_writes_disturb_nobody() {
    let mut gateway = Gateway::start();
    gateway.commit(&format!("{SCHEMA} CREATE TABLE noise (n);"));
    let mut watched = Watched::start(gateway.state());
    let mut times = Vec::new();
    for round in 1..=5 {
        let id = format!("d{round}");
        times.push(
            watched
                .time_until(&id, true, || gateway.commit(&pair(&id)))
                .await,
        );
    }
    assert_prompt(times);
    let before = *watched.changes.borrow_and_update();
    for _ in 0..50 {
        gateway.commit(
            "INSERT INTO noise VALUES (1); UPDATE device_pairing_paired SET last_seen_at_ms = 7;",
        );
    }
    // The watch reads in order: once it has seen this change it has seen all that came before.
    watched
        .time_until("d1", false, || {
            gateway.commit("DELETE FROM device_pairing_paired WHERE device_id = 'd1'")
        })
        .await;
    assert_eq!(*watched.changes.borrow(), before + 1);
}

#[tokio::test]
async fn what_a_gateway_writes_at_every_connect_changes_nothing() {
    let state = state();
    write(state.path(), "d");
    let mut watched = Watched::start(state.path());
    let before = *watched.changes.borrow_and_update();
    for last_seen in 2..20 {
        replace(state.path(), &text("d", last_seen));
    }
    watched
        .time_until("d", false, || replace(state.path(), "{}"))
        .await;
    assert_eq!(*watched.changes.borrow(), before + 1);
}

#[tokio::test]
async fn a_state_directory_that_is_deleted_created_or_swapped_is_followed() {
    let home = tempfile::tempdir().unwrap();
    let state = home.path().join("state-directory");
    let fill = |directory: &Path, id: &str| {
        fs::create_dir_all(directory.join("devices")).unwrap();
        write(directory, id);
    };
    let mut watched = Watched::start(&state);
    let mut times = vec![
        watched
            .time_until("first", true, || fill(&state, "first"))
            .await,
    ];
    times.push(
        watched
            .time_until("first", false, || fs::remove_dir_all(&state).unwrap())
            .await,
    );
    times.push(
        watched
            .time_until("second", true, || fill(&state, "second"))
            .await,
    );
    let other = home.path().join("other");
    fill(&other, "third");
    let swap = || {
        fs::rename(&state, home.path().join("old")).unwrap();
        fs::rename(&other, &state).unwrap();
    };
    times.push(watched.time_until("third", true, swap).await);
    times.push(
        watched
            .time_until("fourth", true, || replace(&state, &text("fourth", 1)))
            .await,
    );
    assert_prompt(times);
}

#[tokio::test]
async fn an_upgrade_that_moves_the_store_is_followed() {
    let state = state();
    write(state.path(), "d");
    fs::create_dir(state.path().join("state")).unwrap();
    let mut gateway = Gateway::start_on(state);
    gateway.commit(SCHEMA);
    let paired = gateway.state().join("devices/paired.json");
    let mut watched = Watched::start(gateway.state());
    let upgrade = || {
        gateway.commit(&(pair("d") + &pair("later")));
        fs::rename(&paired, paired.with_file_name("paired.json.migrated")).unwrap();
    };
    watched.time_until("later", true, upgrade).await;
    assert!(watched.is_paired(&DeviceId::new("d")).await);
}

#[tokio::test]
async fn a_store_that_fails_and_recovers_is_told_each_time() {
    let state = state();
    write(state.path(), "d");
    let mut watched = Watched::start(state.path());
    watched
        .time_until("d", false, || replace(state.path(), "{\"d\":"))
        .await;
    watched
        .time_until("d", true, || write(state.path(), "d"))
        .await;
}

#[tokio::test]
async fn a_dropped_watch_is_over() {
    let state = state();
    let watched = Watched::start(state.path());
    let Watched {
        resolver,
        _watch: watch,
        ..
    } = watched;
    let store = Arc::downgrade(resolver.store());
    drop((resolver, watch));
    let began = Instant::now();
    while store.strong_count() > 0 {
        assert!(began.elapsed() < LONG, "the task still holds the store");
        tokio::task::yield_now().await;
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_change_of_what_a_link_leads_to_is_visible_within_300_ms_too() {
    let state = state();
    write(state.path(), "d0");
    let elsewhere = tempfile::tempdir().unwrap();
    let (link, file) = (
        state.path().join("devices/paired.json"),
        elsewhere.path().join("kept.json"),
    );
    fs::rename(&link, &file).unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let mut watched = Watched::start(state.path());
    let mut times = Vec::new();
    for round in 1..=5 {
        let id = format!("d{round}");
        let change = || fs::write(&file, text(&id, 1)).unwrap();
        times.push(watched.time_until(&id, true, change).await);
    }
    assert_prompt(times);
}
