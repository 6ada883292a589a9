use std::net::SocketAddr;
use std::time::Duration;

use rustix::process::Signal;
use scope_shim::admin::Client;
use scope_shim::demo::simulated::{Options, Profile, SimulatedGateway};
use serde_json::json;
use tokio::time::timeout;

use crate::command::Bench;
use crate::modes::{before, said};
use crate::program::{Program, ask, configure, fetch, free};
use crate::reshaping::Reshaped;
use crate::stage::{TOKEN, eventually, until};
use crate::support::client::{Connect, FULL, LEGACY, PAIRING, READ, Session, WRITE};

/// The same configuration with other lines.
fn edit(bench: &Bench, listen: SocketAddr, top: &str, sections: &str) {
    let text = format!("listen = \"{listen}\"\n{top}{}{sections}", before(bench));
    configure(bench, &text);
}

#[tokio::test]
async fn what_the_operator_allows_holds_at_once_also_for_sessions_under_way() {
    let bench = Bench::new(Profile::Literal).await;
    let program = Program::start(&bench, &before(&bench)).await;
    let connect = Connect::to(program.listen)
        .token(TOKEN)
        .device(&bench.paired(LEGACY));
    let mut reading = connect.clone().scopes(&[READ]).run().await.admitted();
    let mut writing = connect.clone().scopes(&[WRITE]).run().await.admitted();
    edit(
        &bench,
        program.listen,
        "",
        "[policy]\nmax_scopes = [\"operator.read\"]\n",
    );
    insta::assert_snapshot!(said(&bench, &["reload"]).await, @r#"
    exit: 0
    changed, for all sessions:
      policy.max_scopes: every scope → [operator.read]
    "#);
    let (code, reason) = timeout(Duration::from_secs(1), writing.closed())
        .await
        .expect("closed within a second");
    assert_eq!(code, 1008, "{reason}");
    assert_eq!(reading.letters().await, "r");
    assert!(connect.scopes(&[WRITE]).run().await.session.is_none());
}

#[tokio::test]
async fn what_the_operator_allows_holds_at_once_for_clients_without_a_device_too() {
    let bench = Bench::new(Profile::Literal).await;
    let program = Program::start(&bench, &before(&bench)).await;
    let connect = Connect::to(program.listen).token(TOKEN);
    let mut reading = connect.clone().scopes(&[READ]).run().await.admitted();
    let writing = connect.clone().scopes(&[WRITE]).run().await.admitted();
    let closes = async |mut session: Session, why: &str| {
        let closed = timeout(Duration::from_secs(1), session.closed()).await;
        let (code, reason) = closed.expect("closed within a second");
        assert_eq!(code, 1008, "{reason}");
        assert!(reason.contains(why), "{reason}");
    };
    let cap = "[policy]\nmax_scopes = [\"operator.read\"]\n";
    edit(&bench, program.listen, "", cap);
    said(&bench, &["reload"]).await;
    closes(writing, "the policy no longer allows write").await;
    assert_eq!(reading.letters().await, "r");
    let off = "[policy]\ndevice_less = \"off\"\n";
    edit(&bench, program.listen, "", off);
    said(&bench, &["reload"]).await;
    closes(reading, "without a device").await;
}

#[tokio::test]
async fn a_file_that_is_empty_or_gone_takes_nothing_back() {
    let bench = Bench::new(Profile::Literal).await;
    let program = Program::start(&bench, &before(&bench)).await;
    let cap = "[policy]\nmax_scopes = [\"operator.read\"]\n";
    edit(&bench, program.listen, "", cap);
    said(&bench, &["reload"]).await;
    configure(&bench, "");
    let socket = bench.dir.path().join("data/admin.sock");
    let refused = Client::at(&socket).post("/reload", &json!({})).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("says nothing any more"), "{refused}");
    let connect = bench.reader(program.listen).scopes(&[WRITE]);
    assert!(connect.clone().run().await.session.is_none());
    std::fs::remove_file(bench.dir.path().join(".config/scope-shim/scope-shim.toml")).unwrap();
    let refused = Client::at(&socket).post("/reload", &json!({})).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("is not there any more"), "{refused}");
    assert!(connect.run().await.session.is_none());
}

#[tokio::test]
async fn a_reload_does_not_make_the_shim_its_own_gateway() {
    let bench = Bench::new(Profile::Literal).await;
    let program = Program::start(&bench, &before(&bench)).await;
    let connect = bench.reader(program.listen);
    // Where it listens takes a restart; where the gateway is does not.
    let here = format!("ws://{}", program.listen);
    let gateway = format!("ws://{}", bench.gateway.addr());
    let text = format!("listen = \"{}\"\n{}", free(), before(&bench));
    assert!(text.contains(&gateway), "{text}");
    configure(&bench, &text.replace(&gateway, &here));
    let outcome = said(&bench, &["reload"]).await;
    assert!(
        outcome.contains("where the shim itself listens"),
        "{outcome}"
    );
    assert!(outcome.contains("this takes a restart"), "{outcome}");
    connect.run().await.admitted();
}

