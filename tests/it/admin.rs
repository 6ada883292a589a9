//! The admin surface, as commands, a browser, Prometheus and an orchestrator meet it.

/// Reading the metrics as strictly as the format is written.
mod exposition;

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use scope_shim::demo::simulated::Profile;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::time::{Duration, Instant, sleep, timeout};

use crate::stage::{Stage, TOKEN};
use crate::support::client::{ADMIN, Connect, LEGACY, READ, WRITE};
use crate::support::device::TestDevice;
use crate::wire::RawClient;

use exposition::Exposition;

/// An answer: its status, its headers, its body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> Answer {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    Answer {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        head: head.to_lowercase(),
        body: body.to_owned(),
    }
}

fn socket(stage: &Stage) -> PathBuf {
    stage.dir.path().join("data/admin.sock")
}

/// A connection to the socket, once it is there.
async fn connect(stage: &Stage) -> UnixStream {
    let path = socket(stage);
    crate::stage::eventually("there is a socket", || path.exists().then_some(())).await;
    UnixStream::connect(path).await.unwrap()
}

async fn get(stage: &Stage, path: &str) -> Answer {
    let stream = connect(stage).await;
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    ask(stream, &request).await
}

pub(crate) async fn post(stage: &Stage, path: &str, body: &Value) -> Answer {
    let stream = connect(stage).await;
    let body = body.to_string();
    let length = body.len();
    ask(
        stream,
        &format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"),
    )
    .await
}

async fn at(port: SocketAddr, method: &str, path: &str, headers: &str) -> Answer {
    let stream = TcpStream::connect(port).await.unwrap();
    let request = format!("{method} {path} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n");
    ask(stream, &request).await
}

async fn status(stage: &Stage) -> Value {
    get(stage, "/status").await.json()
}

/// Asks until the answer is as wished.
async fn until(stage: &Stage, path: &str, what: &str, wished: impl Fn(&Answer) -> bool) -> Answer {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let answer = get(stage, path).await;
        if wished(&answer) {
            return answer;
        }
        assert!(
            Instant::now() < deadline,
            "still not so: {what}: {answer:?}"
        );
        sleep(Duration::from_millis(20)).await;
    }
}

async fn free_port() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

/// A shim that heals one session, which stays, and refuses a stranger with an odd name.
async fn busy() -> (Stage, crate::support::client::Session) {
    let stage = Stage::with(Profile::Literal, |setup| {
        setup.options.trusted_proxies = vec!["127.0.0.2".into()];
    })
    .await;
    stage.delegate().await;
    let device = stage.paired(LEGACY);
    let connect = stage.through().device(&device).scopes(&[READ]);
    let outcome =
        crate::stage::until(&connect, "let in", |outcome| outcome.session.is_some()).await;
    let mut session = outcome.session.unwrap();
    assert_eq!(session.verdict("system-presence", json!({})).await, "OK");
    let stranger = stage.through().device(&TestDevice::new()).remote();
    let refused = stranger.tampered(rename).scopes(&[ADMIN]).run().await;
    assert!(refused.session.is_none());
    counted(&stage, 2).await;
    (stage, session)
}

/// A client has its answer a moment before its handshake is counted.
async fn counted(stage: &Stage, handshakes: u32) {
    let line = format!(
        "scope_shim_handshake_duration_seconds_count{{gateway=\"gateway\"}} {handshakes}\n"
    );
    let counting = async {
        while !get(stage, "/metrics").await.body.contains(&line) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), counting)
        .await
        .unwrap();
}

fn rename(params: &mut Value) {
    params["client"]["version"] = json!("<script>\u{1b}[2J\"");
}

