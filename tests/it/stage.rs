use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use scope_shim::app;
use scope_shim::config::{Config, Environment};
use scope_shim::delegate::Delegate;
use scope_shim::demo::simulated::{Options, Profile, SimulatedGateway};
use scope_shim::device::DeviceId;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::certified::{Certified, into_tls, out_of_tls};
use crate::support::client::{Connect, Outcome};
use crate::support::device::TestDevice;

pub const TOKEN: &str = "simulated-token";

/// A simulated gateway with the shim in front of it.
pub struct Stage {
    pub gateway: SimulatedGateway,
    pub shim: Shim,
    pub dir: TempDir,
}

/// A running shim, in this process.
pub struct Shim {
    pub addr: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

/// What is encrypted on the way from a client to the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Plain,
    /// From the client to the shim.
    TlsBefore,
    /// From the shim to the gateway.
    TlsBehind,
    TlsBoth,
}

/// What a stage is set up with.
#[derive(Default)]
pub struct Setup {
    pub options: Options,
    /// Lines of the shim's configuration file.
    pub config: String,
    /// What the gateway's `openclaw.json` says, instead of what the gateway wrote.
    pub gateway_file: Option<Value>,
}

impl Stage {
    pub async fn new(profile: Profile) -> Self {
        Self::with(profile, |_| {}).await
    }

    pub async fn with(profile: Profile, adjust: impl FnOnce(&mut Setup)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut setup = Setup::default();
        setup.options.profile = profile;
        setup.options.state_dir = dir.path().join("state");
        adjust(&mut setup);
        let file = setup.options.state_dir.join("openclaw.json");
        let gateway = SimulatedGateway::start(setup.options).await.unwrap();
        if let Some(said) = setup.gateway_file {
            std::fs::write(file, said.to_string()).unwrap();
        }
        let shim = Shim::start(gateway.addr(), &dir, &setup.config).await;
        Self { gateway, shim, dir }
    }

    /// A stage whose clients speak plaintext to `shim.addr`, whatever is spoken from there on.
    pub async fn over(way: Way, profile: Profile) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = Options {
            profile,
            state_dir: dir.path().join("state"),
            ..Options::default()
        };
        let gateway = SimulatedGateway::start(options).await.unwrap();
        let mut url = format!("ws://{}", gateway.addr());
        let mut config = String::new();
        if matches!(way, Way::TlsBehind | Way::TlsBoth) {
            let certified = Certified::new(dir.path(), "gateway");
            url = format!("wss://{}", out_of_tls(gateway.addr(), &certified).await);
            config = format!("[gateway]\nfingerprint = \"{}\"\n", certified.fingerprint());
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut shim;
        if matches!(way, Way::TlsBefore | Way::TlsBoth) {
            let certified = Certified::new(dir.path(), "shim");
            config.push_str(&certified.section());
            shim = Shim::before(listener, &url, &dir, &config);
            shim.addr = into_tls(shim.addr, &certified).await;
        } else {
            shim = Shim::before(listener, &url, &dir, &config);
        }
        Self { gateway, shim, dir }
    }

    /// A handshake directly with the gateway, and the same through the shim.
    pub fn both(&self, make: impl Fn(Connect) -> Connect) -> (Connect, Connect) {
        (make(self.direct()), make(self.through()))
    }

    pub fn direct(&self) -> Connect {
        Connect::to(self.gateway.addr()).token(TOKEN)
    }

    pub fn through(&self) -> Connect {
        Connect::to(self.shim.addr).token(TOKEN)
    }

    /// A device that is paired with these scopes; its platform is pinned where the gateway pins any.
    pub fn paired(&self, scopes: &[&str]) -> TestDevice {
        let device = TestDevice::new();
        self.pair(&device, scopes);
        device
    }

    pub fn pair(&self, device: &TestDevice, scopes: &[&str]) -> String {
        self.gateway
            .pair(&device.id(), &device.public_key(), scopes, Some("linux"))
            .unwrap()
    }

    pub fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// The shim's own record on the gateway, once it is there.
    pub async fn delegate(&self) -> Value {
        eventually("the delegate is paired", || self.find_delegate()).await
    }

    pub fn find_delegate(&self) -> Option<Value> {
        let paired = self.gateway.paired().unwrap();
        paired.get(self.delegate_id().as_str()).cloned()
    }

    pub fn delegate_id(&self) -> DeviceId {
        let delegate = Delegate::load_or_create(&self.dir.path().join("data")).unwrap();
        delegate.device_id()
    }

    /// The pairing requests that wait.
    pub fn pending(&self) -> Vec<Value> {
        let pending = self.gateway.pending().unwrap();
        pending.as_object().unwrap().values().cloned().collect()
    }
}

impl Shim {
    pub async fn start(gateway: SocketAddr, dir: &TempDir, config: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::on(listener, gateway, dir, config)
    }

    pub fn on(listener: TcpListener, gateway: SocketAddr, dir: &TempDir, config: &str) -> Self {
        Self::before(listener, &format!("ws://{gateway}"), dir, config)
    }

    pub fn before(listener: TcpListener, gateway: &str, dir: &TempDir, config: &str) -> Self {
        let addr = listener.local_addr().unwrap();
        let config = load(addr, gateway, dir, config);
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let shutdown = async {
                let _ = stopped.await;
            };
            app::serve(config, listener, shutdown).await.unwrap();
        });
        Self {
            addr,
            stop: Some(stop),
            task,
        }
    }

    pub async fn stop(mut self) {
        drop(self.stop.take());
        self.task.await.unwrap();
    }
}

fn load(listen: SocketAddr, gateway: &str, dir: &TempDir, more: &str) -> Config {
    let file = dir.path().join("scope-shim.toml");
    let (state, data) = (dir.path().join("state"), dir.path().join("data"));
    std::fs::create_dir_all(&state).unwrap();
    let start = if more.starts_with('[') {
        Some(0)
    } else {
        more.find("\n[").map(|newline| newline + 1)
    };
    let (top, sections) = more.split_at(start.unwrap_or(more.len()));
    let mut text = format!("listen = \"{listen}\"\ndata = {data:?}\n{top}\n");
    let own = format!("url = \"{gateway}\"\nstate = {state:?}\n");
    if sections.contains("[gateway]\n") {
        text.push_str(&sections.replace("[gateway]\n", &format!("[gateway]\n{own}")));
    } else {
        text.push_str(&format!("[gateway]\n{own}{sections}"));
    }
    std::fs::write(&file, text).unwrap();
    let environment = Environment::from_iter([("HOME", dir.path().to_str().unwrap())]);
    Config::load(Some(&file), &[], &environment).unwrap_or_else(|problems| panic!("{problems:?}"))
}

/// Polls until there is something; the deadline is far beyond what any machine needs.
pub async fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "still not so: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// Repeats a handshake until it ends as wished.
pub async fn until(connect: &Connect, what: &str, wished: impl Fn(&Outcome) -> bool) -> Outcome {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let outcome = connect.clone().run().await;
        if wished(&outcome) {
            return outcome;
        }
        assert!(
            Instant::now() < deadline,
            "still not so: {what}: {outcome:?}"
        );
        sleep(Duration::from_millis(50)).await;
    }
}
