//! The program under test: started, told things, asked for its metrics.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use scope_shim::delegate::Delegate;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::sleep;

use crate::client::Traffic;
use crate::fixture::write_state;
use crate::process::Tree;

/// A running shim in front of a gateway that need not run.
pub(crate) struct Shim {
    pub(crate) addr: SocketAddr,
    pub(crate) gateway: SocketAddr,
    program: PathBuf,
    directory: TempDir,
    child: Child,
}

impl Shim {
    /// Starts it, its own device paired already.
    pub(crate) async fn start(program: &Path) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (addr, gateway) = (free(), free());
        let data = directory.path().join("data");
        let delegate = Delegate::load_or_create(&data).unwrap();
        let proof = delegate.prove(&Default::default(), "", 0);
        let state = directory.path().join("state");
        write_state(&state, gateway.port(), &[(proof.id, proof.public_key)]);
        let text = format!(
            "listen = \"{addr}\"\ndata = {data:?}\n[gateway]\nurl = \"ws://{gateway}\"\nstate = {state:?}\n\
             [limits]\nconnections = 20000\n[admin]\nsocket = {:?}\n",
            directory.path().join("admin.sock")
        );
        fs::write(directory.path().join("scope-shim.toml"), text).unwrap();
        let log = File::create(directory.path().join("log")).unwrap();
        let child = Self::command(program, &directory, &["run"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self {
            addr,
            gateway,
            program: program.to_owned(),
            directory,
            child,
        }
    }

    fn command(program: &Path, directory: &TempDir, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        let file = directory.path().join("scope-shim.toml");
        command.args(arguments).arg("--config").arg(file);
        command.env_clear().env("HOME", directory.path());
        command
    }

    /// Runs a sub-command against it; whether that went well.
    pub(crate) async fn says(&self, arguments: &[&str]) -> bool {
        let mut command = Self::command(&self.program, &self.directory, arguments);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let status = tokio::process::Command::from(command).status().await;
        status.is_ok_and(|status| status.success())
    }

    pub(crate) fn process(&self) -> Tree {
        Tree(self.child.id())
    }

    /// Open descriptors.
    pub(crate) fn descriptors(&self) -> usize {
        let directory = fs::read_dir(format!("/proc/{}/fd", self.child.id()));
        directory.map_or(0, Iterator::count)
    }

    /// Threads of the process; a session has none of its own.
    pub(crate) fn threads(&self) -> usize {
        let directory = fs::read_dir(format!("/proc/{}/task", self.child.id()));
        directory.map_or(0, Iterator::count)
    }

    pub(crate) fn paired(&self) -> PathBuf {
        self.directory.path().join("state/devices/paired.json")
    }

    /// The sum of a metric over its labels, those only that hold `label`.
    pub(crate) async fn metric(&self, name: &str, label: &str) -> Option<f64> {
        let text = self.asked("/metrics").await?;
        let values = text.lines().filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let (own, labels) = series.split_once('{').unwrap_or((series, ""));
            (own == name && labels.contains(label)).then(|| value.parse::<f64>().ok())?
        });
        Some(values.sum())
    }

    /// What went through sessions, as the shim counts it.
    pub(crate) async fn traffic(&self) -> Option<Traffic> {
        let bytes = "scope_shim_bytes_total";
        Some(Traffic {
            to_gateway: self.metric(bytes, "to_gateway").await? as u64,
            to_client: self.metric(bytes, "to_client").await? as u64,
        })
    }

    /// Waits until it would let clients in.
    pub(crate) async fn is_ready(&self) {
        while self
            .asked("/ready")
            .await
            .is_none_or(|text| !text.contains("200 OK"))
        {
            sleep(Duration::from_millis(100)).await;
        }
    }

    async fn asked(&self, path: &str) -> Option<String> {
        let socket = self.directory.path().join("admin.sock");
        let mut stream = UnixStream::connect(socket).await.ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: shim\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        Some(answer)
    }

    /// Makes it read its configuration again.
    pub(crate) fn reload(&self) {
        self.signal(Signal::HUP);
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().cast_signed()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Changes the store as a gateway does it: another file in its place, with one device more or less.
    pub(crate) fn change_store(&self) {
        let path = self.paired();
        let mut paired: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let devices = paired.as_object_mut().unwrap();
        if devices.remove(COMES_AND_GOES).is_none() {
            let (id, mut record) = devices
                .iter()
                .next()
                .map(|(id, record)| (id.clone(), record.clone()))
                .unwrap();
            record["displayName"] = id.into();
            record["deviceId"] = COMES_AND_GOES.into();
            devices.insert(COMES_AND_GOES.to_owned(), record);
        }
        let next = path.with_extension("next");
        fs::write(&next, paired.to_string()).unwrap();
        fs::rename(next, path).unwrap();
    }
}

impl Drop for Shim {
    fn drop(&mut self) {
        self.signal(Signal::TERM);
        let _ = self.child.wait();
        let lines = fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
        let bad = lines
            .lines()
            .filter(|line| line.contains(" ERROR ") || line.contains("panicked"));
        for line in bad.take(20) {
            println!("the shim said: {line}");
        }
    }
}

fn free() -> SocketAddr {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap()
}

/// A device that nobody has the key of.
const COMES_AND_GOES: &str = "00000000000000000000000000000000000000000000000000000000000000ff";
