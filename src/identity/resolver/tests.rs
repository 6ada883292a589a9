#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::*;
use crate::fixture;
use crate::identity::store::{BoxFuture, Snapshot};

/// A store whose every read waits for a permit, and is counted when it begins.
struct Scripted {
    files: Vec<PathBuf>,
    begun: AtomicUsize,
    permits: Semaphore,
    content: Mutex<Result<Arc<Snapshot>, StoreError>>,
}

impl Scripted {
    fn new(permits: usize) -> Arc<Self> {
        Self::of(permits, vec![PathBuf::from("store")])
    }

    fn without_files() -> Arc<Self> {
        Self::of(1_000, Vec::new())
    }

    fn of(permits: usize, files: Vec<PathBuf>) -> Arc<Self> {
        Arc::new(Self {
            files,
            begun: AtomicUsize::new(0),
            permits: Semaphore::new(permits),
            content: Mutex::new(Ok(Arc::default())),
        })
    }

    fn holds(&self, ids: &[&str]) {
        let devices = ids
            .iter()
            .map(|id| (DeviceId::new(*id), Arc::new(record(id))));
        *self.content.lock().unwrap() = Ok(Arc::new(Snapshot {
            devices: devices.collect(),
            pending: Vec::new(),
        }));
    }

    fn fails(&self) {
        *self.content.lock().unwrap() = Err(StoreError::Locked {
            path: "store".into(),
        });
    }

    fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }
}

impl DeviceStore for Scripted {
    fn snapshot(&self) -> BoxFuture<'_, Result<Arc<Snapshot>, StoreError>> {
        Box::pin(async {
            let content = self.content.lock().unwrap().clone();
            self.begun.fetch_add(1, Ordering::SeqCst);
            self.permits.acquire().await.unwrap().forget();
            content
        })
    }

    fn describe(&self) -> String {
        "a script".to_owned()
    }

    fn watched(&self) -> Vec<PathBuf> {
        self.files.clone()
    }
}

fn record(id: &str) -> DeviceRecord {
    fixture::record(id, "k", &[])
}

fn resolver(store: &Arc<Scripted>, ttl: Duration, negative_ttl: Duration) -> Resolver {
    let settings = CacheSettings {
        ttl,
        negative_ttl,
        ..CacheSettings::default()
    };
    Resolver::new(Arc::clone(store) as Arc<dyn DeviceStore>, settings)
}

