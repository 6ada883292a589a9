use std::net::SocketAddr;

use scope_shim::admin::Client;
use scope_shim::app;
use scope_shim::config::{Config, Environment};
use scope_shim::delegate::Delegate;
use scope_shim::demo::simulated::{Options, Profile, SimulatedGateway};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::stage::{TOKEN, eventually};
use crate::support::client::{Connect, FULL, LEGACY, READ};
use crate::support::device::TestDevice;
use crate::wire::RawClient;

/// Two gateways that agree in nothing, behind one shim: `a` compares scopes literally, `b` clears those of clients
/// without a device. Both are behind one door, by their hosts, and `b` has a door of its own as `b2`.
struct Fleet {
    a: SimulatedGateway,
    b: SimulatedGateway,
    configs: Vec<Config>,
    /// Where the hosts tell.
    shared: SocketAddr,
    /// Where everything is for the second `b`.
    own: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
    _dir: TempDir,
}

impl Fleet {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let a = gateway(&dir, "a", Profile::Literal, "token-of-a").await;
        let b = gateway(&dir, "b", Profile::Clearing, TOKEN).await;
        let (first, second) = (listener().await, listener().await);
        let (shared, own) = (first.local_addr().unwrap(), second.local_addr().unwrap());
        let file = dir.path().join("scope-shim.toml");
        let text = format!(
            "listen = \"{shared}\"\ndata = \"data\"\n\
             [[gateway]]\nname = \"a\"\nhosts = [\"a.example\", \"*.a.example\"]\nurl = \"ws://{}\"\nstate = \"a\"\n\
             token = \"token-of-a\"\n\
             [[gateway]]\nname = \"b\"\nhosts = [\"b.example\"]\nurl = \"ws://{}\"\nstate = \"b\"\ntoken = \"{TOKEN}\"\n\
             [[gateway]]\nname = \"b2\"\nlisten = \"{own}\"\nurl = \"ws://{}\"\nstate = \"b\"\ntoken = \"{TOKEN}\"\n",
            a.addr(),
            b.addr(),
            b.addr(),
        );
        std::fs::write(&file, text).unwrap();
        let environment = Environment::from_iter([("HOME", dir.path().to_str().unwrap())]);
        let configs = Config::load_all(Some(&file), &[], &environment)
            .unwrap_or_else(|problems| panic!("{problems}"));
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn({
            let configs = configs.clone();
            let listeners = vec![(shared, first), (own, second)];
            async move {
                let shutdown = async {
                    let _ = stopped.await;
                };
                app::serve_all(configs, listeners, shutdown).await.unwrap();
            }
        });
        Self {
            a,
            b,
            configs,
            shared,
            own,
            stop: Some(stop),
            task,
            _dir: dir,
        }
    }

    /// A client of the shared door that asks for this host.
    fn host(&self, host: &str) -> Connect {
        let token = if host.ends_with("a.example") {
            "token-of-a"
        } else {
            TOKEN
        };
        Connect::to(self.shared).token(token).header("host", host)
    }

    /// The delegate of each gateway, once it is paired there.
    async fn delegates(&self) -> Vec<String> {
        let mut ids = Vec::new();
        for (config, gateway) in self.configs.iter().zip([&self.a, &self.b, &self.b]) {
            let id = eventually("the delegate is paired", || {
                let delegate = Delegate::load(&config.data).ok()??;
                let id = delegate.device_id().as_str().to_owned();
                gateway.paired().unwrap().get(&id).map(|_| id)
            });
            ids.push(id.await);
        }
        ids
    }

    async fn stop(mut self) {
        drop(self.stop.take());
        self.task.await.unwrap();
    }
}

async fn gateway(dir: &TempDir, name: &str, profile: Profile, token: &str) -> SimulatedGateway {
    let options = Options {
        profile,
        state_dir: dir.path().join(name),
        token: Some(token.to_owned()),
        host_device: true,
        ..Options::default()
    };
    SimulatedGateway::start(options).await.unwrap()
}

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