#[tokio::test]
async fn status_tells_who_is_there_what_is_wrong_and_what_ends_it() {
    let (stage, session) = busy().await;
    let shown = status(&stage).await;
    let gateway = &shown["gateways"][0];
    assert_eq!(gateway["name"], "gateway");
    assert_eq!(gateway["mode"], "on");
    assert_eq!(gateway["listen"], stage.shim.addr.to_string());
    assert_eq!(gateway["url"], format!("ws://{}", stage.gateway.addr()));
    assert_eq!(gateway["gateway"]["state"], "up");
    assert_eq!(gateway["delegate"]["paired"], true);

    let running = &shown["sessions"][0];
    assert_eq!(shown["sessions"].as_array().unwrap().len(), 1);
    assert_eq!(running["requested"], "read");
    assert_eq!(running["decision"], "rewrite");
    assert_eq!(running["outcome"], "delegated");
    assert_eq!(running["from"], "127.0.0.1");
    assert!(running["bytes_to_gateway"].as_u64().unwrap() > 0);
    assert!(running["bytes_to_client"].as_u64().unwrap() > 0);

    let finding = &gateway["findings"][0];
    assert_eq!(finding["code"], "not-paired");
    assert_eq!(finding["count"], 1);
    let request = &gateway["requests"][0];
    assert_eq!(finding["request"], request["id"]);
    assert!(request["remote"].is_boolean());
    let file = stage.dir.path().join("scope-shim.toml");
    let command = format!(
        "scope-shim approve {} --config {}",
        request["id"].as_str().unwrap(),
        file.display()
    );
    assert_eq!(request["command"], command);

    let recent = shown["recent"].as_array().unwrap();
    let outcomes: Vec<_> = recent.iter().map(|one| &one["outcome"]).collect();
    assert_eq!(outcomes, ["refused", "delegated"]);
    assert_eq!(recent[0]["finding"], "not-paired");
    for (name, count) in [("handshakes", 2), ("repaired", 1), ("refused", 1)] {
        assert_eq!(shown["totals"][name], count, "{name}");
        let hour = shown["hour"][name].as_array().unwrap();
        let sum: u64 = hour.iter().map(|value| value.as_u64().unwrap()).sum();
        assert_eq!((hour.len(), sum), (120, count), "{name}");
    }
    assert!(!shown.to_string().contains(TOKEN));
    let schema = include_str!("../../config/status.schema.json");
    let wrong = crate::schema::violations(schema, "status", &shown);
    assert!(wrong.is_empty(), "{wrong:#?}");

    // What a session has moved stays counted when it is over, and it is no longer listed.
    let moved = running["bytes_to_client"].as_u64().unwrap();
    drop(session);
    let over = |answer: &Answer| answer.json()["sessions"] == json!([]);
    let shown = until(&stage, "/status", "the session is over", over)
        .await
        .json();
    let bytes = shown["hour"]["bytes"].as_array().unwrap();
    assert!(
        bytes
            .iter()
            .map(|value| value.as_u64().unwrap())
            .sum::<u64>()
            >= moved
    );
}

#[tokio::test]
async fn a_finding_is_over_when_its_request_is_settled() {
    let (stage, _session) = busy().await;
    let shown = status(&stage).await;
    let request = shown["gateways"][0]["requests"][0]["id"].clone();
    let mut admin = stage
        .direct()
        .device(&stage.paired(&[ADMIN]))
        .scopes(&[ADMIN])
        .run()
        .await
        .session
        .unwrap();
    let approve = json!({"requestId": request});
    admin.call("device.pair.approve", approve).await.unwrap();
    let settled = |answer: &Answer| {
        let gateway = &answer.json()["gateways"][0];
        gateway["requests"] == json!([]) && gateway["findings"] == json!([])
    };
    until(&stage, "/status", "nothing is wrong any more", settled).await;
}

#[tokio::test]
async fn a_client_that_goes_on_asking_takes_one_line() {
    let stage = Stage::new(Profile::Literal).await;
    stage.delegate().await;
    let device = stage.paired(&[READ]);
    for _ in 0..8 {
        let connect = stage.through().device(&device).scopes(&[WRITE]).remote();
        assert!(connect.run().await.session.is_none());
    }
    let shown = status(&stage).await;
    let recent = shown["recent"].as_array().unwrap();
    assert!(recent.len() <= 2, "{recent:#?}");
    let times: u64 = recent
        .iter()
        .map(|one| one["times"].as_u64().unwrap())
        .sum();
    let asked_back = 8 - times;
    assert!(asked_back <= 2, "{recent:#?}");
    assert_eq!(shown["totals"]["handshakes"], 8);
}

