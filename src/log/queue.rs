//! Lines on their way out. Whoever has something to say leaves it here and goes on; one thread writes, at once where it was
//! silent before, and a moment later what comes while many speak.
//!
//! So a reader that has stopped reading, or a disk that is full, costs lines and never a session. What finds no room,
//! or cannot be written, is counted, and the count is told as soon as lines can be written again.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Takes lines, and never waits. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Queue(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// There are lines again.
    filled: Condvar,
    /// All of them are written.
    emptied: Condvar,
    lost: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<Box<[u8]>>,
    bytes: usize,
    /// Lost since that was last told.
    untold: u64,
    /// Whether the thread waits to be told of a line.
    idle: bool,
    /// Whether a line was taken that is not written yet.
    writing: bool,
}

impl Queue {
    /// Starts the thread that writes to `out`. `tell` logs, on that thread, how many lines were lost.
    ///
    /// # Errors
    ///
    /// When the system has no thread left.
    pub(super) fn start(
        out: impl Write + Send + 'static,
        tell: impl Fn(u64) + Send + 'static,
    ) -> io::Result<Self> {
        let queue = Self::default();
        let shared = Arc::clone(&queue.0);
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || shared.work(out, tell))?;
        Ok(queue)
    }

    /// Waits until all lines are written, or for so long; whether they are.
    pub(super) fn drain(&self, patience: Duration) -> bool {
        let state = self.0.lock();
        self.0.filled.notify_one();
        let waiting = self.0.emptied.wait_timeout_while(state, patience, |state| {
            state.writing || !state.lines.is_empty()
        });
        !waiting
            .unwrap_or_else(PoisonError::into_inner)
            .1
            .timed_out()
    }

    /// How many lines were lost so far.
    pub(super) fn lost(&self) -> u64 {
        self.0.lost.load(Ordering::Relaxed)
    }
}

/// One call takes one line.
impl Write for Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if !of_the_thread_itself(line) {
            self.0.take(line.into());
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, line: Box<[u8]>) {
        let mut state = self.lock();
        if state.bytes + line.len() > MOST_BYTES {
            self.lose(&mut state);
            return;
        }
        state.bytes += line.len();
        state.lines.push_back(line);
        if state.idle {
            self.filled.notify_one();
        }
    }

    fn lose(&self, state: &mut State) {
        state.untold += 1;
        self.lost.fetch_add(1, Ordering::Relaxed);
    }

    fn work(&self, mut out: impl Write, tell: impl Fn(u64)) {
        loop {
            let line = self.next();
            if put(&mut out, &line).is_err() {
                self.lose(&mut self.lock());
            } else if let Some(lost) = self.to_tell()
                && put(&mut out, &said(|| tell(lost))).is_ok()
            {
                self.lock().untold -= lost;
            }
        }
    }

    fn next(&self) -> Box<[u8]> {
        let mut state = self.lock();
        let mut rested = !state.writing;
        state.writing = false;
        loop {
            if let Some(line) = state.lines.pop_front() {
                state.bytes -= line.len();
                state.writing = true;
                return line;
            }
            self.emptied.notify_all();
            state = if rested {
                self.wait(state)
            } else {
                self.rest(state)
            };
            rested = true;
        }
    }

    /// Until there is a line.
    fn wait<'s>(&self, mut state: MutexGuard<'s, State>) -> MutexGuard<'s, State> {
        state.idle = true;
        let waiting = self.filled.wait(state);
        let mut state = waiting.unwrap_or_else(PoisonError::into_inner);
        state.idle = false;
        state
    }

    /// Lets lines gather: to be woken for each of many would cost more than writing them.
    fn rest<'s>(&self, state: MutexGuard<'s, State>) -> MutexGuard<'s, State> {
        let resting = self.filled.wait_timeout(state, REST);
        resting.unwrap_or_else(PoisonError::into_inner).0
    }

    /// The lines that were lost, once those are written that came before them.
    fn to_tell(&self) -> Option<u64> {
        let state = self.lock();
        (state.lines.is_empty() && state.untold > 0).then_some(state.untold)
    }
}

/// Writes all of a line, however slowly it is taken.
fn put(out: &mut impl Write, mut line: &[u8]) -> io::Result<()> {
    while !line.is_empty() {
        match out.write(line) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => line = line.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Somebody else who has it, too, does not want to wait for it.
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(PAUSE),
            Err(error) => return Err(error),
        }
    }
    out.flush()
}

