//! `unpair`: nothing of the shim stays on the gateway, and it does not come back by itself.

use scope_shim::admin::Client;
use scope_shim::config::{Config, Environment};
use scope_shim::delegate::Delegate;
use scope_shim::demo::simulated::{Profile, SimulatedGateway};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{UnixListener, UnixStream};
use tokio::time::{Duration, timeout};

use crate::command::Bench;
use crate::modes::{before, said};
use crate::program::{Foundling, Program, configure, free};
use crate::reshaping::Reshaped;
use crate::stage::{Shim, Stage, TOKEN, eventually};
use crate::succession::{installed, serving};
use crate::support::client::{Connect, FULL, LEGACY, READ, Session};

const ALL_PROFILES: [Profile; 4] = [
    Profile::Literal,
    Profile::Clearing,
    Profile::Pending,
    Profile::Latest,
];

/// The admin surface of the shim of a stage, as commands reach it.
fn admin(stage: &Stage) -> Client {
    let file = stage.dir.path().join("scope-shim.toml");
    let environment = Environment::from_iter([("HOME", stage.dir.path().to_str().unwrap())]);
    Client::new(&Config::load(Some(&file), &[], &environment).unwrap())
}

async fn unpair(stage: &Stage) -> Value {
    let answer = admin(stage).post("/unpair", &json!({})).await.unwrap();
    answer["gateways"][0].clone()
}

/// Has the delegate paired by a command, so that nothing goes on in the background.
async fn pair(bench: &Bench) {
    let said = bench.run(&["approve", "--all-local"]).await;
    assert!(said.starts_with("exit: 0\n"), "{said}");
}

fn is_a_delegate(name: &Value) -> bool {
    name.as_str()
        .is_some_and(|name| name.starts_with("scope-shim "))
}

fn shims_on(stage: &Stage) -> usize {
    delegates_on(&stage.gateway)
}

fn delegates_on(gateway: &SimulatedGateway) -> usize {
    let paired = gateway.paired().unwrap();
    let records = paired.as_object().unwrap().values();
    records
        .filter(|record| is_a_delegate(&record["displayName"]))
        .count()
}

fn key(stage: &Stage) -> bool {
    stage.dir.path().join("data/delegate.key").exists()
}

#[tokio::test]
async fn a_running_shim_leaves_nothing_on_the_gateway_and_lets_all_pass() {
    for profile in ALL_PROFILES {
        let stage = Stage::new(profile).await;
        let delegate = stage.delegate().await["deviceId"].clone();
        let answer = unpair(&stage).await;
        assert_eq!(
            answer["removal"]["removed"],
            json!([delegate]),
            "{profile:?}"
        );
        assert_eq!(answer["removal"]["left"], json!([]), "{profile:?}");
        assert!(!key(&stage), "{profile:?}: its key is gone, too");
        let device = stage.paired(FULL);
        let passed = stage.through().device(&device).scopes(FULL).run().await;
        assert!(passed.session.is_some(), "{profile:?}: {passed:?}");
        assert_eq!(shims_on(&stage), 0, "{profile:?}");
        assert!(stage.pending().is_empty(), "{profile:?}");
    }
}

#[tokio::test]
async fn sessions_in_its_name_end_with_a_reason_and_the_next_is_the_gateways() {
    let stage = Stage::new(Profile::Literal).await;
    stage.delegate().await;
    let device = stage.paired(LEGACY);
    let asking = stage.through().device(&device).scopes(&[READ]);
    let mut session = asking.clone().run().await.admitted();
    let answer = unpair(&stage).await;
    assert_eq!(answer["sessionsEnded"], 1);
    let (code, reason) = timeout(Duration::from_secs(5), session.closed())
        .await
        .unwrap();
    assert_eq!(
        (code, reason.as_str()),
        (1008, "scope-shim: unpaired from the gateway; connect again")
    );
    assert!(
        asking.run().await.session.is_none(),
        "the gateway refuses it as ever"
    );
    assert_eq!(shims_on(&stage), 0);
}

#[tokio::test]
async fn what_passed_through_is_not_disturbed() {
    let stage = Stage::new(Profile::Literal).await;
    stage.delegate().await;
    let device = stage.paired(FULL);
    let passing = stage.through().device(&device).scopes(FULL);
    let mut session = passing.run().await.admitted();
    assert_eq!(unpair(&stage).await["sessionsEnded"], 0);
    session.call("health", json!({})).await.unwrap();
}