#[tokio::test]
async fn the_metrics_are_as_prometheus_wants_them_and_no_client_adds_to_their_names() {
    let (stage, _session) = busy().await;
    let answer = get(&stage, "/metrics").await;
    assert_eq!(answer.status, 200);
    assert!(
        answer
            .head
            .contains("content-type: text/plain; version=0.0.4; charset=utf-8"),
        "{}",
        answer.head
    );
    let before = Exposition::read(&answer.body);
    for (series, value) in [
        (
            "scope_shim_handshakes_total{gateway=\"gateway\",outcome=\"delegated\"}",
            1.0,
        ),
        (
            "scope_shim_handshakes_total{gateway=\"gateway\",outcome=\"refused\"}",
            1.0,
        ),
        (
            "scope_shim_decisions_total{decision=\"rewrite\",gateway=\"gateway\"}",
            1.0,
        ),
        (
            "scope_shim_findings_total{code=\"not-paired\",gateway=\"gateway\"}",
            1.0,
        ),
        (
            "scope_shim_handshake_duration_seconds_count{gateway=\"gateway\"}",
            2.0,
        ),
        (
            "scope_shim_gateway_link{gateway=\"gateway\",state=\"up\"}",
            1.0,
        ),
        (
            "scope_shim_gateway_link{gateway=\"gateway\",state=\"down\"}",
            0.0,
        ),
        ("scope_shim_mode{gateway=\"gateway\",mode=\"on\"}", 1.0),
        ("scope_shim_delegate_paired{gateway=\"gateway\"}", 1.0),
        ("scope_shim_store_readable{gateway=\"gateway\"}", 1.0),
        ("scope_shim_pending_requests{gateway=\"gateway\"}", 1.0),
        ("scope_shim_sessions{gateway=\"gateway\"}", 1.0),
        ("scope_shim_client_connections", 1.0),
        ("scope_shim_ready{gateway=\"gateway\"}", 1.0),
        ("scope_shim_draining", 0.0),
    ] {
        assert_eq!(before.value(series), Some(value), "{series}");
    }
    let lookups = |result| {
        let series = format!("scope_shim_lookups_total{{gateway=\"gateway\",result=\"{result}\"}}");
        before.value(&series).unwrap()
    };
    assert!(lookups("miss") >= 1.0 && lookups("error") == 0.0);

    for id in ["cli", "test", "fingerprint"] {
        let connect = stage
            .through()
            .device(&TestDevice::new())
            .client(id, "test");
        connect.remote().tampered(rename).run().await;
    }
    let after = Exposition::read(&get(&stage, "/metrics").await.body);
    assert_eq!(after.series(), before.series());
    checked_by_promtool(&answer.body);
}

/// What Prometheus' own tool says, where it is installed.
fn checked_by_promtool(metrics: &str) {
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = promtool else {
        return;
    };
    let mut input = promtool.stdin.take().unwrap();
    std::io::Write::write_all(&mut input, metrics.as_bytes()).unwrap();
    drop(input);
    let output = promtool.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(
        output.stderr.is_empty() && output.stdout.is_empty(),
        "{output:?}"
    );
}

