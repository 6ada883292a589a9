//! A simulated gateway, the program in front of it, and `scope-shim page` beside it.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use scope_shim::admin::Client;
use scope_shim::config::{Config, Environment};
use scope_shim::demo::simulated::{Options, Profile, SimulatedGateway};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use crate::support::client::{Connect, READ, Session};
use crate::support::device::TestDevice;

pub const TOKEN: &str = "simulated-token";

pub struct Stage {
    pub gateway: SimulatedGateway,
    /// The port that the shim serves the page on, with a token.
    pub admin: SocketAddr,
    /// What `scope-shim page` printed.
    pub url: String,
    pub client: Client,
    /// Sessions that go on.
    pub sessions: Vec<Session>,
    /// A device that may read, and wants more.
    pub reader: TestDevice,
    shim: Option<Child>,
    _page: Child,
    listen: SocketAddr,
    configuration: String,
    dir: TempDir,
}

impl Stage {
    pub async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = Options {
            profile: Profile::Clearing,
            host_device: true,
            trusted_proxies: vec!["127.0.0.2".into()],
            state_dir: dir.path().join("state"),
            ..Options::default()
        };
        let gateway = SimulatedGateway::start(options).await.unwrap();
        let (listen, admin) = (free_address(), free_address());
        let text = format!(
            "listen = \"{listen}\"\ndata = {:?}\n[gateway]\nurl = \"ws://{}\"\nstate = {:?}\n[admin]\nlisten = \"{admin}\"\n",
            dir.path().join("data"),
            gateway.addr(),
            dir.path().join("state"),
        );
        fs::write(config_file(&dir), &text).unwrap();
        let home = dir.path().to_str().unwrap();
        let environment = Environment::from_iter([("HOME", home)]);
        let config = Config::load(Some(&config_file(&dir)), &[], &environment).unwrap();
        let client = Client::new(&config);
        let shim = start(&dir, &client).await;
        let (page, url) = page(&dir).await;
        let reader = TestDevice::new();
        pair(&gateway, &reader, &[READ]);
        Self {
            gateway,
            admin,
            url,
            client,
            sessions: Vec::new(),
            reader,
            shim: Some(shim),
            _page: page,
            listen,
            configuration: text,
            dir,
        }
    }

    pub fn through(&self) -> Connect {
        Connect::to(self.listen).token(TOKEN)
    }

    /// The token of the admin port.
    pub fn token(&self) -> String {
        fs::read_to_string(self.dir.path().join("data/admin.token")).unwrap()
    }

    /// A device that may read.
    pub fn paired_device(&self) -> TestDevice {
        let device = TestDevice::new();
        pair(&self.gateway, &device, &[READ]);
        device
    }

    pub async fn stop_shim(&mut self) {
        let mut shim = self.shim.take().unwrap();
        shim.kill().await.unwrap();
        self.sessions.clear();
    }

    pub async fn start_shim(&mut self) {
        self.shim = Some(start(&self.dir, &self.client).await);
    }

    /// Has the shim read its configuration with this at its end, which is the table of the admin port; whether it was taken.
    pub async fn reload(&self, more: &str) -> bool {
        let text = format!("{}{more}", self.configuration);
        fs::write(config_file(&self.dir), text).unwrap();
        self.client.post("/reload", &Value::Null).await.is_ok()
    }

    /// What the audit log says.
    pub fn audit(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.dir.path().join("data/audit.jsonl")).unwrap_or_default();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

fn pair(gateway: &SimulatedGateway, device: &TestDevice, scopes: &[&str]) {
    gateway
        .pair(&device.id(), &device.public_key(), scopes, Some("linux"))
        .unwrap();
}

/// Starts the shim and waits until its own device is paired.
async fn start(dir: &TempDir, client: &Client) -> Child {
    let log = fs::File::create(dir.path().join("shim.log")).unwrap();
    let shim = command(dir, "run")
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = client.get("/status").await;
        let up = status
            .as_ref()
            .is_ok_and(|status| status["gateways"][0]["gateway"]["state"] == "up");
        if up {
            return shim;
        }
        let log = || fs::read_to_string(dir.path().join("shim.log")).unwrap_or_default();
        assert!(
            Instant::now() < deadline,
            "the shim is not up: {status:?}: {}",
            log()
        );
        sleep(Duration::from_millis(20)).await;
    }
}

/// Starts `scope-shim page` and reads the address that it prints.
async fn page(dir: &TempDir) -> (Child, String) {
    let mut page = command(dir, "page").stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(page.stdout.take().unwrap()).lines();
    while let Some(line) = lines.next_line().await.unwrap() {
        if line.trim().starts_with("http://") {
            return (page, line.trim().to_owned());
        }
    }
    panic!("scope-shim page printed no address");
}

fn command(dir: &TempDir, name: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_scope-shim"));
    command
        .args([name, "--config"])
        .arg(config_file(dir))
        .env_clear()
        .env("HOME", dir.path())
        .env("SCOPE_SHIM_GATEWAY_TOKEN", TOKEN)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

fn config_file(dir: &TempDir) -> PathBuf {
    dir.path().join("scope-shim.toml")
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap()
}

const PATIENCE: Duration = Duration::from_secs(20);
