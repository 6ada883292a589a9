//! A reload that changes what the shim stands before: gateways, their hosts, the doors, and nothing by halves.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use scope_shim::admin::{Client, ClientError};
use scope_shim::demo::simulated::{Options, Profile, SimulatedGateway};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::certified::{Certified, connect};
use crate::command::Bench;
use crate::program::{Foundling, Program, ask, configure, fetch, free};
use crate::stage::{TOKEN, eventually};
use crate::support::client::{Connect, LEGACY, READ};
use crate::support::device::TestDevice;

/// A program before one of two gateways, as `a`.
pub struct Reshaped {
    pub bench: Bench,
    pub other: SimulatedGateway,
    program: Program,
    /// Paired with both.
    device: TestDevice,
}

impl Reshaped {
    pub async fn start(sections: &str) -> Self {
        let bench = Bench::new(Profile::Literal).await;
        let other = SimulatedGateway::start(Options {
            profile: Profile::Literal,
            state_dir: bench.dir.path().join("other"),
            trusted_proxies: vec!["127.0.0.2".into()],
            ..Options::default()
        })
        .await
        .unwrap();
        let device = bench.paired(LEGACY);
        other
            .pair(&device.id(), &device.public_key(), LEGACY, Some("linux"))
            .unwrap();
        let a = entry(
            "a",
            "hosts = [\"a.example\"]",
            bench.gateway.addr(),
            "state",
        );
        let in_dir = format!("{sections}{}", a.replace("DIR", &dir(&bench)));
        let program = Program::start(&bench, &in_dir).await;
        Self {
            bench,
            other,
            program,
            device,
        }
    }

    /// Before the first gateway.
    pub fn a(&self, more: &str) -> String {
        entry("a", more, self.bench.gateway.addr(), "state")
    }

    /// Before the other gateway.
    pub fn other(&self, name: &str, more: &str) -> String {
        entry(name, more, self.other.addr(), "other")
    }

    pub fn edit(&self, text: &str) {
        let text = text.replace("DIR", &dir(&self.bench));
        let listen = self.program.listen;
        configure(&self.bench, &format!("listen = \"{listen}\"\n{text}"));
    }

    pub fn socket(&self) -> PathBuf {
        self.bench.dir.path().join("data/admin.sock")
    }

    /// What changed, and the codes of what was found.
    pub async fn reload(&self) -> Result<Vec<String>, ClientError> {
        let told = Client::at(&self.socket())
            .post("/reload", &json!({}))
            .await?;
        let findings = told["findings"].as_array().unwrap().iter();
        let codes = findings.map(|finding| finding["code"].as_str().unwrap().to_owned());
        let changes = told["changes"].as_array().unwrap().iter();
        let each = changes.map(|change| {
            let text = change["text"].as_str().unwrap();
            format!("{text} ({})", change["holds"].as_str().unwrap())
        });
        Ok(each.chain(codes).collect())
    }

    pub fn host(&self, host: &str) -> Connect {
        self.at(self.program.listen).header("host", host)
    }

    pub fn at(&self, address: SocketAddr) -> Connect {
        Connect::to(address)
            .token(TOKEN)
            .device(&self.device)
            .scopes(&[READ])
    }

    /// Waits until a client is healed there: a gateway that is new has to become known first.
    pub async fn healed(&self, connect: &Connect) {
        crate::stage::until(connect, "healed", |outcome| outcome.session.is_some()).await;
    }

    async fn leads_nowhere(&self, host: &str) {
        let outcome = self.host(host).run().await;
        assert_eq!(outcome.http.unwrap().0, 421, "{host}");
    }

    pub async fn status(&self) -> Value {
        ask(&self.socket(), "/status").await
    }