#[tokio::test]
async fn every_metric_that_an_alert_or_a_panel_asks_for_exists() {
    let (stage, _session) = busy().await;
    let known = Exposition::read(&get(&stage, "/metrics").await.body);
    let rules = include_str!("../../deploy/prometheus/scope-shim.rules.yml");
    let tests = include_str!("../../deploy/prometheus/scope-shim.rules.test.yml");
    let dashboard = include_str!("../../deploy/grafana/scope-shim.json");
    for (file, text) in [("rules", rules), ("tests", tests), ("dashboard", dashboard)] {
        let named: Vec<&str> = text
            .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .filter(|word| word.starts_with("scope_shim_"))
            .collect();
        assert!(named.len() > 5, "{file}");
        for name in named {
            assert!(known.has(name), "{file} asks for {name}");
        }
    }
    let dashboard: Value = serde_json::from_str(dashboard).unwrap();
    assert_eq!(dashboard["templating"]["list"][0]["type"], "datasource");
}

#[tokio::test]
async fn ready_is_a_shim_whose_gateway_answers_and_one_that_is_off_as_long_as_it_listens() {
    let stage = Stage::new(Profile::Literal).await;
    let ready = get(&stage, "/ready").await;
    assert_eq!((ready.status, &ready.json()["ready"]), (200, &json!(true)));
    stage.gateway.stop().await;
    let down = until(&stage, "/ready", "not ready", |answer| answer.status == 503).await;
    let why = down.json()["gateways"][0]["why"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(why.contains("does not answer"), "{why}");
    let gone = until(&stage, "/status", "down", |answer| {
        answer.json()["gateways"][0]["gateway"]["state"] == "down"
    });
    assert_eq!(
        gone.await.json()["gateways"][0]["findings"][0]["code"],
        "gateway-down"
    );
    assert_eq!(get(&stage, "/live").await.status, 200);
    assert_eq!(
        post(&stage, "/mode", &json!({"mode": "off"})).await.status,
        200
    );
    assert_eq!(get(&stage, "/ready").await.status, 200);
    post(&stage, "/mode", &json!({"mode": "on"})).await;
    stage.gateway.restart().await.unwrap();
    until(&stage, "/ready", "ready again", |answer| {
        answer.status == 200
    })
    .await;
}

#[tokio::test]
async fn the_socket_is_for_its_owner_alone_and_goes_with_the_shim() {
    let stage = Stage::new(Profile::Literal).await;
    let path = socket(&stage);
    get(&stage, "/live").await;
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    stage.shim.stop().await;
    assert!(!path.exists());
}

#[tokio::test]
async fn a_shim_that_drains_can_be_watched_and_is_not_ready() {
    let (stage, session) = busy().await;
    let path = socket(&stage);
    let Stage { gateway, shim, dir } = stage;
    let addr = shim.addr;
    let stopped = tokio::spawn(shim.stop());
    let request =
        |what: &str| format!("GET {what} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let stream = UnixStream::connect(&path).await.unwrap();
        let answer = ask(stream, &request("/status")).await.json();
        if answer["draining"] == true {
            assert_eq!(answer["sessions"].as_array().unwrap().len(), 1);
            break;
        }
        assert!(Instant::now() < deadline);
    }
    assert!(TcpStream::connect(addr).await.is_err());
    let stream = UnixStream::connect(&path).await.unwrap();
    let ready = ask(stream, &request("/ready")).await;
    assert_eq!(
        (ready.status, &ready.json()["draining"]),
        (503, &json!(true))
    );
    drop(session);
    stopped.await.unwrap();
    assert!(UnixStream::connect(&path).await.is_err());
    drop((gateway, dir));
}

#[tokio::test]
async fn the_port_wants_the_token_and_the_probes_get_nothing_but_probes() {
    let (port, probes) = (free_port().await, free_port().await);
    let stage = Stage::with(Profile::Literal, |setup| {
        setup.config =
            format!("[admin]\nlisten = \"{port}\"\nprobes = \"{probes}\"\nsocket = \"off\"\n");
    })
    .await;
    let file = stage.dir.path().join("data/admin.token");
    let token = crate::stage::eventually("the shim serves", || {
        std::net::TcpStream::connect(probes).ok()?;
        std::fs::read_to_string(&file).ok()
    })
    .await;
    assert!(!socket(&stage).exists());
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let host = format!("Host: localhost:{}\r\n", port.port());
    let bearer = format!("{host}Authorization: Bearer {token}\r\n");
    for path in ["/status", "/metrics", "/mode"] {
        let refused = at(port, "GET", path, &host).await;
        assert_eq!(refused.status, 401, "{path}");
        assert!(!refused.body.contains(&token));
        assert_eq!(at(port, "GET", path, &bearer).await.status, 200, "{path}");
    }
    assert_eq!(at(port, "GET", "/live", &host).await.status, 200);
    for (headers, details) in [(&host, false), (&bearer, true)] {
        let ready = at(port, "GET", "/ready", headers).await;
        assert_eq!(ready.status, 200);
        assert_eq!(ready.json().get("gateways").is_some(), details, "{ready:?}");
    }
    let metrics = std::fs::read_to_string(file.with_file_name("metrics.token")).unwrap();
    let scraper = bearer.replace(&token, &metrics);
    assert_eq!(at(port, "GET", "/metrics", &scraper).await.status, 200);
    for (method, path) in [("GET", "/status"), ("GET", "/mode"), ("POST", "/reload")] {
        assert_eq!(at(port, method, path, &scraper).await.status, 403, "{path}");
    }
    let twin = SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, port.port()));
    if let Ok(stream) = TcpStream::connect(twin).await {
        let literal = bearer.replace("localhost", "[::1]");
        let request = format!("GET /status HTTP/1.1\r\n{literal}Connection: close\r\n\r\n");
        assert_eq!(ask(stream, &request).await.status, 200);
    } else {
        assert!(
            TcpListener::bind(twin).await.is_err(),
            "it is the shim's where there is one"
        );
    }
    let rebound = bearer.replace("localhost", "rebound.example");
    assert_eq!(at(port, "GET", "/status", &rebound).await.status, 403);
    let foreign = format!("{bearer}Origin: http://elsewhere.example\r\n");
    assert_eq!(at(port, "GET", "/status", &foreign).await.status, 403);

    let anyone = "Host: 10.1.2.3:18782\r\n";
    assert_eq!(
        at(probes, "GET", "/live", anyone).await.body,
        r#"{"live":true}"#
    );
    assert_eq!(
        at(probes, "GET", "/ready", anyone).await.body,
        r#"{"ready":true}"#
    );
    for path in ["/", "/status", "/metrics", "/mode"] {
        assert_eq!(at(probes, "GET", path, &bearer).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn probes_that_hang_leave_their_places_to_others() {
    let probes = free_port().await;
    let stage = Stage::with(Profile::Literal, |setup| {
        setup.config = format!("[admin]\nprobes = \"{probes}\"\n");
    })
    .await;
    crate::stage::eventually("the shim serves", || {
        std::net::TcpStream::connect(probes).ok()
    })
    .await;
    // More than there are places for; each has asked, or begun to.
    let mut hanging = Vec::new();
    for _ in 0..80 {
        let mut stream = TcpStream::connect(probes).await.unwrap();
        stream.write_all(b"GET /live HTTP/1.1\r\n").await.unwrap();
        hanging.push(stream);
    }
    let host = "Host: 10.1.2.3:18782\r\n";
    let answer = tokio::time::timeout(Duration::from_secs(8), at(probes, "GET", "/live", host));
    assert_eq!(answer.await.expect("its turn comes").status, 200);
    drop((stage, hanging));
}

#[tokio::test]
async fn one_probe_is_one_connection() {
    let probes = free_port().await;
    let stage = Stage::with(Profile::Literal, |setup| {
        setup.config = format!("[admin]\nprobes = \"{probes}\"\n");
    })
    .await;
    let mut stream = crate::stage::eventually("the shim serves", || {
        std::net::TcpStream::connect(probes).ok()
    })
    .await;
    use std::io::{Read as _, Write as _};
    stream
        .write_all(b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    tokio::task::spawn_blocking(move || {
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.ends_with(r#"{"live":true}"#), "{answer}");
    })
    .await
    .unwrap();
    drop(stage);
}

#[tokio::test]
async fn a_request_that_is_too_large_or_makes_no_sense_is_refused() {
    let stage = Stage::new(Profile::Literal).await;
    let large =
        "POST /mode HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\nConnection: close\r\n\r\n";
    assert_eq!(ask(connect(&stage).await, large).await.status, 400);
    assert_eq!(
        post(&stage, "/mode", &json!({"mode": "maybe"}))
            .await
            .status,
        400
    );
    assert_eq!(get(&stage, "/nothing").await.status, 404);
    let mut endless = connect(&stage).await;
    let head = format!("GET /live HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(20_000));
    // It may be cut off before it has said everything, and before it has read why.
    let _ = endless.write_all(head.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = endless.read_to_end(&mut answer).await;
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 431 "));
    assert_eq!(get(&stage, "/live").await.status, 200);
}

#[tokio::test]
async fn plain_requests_connections_and_failures_to_connect_are_counted() {
    let stage = Stage::new(Profile::Literal).await;
    stage.delegate().await;
    let host = "Host: localhost\r\n";
    assert_eq!(
        at(stage.shim.addr, "GET", "/healthz", host).await.status,
        200
    );
    stage.gateway.stop().await;
    assert_eq!(
        at(stage.shim.addr, "GET", "/healthz", host).await.status,
        502
    );
    let metrics = Exposition::read(&get(&stage, "/metrics").await.body);
    let value = |series: &str| metrics.value(series).unwrap();
    assert_eq!(
        value("scope_shim_http_requests_total{gateway=\"gateway\",status=\"2xx\"}"),
        1.0
    );
    assert_eq!(
        value("scope_shim_http_requests_total{gateway=\"gateway\",status=\"5xx\"}"),
        1.0
    );
    assert!(value("scope_shim_client_connections_total") >= 2.0);
    assert!(value("scope_shim_dial_errors_total{gateway=\"gateway\"}") >= 1.0);
    let approved = "scope_shim_approvals_total{gateway=\"gateway\",rule=\"entitled-repair\"}";
    assert_eq!(value(approved), 0.0);
}

#[tokio::test]
async fn who_speaks_something_else_is_counted() {
    let stage = Stage::new(Profile::Literal).await;
    let mut client = RawClient::connect(stage.shim.addr).await;
    // A TLS handshake begins.
    client.write(&[22, 3, 1]).await;
    client.rest().await;
    // It is counted when it is gone.
    let metrics = timeout(Duration::from_secs(20), async {
        loop {
            let metrics = Exposition::read(&get(&stage, "/metrics").await.body);
            let turned_away = "scope_shim_client_connections_turned_away_total";
            if metrics.value(&format!("{turned_away}{{reason=\"tls_on_plain\"}}")) != Some(0.0) {
                return metrics;
            }
        }
    });
    let metrics = metrics.await.unwrap();
    for (reason, count) in [
        ("tls_on_plain", 1.0),
        ("plain_on_tls", 0.0),
        ("certificate_refused", 0.0),
    ] {
        let series =
            format!("scope_shim_client_connections_turned_away_total{{reason=\"{reason}\"}}");
        assert_eq!(metrics.value(&series), Some(count), "{series}");
    }
}

#[tokio::test]
async fn what_is_relayed_without_a_look_is_listed_too() {
    let stage = Stage::with(Profile::Literal, |setup| {
        setup.config = "mode = \"off\"\n".into()
    })
    .await;
    let device = stage.paired(LEGACY);
    let connect: Connect = stage.through().device(&device).scopes(LEGACY);
    let session = connect.run().await.session.unwrap();
    let shown = status(&stage).await;
    let running = &shown["sessions"][0];
    assert_eq!(running["from"], "127.0.0.1");
    assert_eq!(running["session"], Value::Null);
    assert_eq!(shown["totals"]["sessions"], 1);
    drop(session);
}
