//! An upgrade in place: a new process with the same sockets takes over, the old one keeps the sessions that it has.
//!
//! The new process is started from the path that this one was started from, so that a file that was replaced is a new
//! version. It gets the listening sockets as systemd would hand them over (`LISTEN_FDS`), and behind them one end of a
//! socket pair. On that it says that it is ready, or why it cannot be; is told to go; and says that it serves. Before it
//! is told, it lets in no client and no command, so that the old process can go on at any time as if nothing had been.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tracing::debug;

use super::sockets::Sockets;

pub(super) use heir::Heir;

/// What this process was started with.
#[derive(Debug)]
pub struct Start {
    program: PathBuf,
    arguments: Vec<OsString>,
    /// The sockets that whoever started it handed over.
    pub(super) sockets: Arc<Sockets>,
    predecessor: Option<Predecessor>,
}

/// The process whose place this one takes.
#[derive(Debug)]
pub(super) struct Predecessor {
    #[cfg(unix)]
    channel: std::os::unix::net::UnixStream,
}

impl Start {
    /// Takes over what was handed to this process. To be called once, before anything else is opened.
    ///
    /// # Errors
    ///
    /// When a socket that was handed over cannot be used.
    pub fn of_process() -> io::Result<Self> {
        let mut arguments = std::env::args_os();
        let program = arguments.next().unwrap_or_default();
        let (listeners, predecessor) = handed_over()?;
        Ok(Self {
            program: whole_path(Path::new(&program)),
            arguments: arguments.collect(),
            sockets: Arc::new(Sockets::inherited(listeners)?),
            predecessor,
        })
    }

    /// Whether this process takes the place of another.
    pub(super) const fn takes_over(&self) -> bool {
        self.predecessor.is_some()
    }

    /// Tells the process before this one that this one is ready, and waits for its turn. A process that has ended has
    /// left its turn, too.
    pub(super) async fn turn(&self) {
        #[cfg(unix)]
        if let Some(predecessor) = &self.predecessor
            && let Err(error) = predecessor.turn().await
        {
            debug!("the process before this one says nothing: {error}");
        }
    }

    /// Tells the process before this one that this one serves. Until that one has ended, the lines of the log tell whose
    /// they are.
    pub(super) fn serves(&mut self) {
        self.tell(SERVING);
        #[cfg(unix)]
        if let Some(predecessor) = self.predecessor.take() {
            tokio::spawn(async move {
                predecessor.ended().await;
                crate::log::name_process(false);
            });
        }
    }

    /// Tells the process before this one, if there is one, that it has to go on.
    pub fn failed(&mut self, why: &str) {
        // It ends this one as soon as it hears of it.
        crate::log::hurry();
        self.tell(&format!("{}\n", why.replace('\n', " ")));
    }

    fn tell(&mut self, text: &str) {
        #[cfg(unix)]
        if let Some(predecessor) = &mut self.predecessor {
            // One that has given up waiting is told nothing.
            let _ = predecessor.channel.write_all(text.as_bytes());
        }
        #[cfg(not(unix))]
        let _ = text;
    }
}

#[cfg(unix)]
impl Predecessor {
    async fn turn(&self) -> io::Result<()> {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        self.channel.set_nonblocking(true)?;
        let mut channel = tokio::net::UnixStream::from_std(self.channel.try_clone()?)?;
        channel.write_all(READY.as_bytes()).await?;
        channel.read_exact(&mut [0; GO.len()]).await?;
        Ok(())
    }

    /// Completes when it has ended, whatever way: it says nothing more, and the system closes what it had open.
    async fn ended(self) {
        use tokio::io::AsyncReadExt as _;
        if let Ok(mut channel) = tokio::net::UnixStream::from_std(self.channel) {
            while matches!(channel.read(&mut [0; 64]).await, Ok(1..)) {}
        }
    }
}

/// Somebody wants a new version to take over, and to hear what came of it.
pub(super) type Asked = oneshot::Sender<Result<u32, String>>;