fn pair(gateway: &SimulatedGateway, scopes: &[&str]) -> TestDevice {
    let device = TestDevice::new();
    gateway
        .pair(&device.id(), &device.public_key(), scopes, Some("linux"))
        .unwrap();
    device
}

#[tokio::test]
async fn each_host_leads_to_its_gateway_and_each_gateway_has_a_delegate_of_its_own() {
    let fleet = Fleet::start().await;
    let mut delegates = fleet.delegates().await;
    delegates.sort();
    delegates.dedup();
    assert_eq!(delegates.len(), 3);
    let device = pair(&fleet.a, LEGACY);
    for host in [
        "a.example",
        "A.Example:443",
        "deep.down.a.example",
        "x.a.example.",
    ] {
        let connect = fleet.host("a.example").header("host", host);
        let healed = connect.device(&device).scopes(&[READ]).run().await;
        assert_eq!(
            healed.admitted().letters().await,
            "r",
            "{host}: repaired on a"
        );
    }
    let bare = fleet.host("b.example").client("cli", "probe").scopes(FULL);
    assert_eq!(
        bare.run().await.label().await,
        "ok ·",
        "{}",
        "by its name nobody is local"
    );
    let direct = Connect::to(fleet.own)
        .token(TOKEN)
        .client("cli", "probe")
        .scopes(FULL);
    assert_eq!(
        direct.run().await.label().await,
        "ok rwAap",
        "by its own port it is"
    );
    fleet.stop().await;
}

#[tokio::test]
async fn a_host_that_leads_nowhere_or_to_two_gateways_is_misdirected() {
    let fleet = Fleet::start().await;
    for host in [
        "c.example",
        "aa.example",
        "a.example.evil",
        "127.0.0.1",
        "localhost",
        "",
    ] {
        let outcome = fleet.host(host).run().await;
        let (status, text) = outcome.http.unwrap();
        assert_eq!(status, 421, "{host}");
        assert!(
            text.contains("no gateway is configured for this host"),
            "{text}"
        );
    }
    for head in [
        "GET /healthz HTTP/1.1\r\nHost: a.example\r\nHost: b.example\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: a.example\r\nHost: a.example\r\n\r\n",
        "GET http://b.example/healthz HTTP/1.1\r\nHost: a.example\r\n\r\n",
        "GET /healthz HTTP/1.0\r\n\r\n",
    ] {
        let mut client = RawClient::connect(fleet.shared).await;
        client.write(head.as_bytes()).await;
        let answer = client.head().await;
        assert!(answer.contains(" 421 "), "{head}{answer}");
    }
    fleet.stop().await;
}

#[tokio::test]
async fn one_connection_carries_requests_for_several_gateways_to_each_its_own() {
    let fleet = Fleet::start().await;
    let mut client = RawClient::connect(fleet.shared).await;
    for (host, token, own) in [
        ("a.example", "token-of-a", true),
        ("b.example", "token-of-a", false),
        ("b.example", TOKEN, true),
        ("a.example", TOKEN, false),
        ("a.example", "token-of-a", true),
    ] {
        let request = format!(
            "POST /tools/invoke HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nContent-Length: 2\r\n\r\n{{}}"
        );
        client.write(request.as_bytes()).await;
        let head = client.head().await.to_lowercase();
        let known = !head.starts_with("http/1.1 401 ");
        assert_eq!(known, own, "{host} {token}: {head}");
        let length = head.split("content-length: ").nth(1).unwrap();
        let length = length.lines().next().unwrap().trim().parse().unwrap();
        client.exactly(length).await;
    }
    fleet.stop().await;
}