    async fn metric(&self, series: &str) -> f64 {
        let metrics = fetch(&self.socket(), "/metrics").await;
        let line = metrics.lines().find(|line| {
            let rest = line.strip_prefix(series);
            rest.is_some_and(|rest| rest.starts_with(' '))
        });
        let line = line.unwrap_or_else(|| panic!("no {series}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }
}

fn dir(bench: &Bench) -> String {
    bench.dir.path().display().to_string()
}

pub fn entry(name: &str, more: &str, gateway: SocketAddr, state: &str) -> String {
    format!(
        "[[gateway]]\nname = \"{name}\"\n{more}\nurl = \"ws://{gateway}\"\nstate = \"DIR/{state}\"\ntoken = \"{TOKEN}\"\n"
    )
}

#[tokio::test]
async fn gateways_and_hosts_come_and_go_while_sessions_go_on() {
    let shim = Reshaped::start("").await;
    let a = shim.a("hosts = [\"a.example\"]");
    shim.healed(&shim.host("a.example")).await;
    let mut on_a = shim.host("a.example").run().await.admitted();
    shim.leads_nowhere("b.example").await;

    let own = free();
    let b = shim.other("b", "hosts = [\"b.example\"]");
    let c = shim.other("c", &format!("listen = \"{own}\""));
    shim.edit(&format!("{a}{b}{c}"));
    let changes = shim.reload().await.unwrap();
    let added = ["b", "c"].map(|name| format!("gateway: none → {name} (for-new-sessions)"));
    assert_eq!(changes, added);
    for connect in [shim.host("b.example"), shim.at(own)] {
        shim.healed(&connect).await;
    }
    let mut on_c = shim.at(own).run().await.admitted();

    let elsewhere = b.replace("b.example", "bb.example");
    shim.edit(&format!("{a}{elsewhere}"));
    let changes = shim.reload().await.unwrap();
    let hosts = "gateway.hosts: [b.example] → [bb.example] (for-new-sessions)";
    let gone = "gateway: c → none (for-new-sessions)";
    assert_eq!(changes, [hosts, gone, "delegate-left"]);
    shim.leads_nowhere("b.example").await;
    shim.host("bb.example").run().await.admitted();
    eventually("its door is closed", || {
        std::net::TcpStream::connect(own).is_err().then_some(())
    })
    .await;
    assert_eq!(on_c.letters().await, "r", "and its session goes on");
    let status = shim.status().await;
    let names = status["gateways"].as_array().unwrap().iter();
    let names: Vec<_> = names.map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["a", "b"]);
    let running = status["sessions"].as_array().unwrap().iter();
    assert!(running.clone().any(|session| session["gateway"] == "c"));

    shim.edit(&format!("{a}{elsewhere}{c}"));
    shim.reload().await.unwrap();
    shim.healed(&shim.at(own)).await;
    assert_eq!(
        (on_a.letters().await, on_c.letters().await),
        ("r".into(), "r".into())
    );
    assert!(shim.status().await["reload"]["refused"].is_null());

    // A new version is handed the doors that were opened since the start, too.
    let told = Client::at(&shim.socket())
        .post("/upgrade", &json!({}))
        .await;
    let pid = told.unwrap()["pid"].as_u64().unwrap();
    let _heir = Foundling(u32::try_from(pid).unwrap());
    shim.at(own).run().await.admitted();
    assert_eq!(on_c.letters().await, "r");
}

#[tokio::test]
async fn a_reload_of_which_one_part_cannot_be_had_changes_nothing_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let [old, new] = ["old", "new"].map(|name| Certified::new(dir.path(), name));
    let shim = Reshaped::start(&old.section()).await;
    let listen = shim.program.listen;
    let accepted = async |shown: &Certified| connect(listen, &shown.client()).await.is_ok();
    assert!(accepted(&old).await);

    // One gateway moves, one is added, and there are other certificates; but a port is taken.
    let moved_to = TcpListener::bind("127.0.0.1:0").await.unwrap();
    std::fs::create_dir(shim.bench.dir.path().join("moved")).unwrap();
    let moved = entry(
        "a",
        "hosts = [\"a.example\"]",
        moved_to.local_addr().unwrap(),
        "moved",
    );
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap();
    let free = free();
    let b = shim.other("b", &format!("listen = \"{free}\""));
    let c = shim.other("c", &format!("listen = \"{port}\""));
    shim.edit(&format!("{}{moved}{b}{c}", new.section()));
    let refused = shim.reload().await.unwrap_err().to_string();
    let why = format!("cannot listen on {port}");
    assert!(refused.contains(&why), "{refused}");

    let early = timeout(Duration::from_millis(300), moved_to.accept()).await;
    early.expect_err("nobody has gone to the other gateway");
    assert!(
        TcpStream::connect(free).await.is_err(),
        "no door is left open"
    );
    assert!(accepted(&old).await && !accepted(&new).await);
    let status = shim.status().await;
    assert_eq!(status["gateways"].as_array().unwrap().len(), 1);
    let told = &status["reload"]["refused"];
    assert!(
        told["problems"][0].as_str().unwrap().contains(&why),
        "{told}"
    );
    assert_eq!(
        shim.metric("scope_shim_reloads_total{result=\"refused\"}")
            .await,
        1.0
    );
    assert_eq!(
        shim.metric("scope_shim_config_last_reload_successful")
            .await,
        0.0
    );

    drop(taken);
    shim.reload().await.unwrap();
    timeout(Duration::from_secs(10), moved_to.accept())
        .await
        .expect("the gateway that it is before now")
        .unwrap();
    assert!(accepted(&new).await && !accepted(&old).await);
    for address in [free, port] {
        connect(address, &new.client()).await.unwrap();
    }
    assert!(shim.status().await["reload"]["refused"].is_null());
    assert_eq!(
        shim.metric("scope_shim_reloads_total{result=\"taken\"}")
            .await,
        1.0
    );
    assert_eq!(
        shim.metric("scope_shim_config_last_reload_successful")
            .await,
        1.0
    );
}

#[tokio::test]
async fn a_gateway_that_clashes_with_what_waits_for_a_restart_is_refused() {
    let shim = Reshaped::start("").await;
    let listen = shim.program.listen;
    // As read they go together: the first gateway makes room, which takes a restart.
    let a = shim.a(&format!("listen = \"{}\"\nhosts = [\"a.example\"]", free()));
    let b = shim.other(
        "b",
        &format!("listen = \"{listen}\"\nhosts = [\"a.example\"]"),
    );
    shim.edit(&format!("{a}{b}"));
    let refused = shim.reload().await.unwrap_err().to_string();
    assert!(
        refused.contains("a.example leads to the gateway a already")
            && refused.contains("this takes a restart: until then old values hold (listen: "),
        "{refused}"
    );
    shim.healed(&shim.host("a.example")).await;
    assert_eq!(shim.status().await["gateways"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn the_log_takes_another_level_and_form_at_once() {
    let shim = Reshaped::start("[log]\nlevel = \"error\"\n").await;
    let entries = format!(
        "{}{}",
        shim.a("hosts = [\"a.example\"]"),
        shim.other("b", "hosts = [\"b.example\"]")
    );
    shim.edit(&entries.replacen("[[gateway]]", "[log]\nlevel = \"info\"\n[[gateway]]", 1));
    shim.reload().await.unwrap();
    eventually("it tells what it did", || {
        let log = shim.program.log();
        log.contains("changed: gateway: none → b").then_some(())
    })
    .await;
    shim.healed(&shim.host("b.example")).await;

    let json = "[log]\nlevel = \"info\"\nformat = \"json\"\n[[gateway]]";
    shim.edit(&entries.replacen("[[gateway]]", json, 1));
    let changes = shim.reload().await.unwrap();
    assert_eq!(changes, ["log.format: text → json (now)"], "told once");
    // The spans of both gateways are older than this form.
    for host in ["a.example", "b.example"] {
        shim.host(host).run().await.admitted();
    }
    let sessions = eventually("both are told as JSON", || {
        let log = shim.program.log();
        let lines = log
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        let sessions = lines.filter(|line: &Value| line["decision"].is_string());
        let gateways: Vec<String> = sessions.map(|line| line.to_string()).collect();
        (gateways.len() >= 2).then_some(gateways)
    })
    .await;
    for name in ["a", "b"] {
        let told = format!("\"{name}\"");
        assert!(
            sessions.iter().any(|line| line.contains(&told)),
            "{name}: {sessions:?}"
        );
    }
}

#[tokio::test]
async fn how_many_clients_there_may_be_changes_while_they_are_there() {
    let shim = Reshaped::start("").await;
    let a = shim.a("hosts = [\"a.example\"]");
    let connect = shim.host("a.example");
    shim.healed(&connect).await;
    let mut first = connect.clone().run().await.admitted();
    shim.edit(&format!(
        "[limits]\nconnections = 1\nheader_timeout = \"300ms\"\n{a}"
    ));
    assert_eq!(
        shim.reload().await.unwrap(),
        [
            "limits.connections: 4096 → 1 (now)",
            "limits.header_timeout: 10s → 300ms (for-new-sessions)"
        ]
    );
    let mut second = tokio::spawn(connect.clone().run());
    timeout(Duration::from_millis(300), &mut second)
        .await
        .expect_err("there is no place for it");
    assert_eq!(first.letters().await, "r", "nobody had to leave");
    shim.edit(&format!(
        "[limits]\nconnections = 3\nheader_timeout = \"300ms\"\n{a}"
    ));
    shim.reload().await.unwrap();
    let second = second.await.unwrap().admitted();
    let mut slow = crate::wire::RawClient::connect(shim.program.listen).await;
    slow.write(b"GET / HTTP/1.1\r\nX-Slow").await;
    let rest = timeout(Duration::from_secs(5), slow.rest()).await;
    assert!(rest.is_ok(), "it is not waited for");
    drop(second);
}