/// Takes wishes for a new version.
#[derive(Clone, Debug)]
pub(super) struct Wishes(mpsc::Sender<Asked>);

impl Wishes {
    pub(super) fn new() -> (Self, mpsc::Receiver<Asked>) {
        let (sender, receiver) = mpsc::channel(1);
        (Self(sender), receiver)
    }

    /// The process that has taken over.
    pub(super) async fn ask(&self) -> Result<u32, String> {
        let (answer, answered) = oneshot::channel();
        let no = "this shim is part of another program, and cannot be upgraded in place";
        if self.0.send(answer).await.is_err() {
            return Err(no.to_owned());
        }
        answered
            .await
            .unwrap_or_else(|_| Err("the shim ended first".to_owned()))
    }
}

/// Where a program is found again, with a symbolic link as a link: what it points to may be another version by then.
fn whole_path(program: &Path) -> PathBuf {
    let own = || std::env::current_exe().unwrap_or_else(|_| program.to_owned());
    if program.components().count() > 1 {
        return std::path::absolute(program).unwrap_or_else(|_| own());
    }
    let directories = std::env::var_os("PATH").unwrap_or_default();
    let mut candidates =
        std::env::split_paths(&directories).map(|directory| directory.join(program));
    candidates
        .find(|candidate| candidate.is_file())
        .unwrap_or_else(own)
}

type HandedOver = (Vec<std::net::TcpListener>, Option<Predecessor>);

#[cfg(unix)]
fn handed_over() -> io::Result<HandedOver> {
    use std::os::unix::net::UnixStream;

    use rustix::net::{AddressFamily, SocketType};

    let mut fds = listenfd::ListenFd::from_env();
    let (mut listeners, mut predecessor) = (Vec::new(), None);
    for index in 0..fds.len() {
        let as_listener = fds.take_tcp_listener(index);
        if let Ok(Some(listener)) = as_listener {
            listeners.push(listener);
            continue;
        }
        let family = i32::from(AddressFamily::UNIX.as_raw());
        let kind = i32::try_from(SocketType::STREAM.as_raw()).unwrap_or_default();
        let channel = fds.take_custom::<UnixStream>(index, family, kind, "socket pair");
        match channel {
            // A socket that listens has no peer.
            Ok(Some(channel)) if channel.peer_addr().is_ok() => {
                predecessor = Some(Predecessor { channel });
            }
            _ => debug!(index, "a socket that was handed over is no TCP socket"),
        }
    }
    Ok((listeners, predecessor))
}

#[cfg(not(unix))]
fn handed_over() -> io::Result<HandedOver> {
    Ok((Vec::new(), None))
}

#[cfg(unix)]
mod heir {
    use std::os::fd::OwnedFd;
    use std::process::{Child, Command, Stdio};
    use std::time::Duration;

    use command_fds::{CommandFdExt as _, FdMapping};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixStream;
    use tokio::time::timeout;
    use tracing::error;

    use super::{GO, READY, SERVING, Start};

    /// A process that is about to take over. Dropped before it has, it is gone again; dropped later, it takes this one for
    /// ended.
    pub(in crate::app) struct Heir {
        program: String,
        child: Option<Child>,
        channel: UnixStream,
    }

    impl Heir {
        /// Starts it, and returns when it is ready to serve. It lets nobody in yet.
        ///
        /// # Errors
        ///
        /// Why it is not; then it is gone again.
        pub(in crate::app) async fn start(start: &Start) -> Result<Self, String> {
            let program = start.program.display().to_string();
            let failed = |error: std::io::Error| format!("cannot start {program}: {error}");
            let (own, theirs) = std::os::unix::net::UnixStream::pair().map_err(failed)?;
            own.set_nonblocking(true).map_err(failed)?;
            let channel = UnixStream::from_std(own).map_err(failed)?;
            let child = spawn(start, theirs.into()).map_err(failed)?;
            let mut heir = Self {
                program,
                child: Some(child),
                channel,
            };
            heir.expect(READY).await?;
            Ok(heir)
        }

