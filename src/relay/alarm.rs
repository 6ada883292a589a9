//! A future that rarely completes, beside one that is polled with every message.
//!
//! A task is polled whole: whatever else it waits for is asked again with every byte that comes, and a cancellation or a
//! timer takes a lock to answer. An alarm has a waker of its own, so it knows without asking that nothing has happened.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::future::BoxFuture;
use futures_util::task::AtomicWaker;

/// Waits for a future, and asks it only when it has something to say.
pub(super) struct Alarm<T> {
    future: BoxFuture<'static, T>,
    bell: Arc<Bell>,
    /// The same bell, for the future.
    waker: Waker,
}

struct Bell {
    rung: AtomicBool,
    task: AtomicWaker,
}

impl<T> Alarm<T> {
    pub(super) fn new(future: BoxFuture<'static, T>) -> Self {
        let bell = Arc::new(Bell {
            // It is asked once, so that it knows whom to wake.
            rung: AtomicBool::new(true),
            task: AtomicWaker::new(),
        });
        Self {
            future,
            waker: Waker::from(Arc::clone(&bell)),
            bell,
        }
    }
}

impl<T> Future for Alarm<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let this = &mut *self;
        // First this, then the look: a bell that rings in between finds whom to wake.
        this.bell.task.register(cx.waker());
        if !this.bell.rung.load(Ordering::Acquire) || !this.bell.rung.swap(false, Ordering::AcqRel)
        {
            return Poll::Pending;
        }
        this.future
            .as_mut()
            .poll(&mut Context::from_waker(&this.waker))
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        self.task.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::AtomicUsize;

    use futures_util::FutureExt as _;
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn it_is_asked_when_it_has_something_to_say_and_not_before() {
        let (sender, mut receiver) = oneshot::channel::<u8>();
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        let counted = poll_fn(move |cx| {
            counter.fetch_add(1, Ordering::Relaxed);
            receiver.poll_unpin(cx)
        });
        let mut alarm = Alarm::new(counted.boxed());
        for _ in 0..100 {
            assert!(futures_util::poll!(&mut alarm).is_pending());
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        let waiting = tokio::spawn(alarm);
        tokio::task::yield_now().await;
        assert_eq!(sender.send(7), Ok(()));
        assert_eq!(waiting.await.ok(), Some(Ok(7)));
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    }
}
