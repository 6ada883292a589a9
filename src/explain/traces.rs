//! The traces of the last sessions, in a file of bounded size that another process can read.
//!
//! One thread writes, many traces at a time while many come; a session never waits for it. A disk that is full costs
//! traces, not sessions. In a storm of sessions only some are kept: all of them would cost each handshake a good part of its
//! time, and push whatever came before the storm out of the file within a second.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use tracing::{Span, debug, warn};

use super::SessionTrace;

/// Takes the traces of sessions, to be written when there is time. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Traces {
    lines: SyncSender<Vec<u8>>,
    room: Arc<Room>,
    dropped: Arc<AtomicU64>,
}

/// How many traces may be kept just now: [`AT_ONCE`], and then one in each [`EACH`].
#[derive(Debug)]
struct Room {
    since: Instant,
    /// When all that was kept so far is paid for, in nanoseconds.
    paid_at: AtomicU64,
}

impl Traces {
    /// Starts the thread that writes below the data directory; it ends when every handle is gone.
    #[must_use]
    pub fn start(data: &Path) -> Self {
        let (lines, receiver) = sync_channel(WAITING);
        let (sink, span) = (Sink::new(data, LARGEST), Span::current());
        let write = move || span.in_scope(|| write(&receiver, sink));
        if let Err(error) = thread::Builder::new()
            .name("traces".to_owned())
            .spawn(write)
        {
            warn!("no thread for the traces of sessions: {error}");
        }
        Self {
            lines,
            room: Arc::new(Room::new()),
            dropped: Arc::default(),
        }
    }

    /// Whether the next session is to leave a trace. One that is not counts as dropped.
    #[must_use]
    pub fn take_room(&self) -> bool {
        let taken = self.room.take(self.room.since.elapsed());
        if !taken {
            self.drop_one("too many sessions came at once");
        }
        taken
    }

    /// Keeps a trace, unless too many wait to be written already.
    pub fn keep(&self, trace: &SessionTrace) {
        let kept = line(trace).is_some_and(|line| self.lines.try_send(line).is_ok());
        if !kept {
            self.drop_one("too many wait to be written");
        }
    }

    fn drop_one(&self, why: &str) {
        let dropped = self.dropped.fetch_add(1, Ordering::Relaxed) + 1;
        debug!(dropped, "a session left no trace: {why}");
    }

    /// How many traces were not kept.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl Room {
    fn new() -> Self {
        Self {
            since: Instant::now(),
            paid_at: AtomicU64::new(0),
        }
    }

    /// Takes room for one trace, so long after the start, if there is any.
    fn take(&self, now: Duration) -> bool {
        let nanoseconds =
            |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let (now, longest) = (nanoseconds(now), nanoseconds(EACH * AT_ONCE));
        let pay = |paid_at: u64| {
            let next = paid_at.max(now).saturating_add(nanoseconds(EACH));
            (next - now <= longest).then_some(next)
        };
        let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
        self.paid_at.fetch_update(set, fetch, pay).is_ok()
    }
}

/// In the place where the trace was made, so that no more than its text has to change hands.
fn line(trace: &SessionTrace) -> Option<Vec<u8>> {
    let mut line = Vec::with_capacity(USUAL_LENGTH);
    serde_json::to_writer(&mut line, trace).ok()?;
    line.push(b'\n');
    Some(line)
}

/// Writes what there is, and then has a rest: waking this thread for each of many traces would cost more than the writing.
fn write(lines: &Receiver<Vec<u8>>, mut sink: Sink) {
    while let Ok(first) = lines.recv() {
        sink.append([first].into_iter().chain(lines.try_iter()));
        thread::sleep(REST);
    }
}

/// The file itself, and the one before it.
struct Sink {
    path: PathBuf,
    largest: u64,
    file: Option<(File, u64)>,
    /// Whether the last attempt failed, which was told then.
    failing: bool,
}

impl Sink {
    fn new(data: &Path, largest: u64) -> Self {
        Self {
            path: data.join(FILE),
            largest,
            file: None,
            failing: false,
        }
    }

    fn append(&mut self, lines: impl IntoIterator<Item = Vec<u8>>) {
        match self.try_append(lines) {
            Ok(()) => self.failing = false,
            Err(error) => {
                self.file = None;
                if !std::mem::replace(&mut self.failing, true) {
                    warn!(
                        "cannot keep session traces in {}: {error}; `scope-shim explain` will not know these sessions",
                        self.path.display()
                    );
                }
            }
        }
    }

    fn try_append(&mut self, lines: impl IntoIterator<Item = Vec<u8>>) -> io::Result<()> {
        for line in lines {
            let (file, size) = self.open()?;
            file.write_all(&line)?;
            *size += line.len() as u64;
            if *size >= self.largest {
                // Another process may have put it aside already: a shim that is being replaced writes beside its heir.
                let own = self.is_in_place();
                self.file = None;
                if own {
                    fs::rename(&self.path, before(&self.path))?;
                }
            }
        }
        Ok(())
    }

    #[cfg(unix)]
    fn is_in_place(&self) -> bool {
        use std::os::unix::fs::MetadataExt as _;
        let inode = |metadata: io::Result<fs::Metadata>| metadata.ok().map(|data| data.ino());
        let own = self.file.as_ref().map(|(file, _)| file.metadata());
        own.and_then(inode) == inode(fs::metadata(&self.path))
    }

    #[cfg(not(unix))]
    fn is_in_place(&self) -> bool {
        true
    }

