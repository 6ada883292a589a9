//! The program itself as a service manager runs it: started, told by signals, and telling when it is ready.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use command_fds::{CommandFdExt as _, FdMapping};
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::UnixDatagram;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::command::Bench;

/// The file that holds the program's configuration, where it finds it by itself.
pub fn configure(bench: &Bench, text: &str) {
    let file = bench.dir.path().join(".config/scope-shim/scope-shim.toml");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, text).unwrap();
}

/// An address that is free now.
pub fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// A running `scope-shim run`.
pub struct Program {
    pub child: Child,
    pub listen: SocketAddr,
    told: UnixDatagram,
    log: PathBuf,
}

impl Program {
    /// Starts it where it finds a free port, and waits until it says that it serves.
    pub async fn start(bench: &Bench, config: &str) -> Self {
        let listen = free();
        configure(bench, &format!("listen = \"{listen}\"\n{config}"));
        Self::again(bench, listen, None).await
    }

    /// Starts it with the configuration that is there, as systemd does where there is a socket to hand over.
    pub async fn again(bench: &Bench, listen: SocketAddr, socket: Option<&TcpListener>) -> Self {
        let program = Path::new(env!("CARGO_BIN_EXE_scope-shim"));
        Self::of(program, bench, listen, socket).await
    }

    /// The same with the program at another place.
    pub async fn of(
        program: &Path,
        bench: &Bench,
        listen: SocketAddr,
        socket: Option<&TcpListener>,
    ) -> Self {
        let file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(log_of(bench))
            .unwrap();
        Self::telling(file, program, bench, listen, socket).await
    }

    /// The same with its log somewhere else.
    pub async fn telling(
        stderr: impl Into<Stdio>,
        program: &Path,
        bench: &Bench,
        listen: SocketAddr,
        socket: Option<&TcpListener>,
    ) -> Self {
        let dir = bench.dir.path();
        let notify = dir.join("notify.sock");
        let _ = std::fs::remove_file(&notify);
        let told = UnixDatagram::bind(&notify).unwrap();
        let mut command = std::process::Command::new(program);
        command
            .arg("run")
            .env_clear()
            .env("HOME", dir)
            .env("NO_COLOR", "1")
            .env("NOTIFY_SOCKET", &notify)
            .env("WATCHDOG_USEC", "2000000")
            .env("SCOPE_SHIM_DATA", dir.join("data"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr);
        if let Some(socket) = socket {
            let parent_fd = OwnedFd::from(socket.try_clone().unwrap());
            let mapping = FdMapping {
                parent_fd,
                child_fd: 3,
            };
            command.env("LISTEN_FDS", "1");
            command.fd_mappings(vec![mapping]).unwrap();
        }
        let child = Command::from(command).kill_on_drop(true).spawn().unwrap();
        let program = Self {
            child,
            listen,
            told,
            log: log_of(bench),
        };
        program.hears("READY=1").await;
        program
    }

    /// Waits until it tells its service manager this.
    pub async fn hears(&self, line: &str) -> String {
        let hear = async {
            loop {
                let mut buffer = [0; 1024];
                let length = self.told.recv(&mut buffer).await.unwrap();
                let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                if text.lines().any(|said| said.starts_with(line)) {
                    return text;
                }
            }
        };
        let heard = timeout(Duration::from_secs(30), hear).await;
        heard.unwrap_or_else(|_| panic!("never told {line}: {}", self.log()))
    }

    /// Takes what it tells its service manager: it waits for one that does not listen.
    pub fn listen_to(&self) {
        while self.told.try_recv(&mut [0; 1024]).is_ok() {}
    }

    pub fn pid(&self) -> u32 {
        self.child.id().unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        tell(self.pid(), signal);
    }

    /// Waits for its end; whether it ended well.
    pub async fn ends(&mut self) -> bool {
        let ended = timeout(Duration::from_secs(30), self.child.wait()).await;
        let status = ended.unwrap_or_else(|_| panic!("still there: {}", self.log()));
        status.unwrap().success()
    }

    /// What it logged, and what those after it did.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

fn log_of(bench: &Bench) -> PathBuf {
    bench.dir.path().join("run.log")
}

pub fn tell(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// A process that this test has not started itself: ended with the test, whatever becomes of it.
pub struct Foundling(pub u32);

impl Drop for Foundling {
    fn drop(&mut self) {
        let pid = Pid::from_raw(i32::try_from(self.0).unwrap()).unwrap();
        let _gone = kill_process(pid, Signal::TERM);
    }
}

/// Asks whoever serves this admin socket now.
pub async fn ask(socket: &Path, path: &str) -> serde_json::Value {
    serde_json::from_str(&fetch(socket, path).await).unwrap()
}

/// The same of what is no JSON.
pub async fn fetch(socket: &Path, path: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::UnixStream::connect(socket).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: shim\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    body.to_owned()
}