#[tokio::test]
async fn it_stays_away_until_it_is_switched_on_and_then_pairs_as_another_device() {
    let stage = Stage::new(Profile::Literal).await;
    let before = stage.delegate().await["deviceId"].clone();
    unpair(&stage).await;
    // The gateway comes back, which is when a control connection is opened.
    stage.gateway.restart().await.unwrap();
    let again = unpair(&stage).await;
    assert_eq!(
        again["removal"]["removed"],
        json!([]),
        "there is nothing left"
    );
    assert_eq!(shims_on(&stage), 0);
    let switched = admin(&stage).post("/mode", &json!({"mode": "on"})).await;
    assert_eq!(switched.unwrap()["gateways"][0]["mode"], "on");
    let after = eventually("paired again", || {
        key(&stage).then(|| stage.find_delegate()).flatten()
    })
    .await;
    assert_ne!(after["deviceId"], before);
    assert_eq!(shims_on(&stage), 1);
}

/// The gateway as the shim tells of it, once it is in this state.
async fn in_state(admin: &Client, state: &str) -> Value {
    let told = async {
        loop {
            let status = admin.get("/status").await.unwrap();
            if status["gateways"][0]["gateway"]["state"] == state {
                return status;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(20), told).await.unwrap()
}

#[tokio::test]
async fn afterwards_its_gateway_is_unpaired_and_not_down() {
    for profile in ALL_PROFILES {
        let stage = Stage::new(profile).await;
        stage.delegate().await;
        unpair(&stage).await;
        let admin = admin(&stage);
        let status = in_state(&admin, "unpaired").await;
        let gateway = &status["gateways"][0];
        assert_eq!(gateway["findings"], json!([]), "{profile:?}");
        assert_eq!(gateway["delegate"]["paired"], false, "{profile:?}");
        let command = gateway["gateway"]["command"].as_str().unwrap();
        assert!(command.starts_with("scope-shim mode on"), "{command}");
        assert_eq!(status["ready"], true, "it lets everything pass");
        admin.post("/mode", &json!({"mode": "on"})).await.unwrap();
        let status = in_state(&admin, "up").await;
        assert_eq!(status["gateways"][0]["gateway"]["command"], Value::Null);
    }
}

#[tokio::test]
async fn the_commands_say_so_too() {
    let bench = Bench::new(Profile::Latest).await;
    let _program = Program::start(&bench, &before(&bench)).await;
    let paired = || bench.gateway.paired().unwrap().as_object().unwrap().len();
    eventually("paired", || (paired() == 1).then_some(())).await;
    assert!(
        said(&bench, &["unpair"])
            .await
            .starts_with("exit: 0\nunpaired: ")
    );
    let status = said(&bench, &["status"]).await;
    assert!(status.starts_with("exit: 0\n"), "{status}");
    assert!(status.contains("gateway   unpaired  ws://"), "{status}");
    assert!(status.contains("run: scope-shim mode on"), "{status}");
    let doctor = said(&bench, &["doctor"]).await;
    assert!(doctor.contains("the gateway is unpaired"), "{doctor}");
    assert!(!doctor.contains("gateway-down"), "{doctor}");
}

#[tokio::test]
async fn it_stays_away_over_a_restart_and_comes_back_when_it_is_switched_on() {
    let stage = Stage::new(Profile::Latest).await;
    stage.delegate().await;
    unpair(&stage).await;
    let Stage { gateway, shim, dir } = stage;
    shim.stop().await;
    let shim = Shim::start(gateway.addr(), &dir, "").await;
    let stage = Stage { gateway, shim, dir };
    let admin = admin(&stage);
    let mode = until_it_answers(&admin).await;
    assert_eq!(mode["gateways"][0]["mode"], "off");
    assert!(!key(&stage), "no device, no key");
    admin.post("/mode", &json!({"mode": "on"})).await.unwrap();
    eventually("paired again", || {
        (key(&stage) && shims_on(&stage) == 1).then_some(())
    })
    .await;
}

async fn until_it_answers(admin: &Client) -> Value {
    timeout(Duration::from_secs(20), async {
        loop {
            if let Ok(mode) = admin.get("/mode").await {
                return mode;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn a_gateway_that_is_down_is_left_later() {
    let stage = Stage::new(Profile::Latest).await;
    stage.delegate().await;
    stage.gateway.stop().await;
    let answer = unpair(&stage).await;
    let why = answer["failed"].as_str().unwrap();
    assert!(why.contains("does not answer"), "{why}");
    assert!(key(&stage), "the key is what the removal needs");
    stage.gateway.restart().await.unwrap();
    assert_eq!(shims_on(&stage), 1);
    let answer = unpair(&stage).await;
    assert_eq!(answer["removal"]["removed"].as_array().unwrap().len(), 1);
    assert_eq!(shims_on(&stage), 0);
}

#[tokio::test]
async fn without_a_shim_that_runs_the_command_does_it_alone_and_twice_is_no_mistake() {
    for profile in ALL_PROFILES {
        let bench = Bench::new(profile).await;
        pair(&bench).await;
        let said = bench.run(&["unpair"]).await;
        assert!(
            said.starts_with("exit: 0\nunpaired: "),
            "{profile:?}: {said}"
        );
        assert_eq!(bench.gateway.paired().unwrap(), json!({}), "{profile:?}");
        assert!(bench.pending().is_empty(), "{profile:?}");
        let said = bench.run(&["unpair"]).await;
        assert!(said.starts_with("exit: 0\nnothing to remove: "), "{said}");
        assert_eq!(bench.gateway.paired().unwrap(), json!({}), "{profile:?}");
    }
}

#[tokio::test]
async fn unpaired_without_a_shim_that_runs_it_stays_so_until_it_is_switched_on() {
    let bench = Bench::new(Profile::Latest).await;
    pair(&bench).await;
    bench.run(&["unpair"]).await;
    let mode = bench.run(&["mode"]).await;
    assert!(mode.contains("the next start begins in off"), "{mode}");
    for command in [&["approve", "--all-local"][..], &["repair", "--apply"]] {
        let refused = bench.run(command).await;
        assert!(refused.starts_with("exit: 1\n"), "{refused}");
        assert!(refused.contains("run: scope-shim mode on"), "{refused}");
    }
    assert_eq!(bench.gateway.paired().unwrap(), json!({}));
    assert!(!bench.dir.path().join("data/delegate.key").exists());
    bench.run(&["mode", "on"]).await;
    pair(&bench).await;
}

#[tokio::test]
async fn a_mode_that_the_next_start_would_not_keep_is_left_to_do() {
    let stage = Stage::new(Profile::Latest).await;
    stage.delegate().await;
    let in_the_way = stage.dir.path().join("data/mode.json");
    std::fs::create_dir_all(in_the_way.join("full")).unwrap();
    let answer = unpair(&stage).await;
    let left = answer["removal"]["left"].to_string();
    assert!(left.contains("scope-shim mode off"), "{answer}");
    std::fs::remove_dir_all(&in_the_way).unwrap();
    assert_eq!(unpair(&stage).await["removal"]["left"], json!([]));
}

#[tokio::test]
async fn former_devices_go_with_it() {
    let bench = Bench::new(Profile::Literal).await;
    let data = bench.dir.path().join("data");
    pair(&bench).await;
    Delegate::load_or_create(&data).unwrap().renew().unwrap();
    pair(&bench).await;
    let paired = || bench.gateway.paired().unwrap().as_object().unwrap().len();
    assert_eq!(paired(), 2);
    let said = bench.run(&["unpair", "--yes"]).await;
    assert!(said.starts_with("exit: 0\nunpaired: "), "{said}");
    assert_eq!(paired(), 0);
    let keys = std::fs::read_dir(&data).unwrap().flatten();
    let mut keys = keys.map(|entry| entry.file_name().into_string().unwrap());
    assert!(!keys.any(|name| name.starts_with("delegate.")));
}

/// On a gateway that trusts 127.0.0.1 as a proxy nobody on it is local, and no backend is let in.
#[tokio::test]
async fn a_request_that_only_others_can_reject_is_named_with_its_command() {
    let bench = Bench::with(Profile::Literal, |options| {
        options.trusted_proxies = vec!["127.0.0.1".into()];
    })
    .await;
    let said = bench.run(&["approve", "--all-local"]).await;
    assert!(said.starts_with("exit: 1\n"), "{said}");
    let said = bench.run(&["unpair"]).await;
    assert!(said.starts_with("exit: 1\nnot quite unpaired: "), "{said}");
    let waiting = bench.pending();
    assert_eq!(waiting.len(), 1, "it adds none of its own");
    let command = format!("openclaw devices reject {}", waiting[0]);
    assert!(said.contains(&command), "{said}");
    assert!(bench.dir.path().join("data/delegate.key").exists());
}

#[tokio::test]
async fn what_is_left_is_told_in_order() {
    let bench = Bench::new(Profile::Latest).await;
    pair(&bench).await;
    let said = bench.shown(&["unpair"]).await;
    insta::assert_snapshot!(said);
}

#[tokio::test]
async fn a_gateway_of_another_name_is_not_touched() {
    let stage = Stage::new(Profile::Latest).await;
    stage.delegate().await;
    let body = json!({"gateway": "elsewhere"});
    let refused = admin(&stage).post("/unpair", &body).await.unwrap_err();
    assert!(
        refused.to_string().contains("none of that name"),
        "{refused}"
    );
    assert_eq!(shims_on(&stage), 1);
}

#[tokio::test]
async fn it_is_finished_when_the_one_who_asked_for_it_hangs_up() {
    let stage = Stage::new(Profile::Latest).await;
    stage.delegate().await;
    let socket = stage.dir.path().join("data/admin.sock");
    let mut stream = UnixStream::connect(socket).await.unwrap();
    let request = "POST /unpair HTTP/1.1\r\nHost: shim\r\nContent-Length: 2\r\n\r\n{}";
    stream.write_all(request.as_bytes()).await.unwrap();
    drop(stream);
    eventually("its key is deleted", || (!key(&stage)).then_some(())).await;
    assert_eq!(shims_on(&stage), 0);
}

#[tokio::test]
async fn a_delegate_that_could_not_be_removed_stays_out_of_use_over_a_restart() {
    let stage = Stage::new(Profile::Latest).await;
    stage.delegate().await;
    stage.gateway.stop().await;
    assert!(unpair(&stage).await["failed"].is_string());
    let Stage { gateway, shim, dir } = stage;
    shim.stop().await;
    gateway.restart().await.unwrap();
    let shim = Shim::start(gateway.addr(), &dir, "").await;
    let stage = Stage { gateway, shim, dir };
    let admin = admin(&stage);
    until_it_answers(&admin).await;
    let status = admin.get("/status").await.unwrap();
    let why = status.pointer("/gateways/0/gateway/why").unwrap();
    assert!(why.as_str().unwrap().contains("out of use"), "{status}");
    admin.post("/mode", &json!({"mode": "on"})).await.unwrap();
    stage.delegate().await;
    let standing = || stage.gateway.connects().len();
    assert!(standing() > 0, "it is back in use");
}

/// A program with a session in the delegate's name and one that passed through.
async fn with_sessions(bench: &Bench, program: &Program) -> (Session, Session) {
    let connect = Connect::to(program.listen)
        .token(TOKEN)
        .device(&bench.paired(LEGACY));
    let delegated = connect.clone().scopes(&[READ]).run().await.admitted();
    let untouched = connect.scopes(LEGACY).run().await.admitted();
    (delegated, untouched)
}

/// Nobody who has the delegate's key uses it any more: so many have said so.
async fn all_have_put_it_away(program: &Program, number: usize) {
    eventually("all have put it away", || {
        let log = program.log();
        let away = log.matches("the delegate is out of use").count();
        (away == number).then_some(())
    })
    .await;
}

/// Unpaired by a command: the session in the delegate's name ends, and so many who had its key leave it alone.
async fn leave_it_alone(bench: &Bench, program: &Program, delegated: &mut Session, number: usize) {
    let outcome = said(bench, &["unpair"]).await;
    assert!(outcome.starts_with("exit: 0\nunpaired: "), "{outcome}");
    assert!(outcome.contains("1 ended"), "{outcome}");
    assert_eq!(delegated.closed().await.0, 1008);
    all_have_put_it_away(program, number).await;
    assert_eq!(delegates_on(&bench.gateway), 0);
}

#[tokio::test]
async fn what_a_reload_replaced_does_not_pair_it_again() {
    let bench = Bench::new(Profile::Literal).await;
    let program = Program::start(&bench, &before(&bench)).await;
    let (mut delegated, mut untouched) = with_sessions(&bench, &program).await;
    let listen = program.listen;
    let config = format!(
        "listen = \"{listen}\"\n{}[cache]\nttl = \"7s\"\n",
        before(&bench)
    );
    configure(&bench, &config);
    let reloaded = said(&bench, &["reload"]).await;
    assert!(reloaded.contains("for new sessions"), "{reloaded}");
    leave_it_alone(&bench, &program, &mut delegated, 2).await;
    assert_eq!(untouched.letters().await, "rwAap");
}

#[tokio::test]
async fn the_process_before_an_upgrade_does_not_pair_it_again() {
    let bench = Bench::new(Profile::Literal).await;
    let (_path, program) = installed(&bench).await;
    let (mut delegated, mut untouched) = with_sessions(&bench, &program).await;
    said(&bench, &["upgrade"]).await;
    let _ended_later = Foundling(u32::try_from(serving(&bench).await).unwrap());
    leave_it_alone(&bench, &program, &mut delegated, 2).await;
    assert_eq!(untouched.letters().await, "rwAap");
}

#[tokio::test]
async fn a_gateway_that_a_reload_took_away_is_left_too_and_stays_off_when_it_comes_back() {
    for named in [None, Some("c")] {
        let shim = Reshaped::start("").await;
        let (a, own) = (shim.a("hosts = [\"a.example\"]"), free());
        let both = format!("{a}{}", shim.other("c", &format!("listen = \"{own}\"")));
        shim.healed(&shim.host("a.example")).await;
        shim.edit(&both);
        shim.reload().await.unwrap();
        shim.healed(&shim.at(own)).await;
        let mut on_c = shim.at(own).run().await.admitted();
        shim.edit(&a);
        shim.reload().await.unwrap();

        let admin = Client::at(&shim.socket());
        let answer = admin.post("/unpair", &json!({"gateway": named})).await;
        let answer = answer.unwrap();
        let c = answer["gateways"].as_array().unwrap().last().unwrap();
        assert_eq!((&c["name"], &c["sessionsEnded"]), (&json!("c"), &json!(1)));
        let removed = c["removal"]["removed"].as_array().unwrap();
        assert_eq!(removed.len(), 1, "{answer}");
        assert_eq!(on_c.closed().await.0, 1008);
        let beside_the_client = |gateway: &SimulatedGateway| {
            let paired = gateway.paired().unwrap();
            paired.as_object().unwrap().len() - 1
        };
        assert_eq!(beside_the_client(&shim.other), 0);
        let on_a = beside_the_client(&shim.bench.gateway);
        assert_eq!(on_a, usize::from(named.is_some()), "{named:?}");

        shim.edit(&both);
        shim.reload().await.unwrap();
        let status = shim.status().await;
        assert_eq!(status["gateways"][1]["mode"], "off", "{status}");
        assert_eq!(beside_the_client(&shim.other), 0);
    }
}

#[tokio::test]
async fn a_gateway_under_another_name_is_the_same_to_those_with_its_key() {
    let shim = Reshaped::start("").await;
    let own = free();
    let named = |name: &str| {
        let more = format!("listen = \"{own}\"\ndata = \"DIR/data/c\"");
        format!(
            "{}{}",
            shim.a("hosts = [\"a.example\"]"),
            shim.other(name, &more)
        )
    };
    shim.edit(&named("c"));
    shim.reload().await.unwrap();
    shim.healed(&shim.at(own)).await;
    let mut on_c = shim.at(own).run().await.admitted();
    shim.edit(&named("d"));
    shim.reload().await.unwrap();
    let admin = Client::at(&shim.socket());
    let answer = admin.post("/unpair", &json!({"gateway": "d"})).await;
    let answer = answer.unwrap();
    let d = &answer["gateways"][0];
    assert_eq!((&d["name"], &d["sessionsEnded"]), (&json!("d"), &json!(1)));
    assert_eq!(on_c.closed().await.0, 1008);
    let paired = shim.other.paired().unwrap();
    assert_eq!(paired.as_object().unwrap().len(), 1, "but for its client");
}

#[tokio::test]
async fn without_a_shim_that_runs_a_process_that_keeps_its_sessions_is_told_all_the_same() {
    let bench = Bench::new(Profile::Literal).await;
    let (_path, program) = installed(&bench).await;
    let (mut delegated, _untouched) = with_sessions(&bench, &program).await;
    said(&bench, &["upgrade"]).await;
    drop(Foundling(u32::try_from(serving(&bench).await).unwrap()));
    let socket = bench.dir.path().join("data/admin.sock");
    eventually("the new one has ended", || (!socket.exists()).then_some(())).await;
    leave_it_alone(&bench, &program, &mut delegated, 1).await;
}

#[tokio::test]
async fn a_process_that_does_not_listen_is_named_with_the_command_that_ends_it() {
    let stage = Stage::new(Profile::Literal).await;
    stage.delegate().await;
    let data = stage.dir.path().join("data");
    let deaf = UnixListener::bind(data.join("older-4000000.sock")).unwrap();
    let hanging_up = tokio::spawn(async move {
        loop {
            drop(deaf.accept().await.unwrap());
        }
    });
    let ended = data.join("older-4000001.sock");
    drop(UnixListener::bind(&ended).unwrap());
    let answer = unpair(&stage).await;
    // The one that listens, whatever its socket is called.
    let end = format!("kill {}", std::process::id());
    assert_eq!(answer["removal"]["left"], json!([end]));
    assert!(key(&stage), "it is needed once more");
    assert!(
        !ended.exists(),
        "what a process left that has ended is gone"
    );
    hanging_up.abort();
    assert!(hanging_up.await.unwrap_err().is_cancelled());
    let answer = unpair(&stage).await;
    assert_eq!(answer["removal"]["left"], json!([]));
    assert!(!key(&stage));
}