#[tokio::test]
async fn what_one_gateway_knows_of_a_device_counts_for_no_other() {
    let fleet = Fleet::start().await;
    fleet.delegates().await;
    let device = pair(&fleet.a, FULL);
    let known = fleet.host("a.example").device(&device).scopes(FULL);
    assert_eq!(known.clone().run().await.label().await, "ok rwAap");
    // The token that `a` gave it, too.
    let token = known.run().await.device_token().map(str::to_owned);
    let unknown = |to: Connect| {
        let connect = to.header("host", "b.example").without_token();
        connect
            .device_token(token.as_deref().unwrap_or("none"))
            .device(&device)
            .scopes(FULL)
    };
    let through = unknown(Connect::to(fleet.shared)).run().await;
    let direct = unknown(Connect::to(fleet.b.addr())).run().await;
    assert!(through.session.is_none(), "{through:?}");
    assert_eq!(through.detail(), direct.detail());
    // Refused again and again by `b`, so that it is remembered there, it still gets into `a`.
    for _ in 0..5 {
        let again = unknown(Connect::to(fleet.shared)).run().await;
        assert!(again.session.is_none());
    }
    let known = fleet.host("a.example").device(&device).scopes(FULL);
    assert_eq!(known.run().await.label().await, "ok rwAap");
    fleet.stop().await;
}

#[tokio::test]
async fn a_refused_client_from_elsewhere_is_told_the_command_with_the_gateways_name_and_no_path() {
    let fleet = Fleet::start().await;
    fleet.delegates().await;
    let device = pair(&fleet.a, &[READ]);
    let more = fleet.host("a.example").device(&device).scopes(FULL);
    let refused = more.run().await;
    let command = format!(
        "scope-shim approve {} --gateway-name a",
        refused.request_id()
    );
    let (message, dir) = (refused.message(), fleet._dir.path());
    assert!(message.contains(&command), "{message}");
    let told = format!("{refused:?}");
    assert!(!told.contains(&dir.display().to_string()), "{told}");
    fleet.stop().await;
}

#[tokio::test]
async fn each_mode_is_switched_by_itself() {
    let fleet = Fleet::start().await;
    fleet.delegates().await;
    let (on_a, on_b) = (pair(&fleet.a, LEGACY), pair(&fleet.b, FULL));
    let a = fleet.host("a.example").device(&on_a).scopes(&[READ]);
    assert!(a.clone().run().await.session.is_some());
    let admin = Client::new(fleet.configs.last().unwrap());
    let off = json!({"mode": "off", "gateway": "a"});
    let now = admin.post("/mode", &off).await.unwrap();
    let modes = json!([
        {"name": "a", "mode": "off"},
        {"name": "b", "mode": "on"},
        {"name": "b2", "mode": "on"}
    ]);
    let told = now["gateways"].as_array().unwrap().iter();
    let told = told.map(|one| json!({"name": one["name"], "mode": one["mode"]}));
    assert_eq!(Value::Array(told.collect()), modes);
    assert!(a.run().await.session.is_none(), "left to the gateway");
    let b = fleet.host("b.example").device(&on_b).scopes(FULL);
    assert_eq!(b.run().await.label().await, "ok rwAap");
    let nobody = json!({"mode": "off", "gateway": "c"});
    assert!(admin.post("/mode", &nobody).await.is_err());
    fleet.stop().await;
}

/// The address that a variable gives belongs to none of them: the configuration cannot be used.
#[tokio::test]
async fn nobody_leaves_all_gateways_without_saying_so() {
    let fleet = Fleet::start().await;
    let delegates = fleet.delegates().await;
    let dir = fleet._dir.path();
    let file = dir.join("scope-shim.toml");
    let file = file.to_str().unwrap();
    let unpair = async |more: &[&str]| {
        let arguments = [&["unpair"], more].concat();
        crate::command::run(dir, "ws://127.0.0.1:9", TOKEN, &arguments).await
    };
    for more in [&["--config", file][..], &[]] {
        let refused = unpair(more).await;
        assert!(refused.starts_with("exit: 1\n"), "{refused}");
        assert!(refused.contains("--gateway-name: a, b, b2"), "{refused}");
    }
    assert_eq!(fleet.delegates().await, delegates);
    let left = unpair(&["--config", file, "--gateway-name", "a"]).await;
    assert!(left.starts_with("exit: 0\nunpaired: a\n"), "{left}");
    let keys = fleet.configs.iter();
    let keys: Vec<bool> = keys
        .map(|config| Delegate::load(&config.data).unwrap().is_some())
        .collect();
    assert_eq!(keys, [false, true, true]);
    fleet.stop().await;
}