        /// Lets it serve, and returns its id as soon as it does.
        ///
        /// # Errors
        ///
        /// Why it does not; then it is gone again.
        pub(in crate::app) async fn take_over(&mut self) -> Result<u32, String> {
            // One that has ended says so below.
            let _ = self.channel.write_all(GO.as_bytes()).await;
            self.expect(SERVING).await?;
            let Some(mut child) = self.child.take() else {
                return Err(format!("{}: it ended", self.program));
            };
            let pid = child.id();
            // It ends long after this process; until then somebody has to take note, should it be the other way round.
            std::thread::spawn(move || {
                if let Ok(status) = child.wait()
                    && !status.success()
                {
                    error!(pid, "the process that took over has ended: {status}");
                }
            });
            Ok(pid)
        }

        async fn expect(&mut self, line: &str) -> Result<(), String> {
            let mut said = Vec::new();
            let heard = timeout(PATIENCE, hear(&mut self.channel, &mut said)).await;
            let why = match (heard, said.as_slice()) {
                (Ok(()), said) if said == line.as_bytes() => return Ok(()),
                (Err(_), _) => format!("it did not come to serve within {PATIENCE:?}"),
                (Ok(()), b"") => "it ended".to_owned(),
                (Ok(()), said) => String::from_utf8_lossy(said).trim().to_owned(),
            };
            let ended = self.end();
            Err(format!("{}: {why}{ended}", self.program))
        }

        /// Sees to it that it is gone, and says how it ended where it did so by itself.
        fn end(&mut self) -> String {
            let Some(mut child) = self.child.take() else {
                return String::new();
            };
            let _ = child.kill();
            match child.wait() {
                Ok(status) if status.code().is_some() => format!(" ({status})"),
                _ => String::new(),
            }
        }
    }

    impl Drop for Heir {
        fn drop(&mut self) {
            self.end();
        }
    }

    async fn hear(channel: &mut UnixStream, said: &mut Vec<u8>) {
        while !said.ends_with(b"\n") && said.len() < MOST {
            match channel.read_buf(said).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }

    fn spawn(start: &Start, channel: OwnedFd) -> std::io::Result<Child> {
        let listeners = start.sockets.copies()?;
        let handed = listeners.into_iter().map(OwnedFd::from).chain([channel]);
        let mappings: Vec<FdMapping> = handed
            .zip(FIRST_FD..)
            .map(|(parent_fd, child_fd)| FdMapping {
                parent_fd,
                child_fd,
            })
            .collect();
        let mut command = Command::new(&start.program);
        command
            .args(&start.arguments)
            .stdin(Stdio::null())
            .env("LISTEN_FDS", mappings.len().to_string())
            // It is not known before the process is there, and systemd's own would be this one's.
            .env_remove("LISTEN_PID")
            .env_remove("LISTEN_FDNAMES")
            .env_remove("WATCHDOG_PID");
        command
            .fd_mappings(mappings)
            .map_err(std::io::Error::other)?;
        command.spawn()
    }

    /// What systemd begins with.
    const FIRST_FD: i32 = 3;
    /// How long the new process may take for each of its two steps.
    const PATIENCE: Duration = Duration::from_secs(8);
    /// The longest explanation, in bytes.
    const MOST: usize = 16 * 1024;
}

#[cfg(not(unix))]
mod heir {
    use super::Start;

    /// There is none here.
    pub(in crate::app) struct Heir;

    impl Heir {
        pub(in crate::app) async fn start(_start: &Start) -> Result<Self, String> {
            Err("this system has no way to hand sockets over".to_owned())
        }

        pub(in crate::app) async fn take_over(&mut self) -> Result<u32, String> {
            Err("this system has no way to hand sockets over".to_owned())
        }
    }
}

/// The new process could serve.
const READY: &str = "ready\n";
/// It may; and this closes whatever the old process was asked before.
const GO: &str = "go\n";
/// It does.
const SERVING: &str = "serving\n";