thread_local! {
    /// What the thread that writes has to say itself: it need not find room for that, and knows what becomes of it.
    static OWN: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// What is logged by this.
fn said(tell: impl FnOnce()) -> Vec<u8> {
    OWN.set(Some(Vec::new()));
    tell();
    OWN.take().unwrap_or_default()
}

fn of_the_thread_itself(line: &[u8]) -> bool {
    OWN.with_borrow_mut(|own| own.as_mut().map(|own| own.extend_from_slice(line)))
        .is_some()
}

/// What may wait to be written, in bytes: some thousands of lines.
const MOST_BYTES: usize = 1 << 20;
const PAUSE: Duration = Duration::from_millis(10);
/// How long lines gather after one was written.
const REST: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// A file that takes a line whenever it is let, or does not.
    struct Out {
        lets: Receiver<io::Result<()>>,
        written: Sender<String>,
    }

    impl Write for Out {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            // A test that is over lets everything pass.
            self.lets.recv().unwrap_or(Ok(()))?;
            let _ = self.written.send(String::from_utf8(line.to_vec()).unwrap());
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Stage {
        queue: Queue,
        lets: Sender<io::Result<()>>,
        written: Receiver<String>,
    }

    impl Stage {
        fn new() -> Self {
            let (lets, letting) = channel();
            let (writing, written) = channel();
            let out = Out {
                lets: letting,
                written: writing,
            };
            let tell = |lost| writeln(&Queue::default(), &format!("{lost} lost"));
            let queue = Queue::start(out, tell).unwrap();
            Self {
                queue,
                lets,
                written,
            }
        }

        fn says(&self, line: &str) {
            writeln(&self.queue, line);
        }

        fn lets(&self, lines: usize) {
            for _ in 0..lines {
                self.lets.send(Ok(())).unwrap();
            }
        }

        fn fails(&self) {
            self.lets.send(Err(ErrorKind::StorageFull.into())).unwrap();
        }

        fn written(&self) -> String {
            let line = self.written.recv_timeout(Duration::from_secs(20)).unwrap();
            line.trim_end().to_owned()
        }
    }

    fn writeln(queue: &Queue, line: &str) {
        queue
            .clone()
            .write_all(format!("{line}\n").as_bytes())
            .unwrap();
    }

    #[test]
    fn what_was_said_is_written_in_order_before_the_end() {
        let stage = Stage::new();
        stage.says("a");
        stage.says("b");
        assert!(!stage.queue.drain(Duration::ZERO), "nobody reads");
        stage.lets(2);
        assert!(stage.queue.drain(Duration::from_secs(20)));
        assert_eq!([stage.written(), stage.written()], ["a", "b"]);
        assert_eq!(stage.queue.lost(), 0);
    }

    #[test]
    fn nobody_waits_for_a_reader_and_what_it_missed_is_told_when_it_has_caught_up() {
        let stage = Stage::new();
        let long = "x".repeat(MOST_BYTES / 4);
        let mut said = 0;
        while stage.queue.lost() < 3 {
            stage.says(&long);
            said += 1;
        }
        // One was on its way already, or not yet.
        let kept = said - 3;
        assert!((3..=4).contains(&kept), "{kept}");
        stage.lets(kept + 1);
        for _ in 0..kept {
            assert_eq!(stage.written(), long);
        }
        assert_eq!(stage.written(), "3 lost");
        stage.lets(1);
        stage.says("later");
        assert_eq!(stage.written(), "later", "it is told once");
    }

    #[test]
    fn what_a_full_disk_has_cost_is_told_until_that_is_written() {
        let stage = Stage::new();
        stage.fails();
        stage.says("a");
        stage.fails();
        stage.says("b");
        stage.lets(1);
        stage.fails();
        stage.says("c");
        assert_eq!(stage.written(), "c");
        // The attempt to tell of them, which fails, comes after the line itself.
        assert!(stage.queue.drain(Duration::from_secs(20)));
        stage.lets(2);
        stage.says("d");
        assert_eq!([stage.written(), stage.written()], ["d", "2 lost"]);
        assert_eq!(stage.queue.lost(), 2);
    }

    #[test]
    fn a_line_that_is_taken_in_pieces_is_whole() {
        struct Slow(Vec<u8>, bool);
        impl Write for Slow {
            fn write(&mut self, line: &[u8]) -> io::Result<usize> {
                self.1 = !self.1;
                if self.1 {
                    return Err(ErrorKind::WouldBlock.into());
                }
                self.0.extend(line.first());
                Ok(1)
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut slow = Slow(Vec::new(), false);
        put(&mut slow, b"abc\n").unwrap();
        assert_eq!(slow.0, b"abc\n");
    }
}