#[tokio::test]
async fn a_bad_file_is_refused_and_the_old_one_stays() {
    let bench = Bench::new(Profile::Literal).await;
    let program = Program::start(&bench, &before(&bench)).await;
    let connect = bench.reader(program.listen);
    let sections = "[policy]\nmax_scopes = [\"read\"]\n[limits]\nidle_timout = \"5m\"\n";
    edit(&bench, program.listen, "", sections);
    let outcome = said(&bench, &["reload"]).await;
    insta::assert_snapshot!(outcome, @r#"
    exit: 78
    error: [DIR]/.config/scope-shim/scope-shim.toml:7:15: `policy.max_scopes`: expected an operator scope such as "operator.read", found "read"
      hint: did you mean "operator.read"?
    error: [DIR]/.config/scope-shim/scope-shim.toml:9:1: unknown key `limits.idle_timout`
      hint: did you mean `idle_timeout`?
    error: not reloaded: the running scope-shim goes on with what it had
    "#);
    program.signal(Signal::HUP);
    eventually("the log says so, twice", || {
        let log = program.log();
        (log.matches("the configuration was not reloaded; what held before still holds")
            .count()
            == 2
            && log.matches("unknown key `limits.idle_timout`").count() == 2)
            .then_some(())
    })
    .await;
    let socket = bench.dir.path().join("data/admin.sock");
    let refused = async || ask(&socket, "/status").await["reload"]["refused"].clone();
    let problems = refused().await["problems"].to_string();
    assert!(
        problems.contains("unknown key `limits.idle_timout`"),
        "it is seen later, too: {problems}"
    );
    connect.clone().run().await.admitted();
    edit(
        &bench,
        program.listen,
        "",
        "[policy]\ndevice_less = \"off\"\n",
    );
    program.signal(Signal::HUP);
    eventually("the good file is taken", || {
        let log = program.log();
        log.contains("changed: policy.device_less: local → off")
            .then_some(())
    })
    .await;
    assert!(refused().await.is_null());
    connect.run().await.admitted();
}

#[tokio::test]
async fn what_takes_a_restart_is_named_and_keeps_its_old_value() {
    let bench = Bench::new(Profile::Literal).await;
    let program = Program::start(&bench, &before(&bench)).await;
    let elsewhere = free();
    edit(
        &bench,
        elsewhere,
        "trusted_proxies = [\"10.0.0.1\"]\n",
        "[limits]\nconnections = 7\nidle_timeout = \"24h\"\n",
    );
    let replace = |text: String| {
        text.replace(&elsewhere.to_string(), "[NEW]")
            .replace(&program.listen.to_string(), "[OLD]")
    };
    let first = replace(said(&bench, &["reload"]).await);
    insta::assert_snapshot!(first, @r#"
    exit: 3
    changed, for all sessions:
      limits.connections: 4096 → 7
    changed, for new sessions:
      trusted_proxies: [] → [10.0.0.1]
      limits.idle_timeout: off → 24h
    needs a restart, until then the old value holds:
      listen: [OLD] → [NEW]
    "#);
    let again = replace(said(&bench, &["reload"]).await);
    insta::assert_snapshot!(again, @r#"
    exit: 3
    needs a restart, until then the old value holds:
      listen: [OLD] → [NEW]
    "#);
    let socket = bench.dir.path().join("data/admin.sock");
    let status = ask(&socket, "/status").await;
    let waiting = &status["reload"]["waiting"];
    assert_eq!(waiting["changes"][0]["key"], "listen", "{waiting}");
    let data = bench.dir.path().join("data");
    assert_eq!(
        waiting["fix"],
        format!(
            "restart scope-shim, or run: scope-shim upgrade --data {}",
            data.display()
        )
    );
    let metrics = fetch(&socket, "/metrics").await;
    for told in [
        "scope_shim_reloads_total{result=\"incomplete\"} 2\n",
        "scope_shim_config_last_reload_successful 1\n",
        "scope_shim_config_keys_awaiting_restart 1\n",
    ] {
        assert!(metrics.contains(told), "{told}");
    }
    assert!(tokio::net::TcpStream::connect(elsewhere).await.is_err());
    let connect = Connect::to(program.listen).token(TOKEN);
    let device = bench.paired(LEGACY);
    connect
        .device(&device)
        .scopes(&[READ])
        .run()
        .await
        .admitted();
}

#[tokio::test]
async fn another_gateway_is_for_new_sessions_and_those_under_way_keep_theirs() {
    let bench = Bench::new(Profile::Literal).await;
    let program = Program::start(&bench, &before(&bench)).await;
    let device = bench.paired(LEGACY);
    let connect = Connect::to(program.listen)
        .token(TOKEN)
        .device(&device)
        .scopes(&[READ]);
    let mut old = connect.clone().run().await.admitted();
    let other = SimulatedGateway::start(Options {
        profile: Profile::Literal,
        state_dir: bench.dir.path().join("other"),
        ..Options::default()
    })
    .await
    .unwrap();
    let text = before(&bench)
        .replace(&bench.gateway.addr().to_string(), &other.addr().to_string())
        .replace("/state\"", "/other\"");
    configure(&bench, &format!("listen = \"{}\"\n{text}", program.listen));
    let outcome = said(&bench, &["reload"]).await;
    assert!(
        outcome.contains("changed, for new sessions:\n  gateway.url: "),
        "{outcome}"
    );
    connect.clone().run().await.admitted();
    let paired = other.paired().unwrap();
    assert!(
        paired.get(device.id().as_str()).is_some(),
        "it came to the other gateway"
    );
    assert_eq!(old.letters().await, "r");
    // The past engine still watches over its sessions.
    let mut owner = bench
        .direct()
        .device(&bench.paired(FULL))
        .scopes(&[PAIRING])
        .run()
        .await
        .admitted();
    owner
        .call("device.pair.remove", json!({"deviceId": device.id()}))
        .await
        .unwrap();
    let closed = timeout(Duration::from_secs(1), old.closed()).await;
    assert_eq!(closed.expect("closed within a second").0, 1008);
}

#[tokio::test]
async fn a_gateway_that_was_given_another_secret_is_followed_without_being_told() {
    let bench = Bench::new(Profile::Literal).await;
    let say = |token: &str| {
        let file = bench.dir.path().join("state/openclaw.json");
        let text = json!({"gateway": {"auth": {"token": token}, "trustedProxies": ["127.0.0.2"]}});
        std::fs::write(file, text.to_string()).unwrap();
    };
    say(TOKEN);
    let address = bench.gateway.addr();
    let state = bench.dir.path().join("state");
    let config = format!("[gateway]\nurl = \"ws://{address}\"\nstate = {state:?}\n");
    let program = Program::start(&bench, &config).await;
    let device = bench.paired(LEGACY);
    let connect = Connect::to(program.listen).device(&device).scopes(&[READ]);
    connect.clone().token(TOKEN).run().await.admitted();
    let Bench { gateway, dir } = bench;
    gateway.stop().await;
    let file = dir.path().join("state/openclaw.json");
    let text = json!({"gateway": {"auth": {"token": "another"}, "trustedProxies": ["127.0.0.2"]}});
    std::fs::write(file, text.to_string()).unwrap();
    let _gateway = SimulatedGateway::start(Options {
        profile: Profile::Literal,
        state_dir: dir.path().join("state"),
        listen: address,
        token: Some("another".into()),
        ..Options::default()
    })
    .await
    .unwrap();
    eventually("the shim goes on with the new secret", || {
        let log = program.log();
        log.contains("the gateway's secret has changed; going on with the new one")
            .then_some(())
    })
    .await;
    let connect = connect.token("another");
    until(&connect, "healed again", |outcome| {
        outcome.session.is_some()
    })
    .await;
    let log = program.log();
    assert!(!log.contains("another\"") && !log.contains(TOKEN), "{log}");
}

#[tokio::test]
async fn a_reload_that_is_refused_leaves_the_data_of_a_new_gateway_as_it_was() {
    let shim = Reshaped::start("").await;
    let data = shim.bench.dir.path().join("data/of-c");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("retired"), "").unwrap();
    let files = || {
        let entries = std::fs::read_dir(&data).unwrap().flatten();
        let mut names: Vec<_> = entries.map(|entry| entry.file_name()).collect();
        names.sort();
        names
    };
    let listening_at = |address: SocketAddr| {
        let more = format!("listen = \"{address}\"\ndata = \"DIR/data/of-c\"");
        let a = shim.a("hosts = [\"a.example\"]");
        shim.edit(&format!("{a}{}", shim.other("c", &more)));
    };
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listening_at(taken.local_addr().unwrap());
    let refused = shim.reload().await.unwrap_err().to_string();
    assert!(refused.contains("listens there already"), "{refused}");
    assert_eq!(files(), ["retired"]);
    let own = free();
    listening_at(own);
    shim.reload().await.unwrap();
    shim.healed(&shim.at(own)).await;
    let files = files();
    assert!(files.contains(&"delegate.key".into()), "{files:?}");
    assert!(!files.contains(&"retired".into()), "{files:?}");
}