async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !done().await {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

const LONG: Duration = Duration::from_secs(3600);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_lookups_of_one_device_cost_one_read() {
    let store = Scripted::new(0);
    store.holds(&["a"]);
    let resolver = resolver(&store, LONG, LONG);
    let mut lookups = JoinSet::new();
    for _ in 0..1_000 {
        let resolver = resolver.clone();
        lookups.spawn(async move { resolver.resolve(&DeviceId::new("a")).await });
    }
    until("the read begins", async || store.begun() > 0).await;
    store.permits.add_permits(1_000);
    for found in lookups.join_all().await {
        assert_eq!(found.unwrap().unwrap().device_id, DeviceId::new("a"));
    }
    assert_eq!(store.begun(), 1);
}

#[tokio::test]
async fn an_absent_device_is_remembered_for_its_own_shorter_time() {
    let store = Scripted::new(1_000);
    let resolver = resolver(&store, LONG, Duration::from_millis(100));
    let (absent, present) = (DeviceId::new("absent"), DeviceId::new("present"));
    store.holds(&["present"]);
    assert!(resolver.resolve(&present).await.unwrap().is_some());
    let asked = Instant::now();
    until("the absence expires", async || {
        assert!(resolver.resolve(&absent).await.unwrap().is_none());
        store.begun() == 3
    })
    .await;
    assert!(
        asked.elapsed() >= Duration::from_millis(100),
        "the absence was not remembered"
    );
    assert!(resolver.resolve(&present).await.unwrap().is_some());
    assert_eq!(store.begun(), 3, "the presence still is");
}

#[tokio::test]
async fn a_record_expires_with_its_time() {
    let store = Scripted::new(1_000_000);
    store.holds(&["a"]);
    let resolver = resolver(&store, Duration::from_millis(50), LONG);
    let id = DeviceId::new("a");
    assert!(resolver.resolve(&id).await.unwrap().is_some());
    store.holds(&[]);
    until("the record expires", async || {
        resolver.resolve(&id).await.unwrap().is_none()
    })
    .await;
}

#[tokio::test]
async fn an_error_is_told_to_everybody_and_not_remembered() {
    let store = Scripted::new(1_000);
    store.fails();
    let resolver = resolver(&store, LONG, LONG);
    let id = DeviceId::new("a");
    for _ in 0..2 {
        let error = resolver.resolve(&id).await.unwrap_err();
        assert!(matches!(error, StoreError::Locked { .. }));
    }
    store.holds(&["a"]);
    assert!(resolver.resolve(&id).await.unwrap().is_some());
    assert!(store.begun() >= 3);
}

#[tokio::test]
async fn a_read_that_an_invalidation_overtakes_is_never_served() {
    let store = Scripted::new(0);
    store.holds(&["a"]);
    let resolver = resolver(&store, LONG, LONG);
    let id = DeviceId::new("a");
    let early = tokio::spawn({
        let (resolver, id) = (resolver.clone(), id.clone());
        async move { resolver.resolve(&id).await }
    });
    until("the early read begins", async || store.begun() == 1).await;
    store.holds(&[]);
    resolver.invalidate();
    store.permits.add_permits(1_000);
    assert!(resolver.resolve(&id).await.unwrap().is_none());
    assert!(
        early.await.unwrap().unwrap().is_none(),
        "the early lookup reads again"
    );
    assert!(resolver.resolve(&id).await.unwrap().is_none());
}

#[tokio::test]
async fn every_invalidation_moves_the_number_that_sessions_watch() {
    let store = Scripted::new(1_000);
    store.holds(&["a"]);
    let resolver = resolver(&store, LONG, LONG);
    let mut changes = resolver.changes();
    let before = *changes.borrow_and_update();
    resolver.resolve(&DeviceId::new("a")).await.unwrap();
    assert!(!changes.has_changed().unwrap());
    resolver.invalidate();
    changes.changed().await.unwrap();
    assert_ne!(*changes.borrow(), before);
    store.holds(&[]);
    assert!(
        resolver
            .resolve(&DeviceId::new("a"))
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn a_lookup_that_is_given_up_does_not_stop_the_others() {
    let store = Scripted::new(0);
    store.holds(&["a"]);
    let resolver = resolver(&store, LONG, LONG);
    let id = DeviceId::new("a");
    let lookup = || {
        let (resolver, id) = (resolver.clone(), id.clone());
        tokio::spawn(async move { resolver.resolve(&id).await })
    };
    let (first, second) = (lookup(), lookup());
    until("the read begins", async || store.begun() == 1).await;
    first.abort();
    store.permits.add_permits(1_000);
    assert!(second.await.unwrap().unwrap().is_some());
}

#[tokio::test]
async fn a_state_that_only_a_lookup_has_seen_is_forgotten_too() {
    let store = Scripted::new(1_000);
    let resolver = resolver(&store, LONG, LONG);
    let (seen, other) = (DeviceId::new("seen"), DeviceId::new("other"));
    resolver.refresh().await;
    store.holds(&["seen"]);
    assert!(resolver.resolve(&seen).await.unwrap().is_some());
    store.holds(&[]);
    resolver.refresh().await;
    assert!(resolver.resolve(&seen).await.unwrap().is_none());

    store.holds(&["seen", "other"]);
    assert!(resolver.resolve(&other).await.unwrap().is_some());
    assert!(
        resolver.resolve(&seen).await.unwrap().is_some(),
        "no two answers contradict each other"
    );
}

#[tokio::test]
async fn a_refresh_moves_the_number_when_the_store_says_something_else_fails_or_recovers() {
    let store = Scripted::new(1_000);
    let resolver = resolver(&store, LONG, LONG);
    let holds = |ids: &'static [&str]| Some(ids);
    let steps = [
        ("the first look", holds(&["a"]), 0),
        ("the same in another copy", holds(&["a"]), 0),
        ("another device", holds(&["b"]), 1),
        ("a failure", None, 2),
        ("a second failure", None, 2),
        ("the recovery", holds(&["b"]), 3),
    ];
    for (what, content, number) in steps {
        content.map_or_else(|| store.fails(), |ids| store.holds(ids));
        resolver.refresh().await;
        // What a generation rests on is settled by the first look in it.
        resolver.refresh().await;
        assert_eq!(*resolver.changes().borrow(), number, "{what}");
    }
}

#[tokio::test]
async fn what_a_store_without_files_says_is_for_all_who_ask_and_never_older_than_a_change() {
    let names: Vec<String> = (0..100).map(|n| n.to_string()).collect();
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    let asked = async |store: &Arc<Scripted>| {
        let resolver = resolver(store, LONG, LONG);
        store.holds(&all);
        for name in &all {
            let found = resolver.resolve(&DeviceId::new(*name)).await.unwrap();
            assert!(found.is_some());
        }
        let times = store.begun();
        store.holds(&[]);
        resolver.invalidate();
        for name in &all {
            let found = resolver.resolve(&DeviceId::new(*name)).await.unwrap();
            assert!(found.is_none());
        }
        times
    };
    let without = asked(&Scripted::without_files()).await;
    let with = asked(&Scripted::new(1_000)).await;
    assert_eq!(with, 100);
    assert!(without < 10, "{without}");
}
