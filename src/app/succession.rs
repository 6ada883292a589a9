//! An upgrade in place: a new process with the same sockets takes over, the old one keeps the sessions that it has.
//!
//! The new process is started from the path that this one was started from, so that a file that was replaced is a new
//! version. It gets the listening sockets as systemd would hand them over (`LISTEN_FDS`), and behind them one end of a
//! socket pair, on which it says when it serves, or why it cannot.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::sockets::Sockets;

#[cfg(unix)]
pub(super) use heir::start;

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

    /// Tells the process before this one that this one serves.
    pub(super) fn serves(&mut self) {
        self.tell("ready\n");
    }

    /// Tells the process before this one, if there is one, that it has to go on.
    pub fn failed(&mut self, why: &str) {
        self.tell(&format!("{}\n", why.replace('\n', " ")));
    }

    fn tell(&mut self, text: &str) {
        #[cfg(unix)]
        if let Some(mut predecessor) = self.predecessor.take() {
            // One that has given up waiting is told nothing.
            let _ = predecessor.channel.write_all(text.as_bytes());
        }
        #[cfg(not(unix))]
        let _ = text;
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
    use tracing::debug;

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
    use tokio::io::AsyncReadExt as _;
    use tokio::net::UnixStream;
    use tokio::time::timeout;
    use tracing::error;

    use super::Start;

    /// Starts the new process, and returns its id as soon as it serves.
    ///
    /// # Errors
    ///
    /// Why it does not; then it is gone again.
    pub(in crate::app) async fn start(start: &Start) -> Result<u32, String> {
        let program = start.program.display().to_string();
        let failed = |error: std::io::Error| format!("cannot start {program}: {error}");
        let (own, theirs) = std::os::unix::net::UnixStream::pair().map_err(failed)?;
        let mut child = spawn(start, theirs.into()).map_err(failed)?;
        own.set_nonblocking(true).map_err(failed)?;
        let mut own = UnixStream::from_std(own).map_err(failed)?;
        let mut said = Vec::new();
        let heard = timeout(PATIENCE, hear(&mut own, &mut said)).await;
        let why = match (heard, said.as_slice()) {
            (Ok(()), b"ready\n") => {
                let pid = child.id();
                // It ends long after this process; until then somebody has to take note, should it be the other way round.
                std::thread::spawn(move || {
                    if let Ok(status) = child.wait()
                        && !status.success()
                    {
                        error!(pid, "the process that took over has ended: {status}");
                    }
                });
                return Ok(pid);
            }
            (Err(_), _) => format!("it did not serve within {PATIENCE:?}"),
            (Ok(()), b"") => "it ended".to_owned(),
            (Ok(()), said) => String::from_utf8_lossy(said).trim().to_owned(),
        };
        Err(format!("{program}: {why}{}", end(&mut child)))
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

    /// Sees to it that the new process is gone, and says how it ended where it did so by itself.
    fn end(child: &mut Child) -> String {
        let _ = child.kill();
        match child.wait() {
            Ok(status) if status.code().is_some() => format!(" ({status})"),
            _ => String::new(),
        }
    }

    /// What systemd begins with.
    const FIRST_FD: i32 = 3;
    /// How long the new process may take. A command that asks for an upgrade waits ten seconds.
    const PATIENCE: Duration = Duration::from_secs(8);
    /// The longest explanation, in bytes.
    const MOST: usize = 16 * 1024;
}
