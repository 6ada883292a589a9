//! One read of a store for everybody who asks while it runs.

use std::path::Path;
use std::time::Instant;

use tokio::sync::Mutex;

use super::StoreError;

/// Runs the blocking reads of one store, one at a time.
#[derive(Debug)]
pub(super) struct Shared<R>(Mutex<Reads<R>>);

#[derive(Debug)]
struct Reads<R> {
    /// The latest read that went well, for the next one to compare with.
    good: Option<R>,
    /// When the latest read began, and how it ended.
    latest: Option<(Instant, Result<R, StoreError>)>,
}

impl<R: Clone + Send + 'static> Shared<R> {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Reads {
            good: None,
            latest: None,
        }))
    }

    /// The outcome of a read that began after this call, made by this caller or by another one.
    pub(super) async fn read(
        &self,
        path: &Path,
        work: impl FnOnce(Option<R>) -> Result<R, StoreError> + Send + 'static,
    ) -> Result<R, StoreError> {
        let asked = Instant::now();
        let mut reads = self.0.lock().await;
        if let Some((began, outcome)) = &reads.latest
            && *began >= asked
        {
            return outcome.clone();
        }
        let good = reads.good.clone();
        let began = Instant::now();
        let span = tracing::Span::current();
        let work = move || span.in_scope(|| work(good));
        let outcome = match tokio::task::spawn_blocking(work).await {
            Ok(outcome) => outcome,
            Err(stopped) => Err(StoreError::unreadable(path, std::io::Error::other(stopped))),
        };
        if let Ok(reading) = &outcome {
            reads.good = Some(reading.clone());
        }
        reads.latest = Some((began, outcome.clone()));
        outcome
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn those_who_wait_for_a_read_share_the_next_one() {
        let shared = Arc::new(Shared::<usize>::new());
        let reads = Arc::new(AtomicUsize::new(0));
        let (open, gate) = std::sync::mpsc::channel::<()>();
        let first = tokio::spawn({
            let (shared, reads) = (Arc::clone(&shared), Arc::clone(&reads));
            async move {
                let work = move |_| {
                    gate.recv().unwrap();
                    Ok(reads.fetch_add(1, Ordering::SeqCst))
                };
                shared.read(Path::new("store"), work).await
            }
        });
        while shared.0.try_lock().is_ok() {
            tokio::task::yield_now().await;
        }
        let mut waiting = tokio::task::JoinSet::new();
        for _ in 0..50 {
            let (shared, reads) = (Arc::clone(&shared), Arc::clone(&reads));
            waiting.spawn(async move {
                let work = move |_| Ok(reads.fetch_add(1, Ordering::SeqCst));
                shared.read(Path::new("store"), work).await
            });
        }
        // Every one of the fifty is polled once, and so has asked, before this task runs again.
        for _ in 0..2 {
            tokio::task::yield_now().await;
        }
        open.send(()).unwrap();
        assert_eq!(first.await.unwrap().unwrap(), 0);
        assert!(
            waiting
                .join_all()
                .await
                .iter()
                .all(|read| matches!(read, Ok(1)))
        );
        assert_eq!(reads.load(Ordering::SeqCst), 2);
    }
}