    fn open(&mut self) -> io::Result<&mut (File, u64)> {
        let opened = match self.file.take() {
            Some(opened) => opened,
            None => {
                let mut options = OpenOptions::new();
                options.append(true).create(true);
                #[cfg(unix)]
                std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
                let mut file = options.open(&self.path)?;
                // The last line may be half a line, of a full disk or a crash.
                let size = file.metadata()?.len();
                if size > 0 {
                    file.write_all(b"\n")?;
                }
                (file, size)
            }
        };
        Ok(self.file.insert(opened))
    }
}

/// The traces that were kept, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// Where was looked.
    pub path: PathBuf,
    /// What was there.
    pub traces: Vec<SessionTrace>,
}

impl Kept {
    /// Reads what the shim with this data directory kept. Lines that are no traces are passed over.
    ///
    /// # Errors
    ///
    /// When a file is there and cannot be read.
    pub fn read(data: &Path) -> io::Result<Self> {
        let path = data.join(FILE);
        let mut traces = Vec::new();
        for file in [before(&path), path.clone()] {
            match File::open(&file) {
                Ok(file) => traces.extend(lines(file)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Self { path, traces })
    }
}

fn lines(file: File) -> impl Iterator<Item = SessionTrace> {
    BufReader::new(file.take(2 * LARGEST))
        .split(b'\n')
        .map_while(Result::ok)
        .filter_map(|line| serde_json::from_slice(&line).ok())
}

fn before(path: &Path) -> PathBuf {
    path.with_extension("1.jsonl")
}

const FILE: &str = "sessions.jsonl";
/// A file that has grown so far, in bytes, is put aside in the place of the one before it: about two thousand sessions.
const LARGEST: u64 = 4 << 20;
/// How many traces may wait to be written.
const WAITING: usize = 256;
/// So many sessions may come at once and all leave a trace: half of what the files hold.
const AT_ONCE: u32 = 1000;
/// When more come, one in each of these leaves one: the files then tell of more than half a minute.
const EACH: Duration = Duration::from_millis(20);
/// How long the writer waits for more of them, between two writes.
const REST: Duration = Duration::from_millis(10);
/// Of a trace, in bytes.
const USUAL_LENGTH: usize = 4096;

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;
    use crate::explain::page::tests::trace;

    fn named(names: &[&str]) -> Vec<SessionTrace> {
        let named = names.iter().map(|&name| SessionTrace {
            session: name.to_owned(),
            ..trace()
        });
        named.collect()
    }

    fn lines_of(names: &[&str]) -> Vec<Vec<u8>> {
        named(names).iter().filter_map(line).collect()
    }

    fn kept(data: &Path) -> Vec<String> {
        let kept = Kept::read(data).unwrap().traces;
        kept.into_iter().map(|trace| trace.session).collect()
    }

    #[test]
    fn what_is_kept_can_be_read_also_after_a_restart_and_behind_half_a_line() {
        let dir = tempfile::tempdir().unwrap();
        assert!(kept(dir.path()).is_empty());
        Sink::new(dir.path(), LARGEST).append(lines_of(&["a", "b"]));
        let path = dir.path().join(FILE);
        let half = fs::read(&path).unwrap();
        fs::write(&path, &half[..half.len() - 20]).unwrap();
        Sink::new(dir.path(), LARGEST).append(lines_of(&["c"]));
        assert_eq!(kept(dir.path()), ["a", "c"]);
        assert_eq!(Kept::read(dir.path()).unwrap().traces[0], named(&["a"])[0]);
    }

    #[test]
    fn the_files_never_grow_beyond_twice_their_limit() {
        let dir = tempfile::tempdir().unwrap();
        let one = serde_json::to_vec(&trace()).unwrap().len() as u64;
        let mut sink = Sink::new(dir.path(), 3 * one);
        let names: Vec<String> = (0..20).map(|n| n.to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        sink.append(lines_of(&names));
        let kept = kept(dir.path());
        assert!(kept.len() <= 8, "{kept:?}");
        assert_eq!(kept.last().map(String::as_str), Some("19"));
        assert!(fs::read_dir(dir.path()).unwrap().count() <= 2);
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_can_read_them() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        Sink::new(dir.path(), LARGEST).append(lines_of(&["a"]));
        let mode = fs::metadata(dir.path().join(FILE)).unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
    }

    #[test]
    fn a_place_that_cannot_be_written_is_tried_again() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("later");
        let mut sink = Sink::new(&data, LARGEST);
        sink.append(lines_of(&["lost"]));
        assert!(sink.failing);
        fs::create_dir(&data).unwrap();
        sink.append(lines_of(&["kept"]));
        assert!(!sink.failing);
        assert_eq!(kept(&data), ["kept"]);
    }

    #[test]
    fn a_writer_that_lags_costs_traces_and_holds_nobody_up() {
        let (lines, _unread) = sync_channel(1);
        let traces = Traces {
            lines,
            room: Arc::new(Room::new()),
            dropped: Arc::default(),
        };
        for trace in &named(&["a", "b", "c"]) {
            traces.keep(trace);
        }
        assert_eq!(traces.dropped(), 2);
    }

    #[test]
    fn a_storm_leaves_no_more_traces_than_the_files_have_room_for() {
        let room = Room::new();
        let second = Duration::from_secs;
        let taken = |at: Duration, wanted: usize| (0..wanted).filter(|_| room.take(at)).count();
        assert_eq!(taken(second(1), 5000), 1000);
        assert_eq!(taken(second(1), 10), 0);
        assert_eq!(
            taken(second(2), 5000),
            50,
            "one in each twenty milliseconds"
        );
        assert_eq!(
            taken(second(3600), 5000),
            1000,
            "a rest gives all of it back"
        );
    }
}
