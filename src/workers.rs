//! The threads that serve clients: one for each core, each with a runtime of its own.
//!
//! A connection stays with its thread from the first byte to the last, so that a message is read, written on and counted
//! without another thread being woken or asked. What goes on beside the sessions (the control connection, the watch over
//! the gateway's files, the admin surface) lives on the runtime that they were started from. A device is looked up on the
//! thread of the session that asks, and the files are read on a thread that may wait.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The threads that serve clients. They end with it, and so does whatever still runs on them.
#[derive(Debug)]
pub struct Workers {
    each: Vec<Worker>,
    /// Ends the threads when it is dropped.
    _lives: Vec<oneshot::Sender<()>>,
}

/// One of them; what is spawned on it ends with [`Workers`].
#[derive(Clone, Debug)]
pub struct Worker {
    runtime: Handle,
    load: Arc<AtomicUsize>,
}

/// Counts as load of a worker for as long as it lives.
#[derive(Debug)]
pub struct Load(Arc<AtomicUsize>);

impl Workers {
    /// One for each core that this process may use.
    ///
    /// # Errors
    ///
    /// When the system has no thread left.
    pub fn start() -> io::Result<Self> {
        Self::of(thread::available_parallelism().map_or(1, usize::from))
    }

    fn of(many: usize) -> io::Result<Self> {
        let workers = (0..many).map(Worker::start);
        let (each, lives) = workers.collect::<io::Result<_>>()?;
        Ok(Self {
            each,
            _lives: lives,
        })
    }

    /// The one with the least to do.
    #[must_use]
    pub fn least_busy(&self) -> Option<&Worker> {
        self.each.iter().min_by_key(|worker| worker.busy())
    }

    /// Whether another has so much less to do than this one that it had better take the next client.
    #[must_use]
    pub fn is_outdone(&self, worker: &Worker) -> bool {
        let least = self.least_busy().map_or(0, Worker::busy);
        worker.busy() > least + least / TOLERATED + 1
    }
}

impl Worker {
    fn start(number: usize) -> io::Result<(Self, oneshot::Sender<()>)> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (life, over) = oneshot::channel();
        thread::Builder::new()
            .name(format!("worker-{number}"))
            .spawn(move || {
                let _: Result<(), _> = runtime.block_on(over);
                // Lookups that still run in the background need not be waited for.
                runtime.shutdown_background();
            })?;
        let worker = Self {
            runtime: handle,
            load: Arc::default(),
        };
        Ok((worker, life))
    }

    /// Has it do this.
    pub fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.runtime.spawn(work)
    }

    /// One more client that it serves.
    #[must_use]
    pub fn load(&self) -> Load {
        self.load.fetch_add(1, Ordering::Relaxed);
        Load(Arc::clone(&self.load))
    }

    fn busy(&self) -> usize {
        self.load.load(Ordering::Relaxed)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What part of its clients a worker may have more than another, as a divisor.
const TOLERATED: usize = 8;

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    #[test]
    fn the_next_client_goes_where_there_is_clearly_less_to_do() {
        let workers = Workers::of(2).unwrap();
        let [one, other] = workers.each.as_slice() else {
            unreachable!("there are two")
        };
        let first = one.load();
        assert!(!workers.is_outdone(one), "one more is no reason to change");
        let second = one.load();
        assert!(workers.is_outdone(one) && !workers.is_outdone(other));
        let least_busy = || {
            let name = async { thread::current().name().map(str::to_owned) };
            let worker = workers.least_busy().unwrap();
            worker.runtime.block_on(worker.spawn(name)).unwrap()
        };
        assert_eq!(least_busy().as_deref(), Some("worker-1"));
        let _third = other.load();
        assert!(!workers.is_outdone(one));
        drop((first, second));
        assert_eq!(least_busy().as_deref(), Some("worker-0"));
    }

    #[test]
    fn of_many_clients_an_eighth_more_is_no_reason_to_change() {
        let workers = Workers::of(2).unwrap();
        let (one, other) = (&workers.each[0], &workers.each[1]);
        let _many: Vec<_> = (0..80).map(|_| other.load()).collect();
        let _more: Vec<_> = (0..91).map(|_| one.load()).collect();
        assert!(!workers.is_outdone(one));
        let _one_more = one.load();
        assert!(workers.is_outdone(one));
    }

    #[test]
    fn a_session_that_panics_takes_no_other_with_it() {
        let workers = Workers::of(1).unwrap();
        let worker = &workers.each[0];
        let (goes_on, told) = oneshot::channel();
        let _load = worker.load();
        let other = worker.spawn(told);
        let load = worker.load();
        let panics = worker.spawn(async move {
            let _held = load;
            // A panic without a message on standard error.
            std::panic::resume_unwind(Box::new("a mistake that input reaches"))
        });
        let ended: Result<(), _> = worker.runtime.block_on(panics);
        assert!(ended.unwrap_err().is_panic());
        assert_eq!(worker.busy(), 1, "its place is free");
        goes_on.send("still there").unwrap();
        assert_eq!(worker.runtime.block_on(other).unwrap(), Ok("still there"));
    }
}
