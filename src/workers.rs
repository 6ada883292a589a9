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

/// The threads that serve clients. They end with it, and so does whatever still runs on them.
#[derive(Debug)]
pub struct Workers(Vec<Worker>);

#[derive(Debug)]
struct Worker {
    runtime: Handle,
    load: Arc<AtomicUsize>,
    /// Ends the thread when it is dropped.
    _life: oneshot::Sender<()>,
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
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let workers = (0..cores).map(Worker::start);
        workers.collect::<io::Result<_>>().map(Self)
    }

    /// The one with the least to do.
    #[must_use]
    pub fn pick(&self) -> Option<(Handle, Load)> {
        let least = |worker: &&Worker| worker.load.load(Ordering::Relaxed);
        let worker = self.0.iter().min_by_key(least)?;
        worker.load.fetch_add(1, Ordering::Relaxed);
        Some((worker.runtime.clone(), Load(Arc::clone(&worker.load))))
    }
}

impl Worker {
    fn start(number: usize) -> io::Result<Self> {
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
        Ok(Self {
            runtime: handle,
            load: Arc::default(),
            _life: life,
        })
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    #[test]
    fn the_next_client_goes_where_there_is_the_least_to_do() {
        let workers = Workers(
            (0..2)
                .map(|number| Worker::start(number).unwrap())
                .collect(),
        );
        let loads = || -> Vec<usize> {
            let load = |worker: &Worker| worker.load.load(Ordering::Relaxed);
            workers.0.iter().map(load).collect()
        };
        let (_, first) = workers.pick().unwrap();
        let (_, second) = workers.pick().unwrap();
        assert_eq!(loads(), [1, 1]);
        drop(first);
        assert_eq!(loads(), [0, 1]);
        let (runtime, third) = workers.pick().unwrap();
        assert_eq!(loads(), [1, 1]);
        let thread = runtime.spawn(async { thread::current().name().map(str::to_owned) });
        let thread = runtime.block_on(thread).unwrap();
        assert_eq!(thread.as_deref(), Some("worker-0"));
        drop((second, third));
    }

    #[test]
    fn a_session_that_panics_takes_no_other_with_it() {
        let workers = Workers(vec![Worker::start(0).unwrap()]);
        let (runtime, _load) = workers.pick().unwrap();
        let (goes_on, told) = oneshot::channel();
        let other = runtime.spawn(told);
        let (_, load) = workers.pick().unwrap();
        let panics = runtime.spawn(async move {
            let _held = load;
            // A panic without a message on standard error.
            std::panic::resume_unwind(Box::new("a mistake that input reaches"))
        });
        let ended: Result<(), _> = runtime.block_on(panics);
        assert!(ended.unwrap_err().is_panic());
        assert_eq!(
            workers.0[0].load.load(Ordering::Relaxed),
            1,
            "its place is free"
        );
        goes_on.send("still there").unwrap();
        assert_eq!(runtime.block_on(other).unwrap(), Ok("still there"));
    }
}
