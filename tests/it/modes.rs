use std::time::{Duration, Instant};

use scope_shim::demo::simulated::Profile;
use serde_json::json;

use crate::command::{Bench, run};
use crate::program::{Program, configure};
use crate::stage::{Stage, TOKEN, eventually};
use crate::support::client::{Connect, FULL, LEGACY, READ};

#[tokio::test]
async fn off_and_observe_leave_every_answer_to_the_gateway() {
    for mode in ["off", "observe"] {
        let stage = Stage::with(Profile::Literal, |setup| {
            setup.config = format!("mode = \"{mode}\"\n")
        })
        .await;
        let device = stage.paired(LEGACY);
        let (direct, through) = stage.both(|connect| connect.device(&device).scopes(&[READ]));
        let direct = direct.run().await;
        assert_eq!(through.run().await.whole(), direct.whole(), "{mode}");
        assert!(direct.session.is_none());
        let accepted = stage.through().device(&device).scopes(LEGACY).run().await;
        assert!(accepted.session.is_some(), "{mode}");
    }
}

#[tokio::test]
async fn off_still_tells_local_from_remote() {
    let stage = Stage::with(Profile::Clearing, |setup| {
        setup.config = "mode = \"off\"\n".into()
    })
    .await;
    let spoofing = stage
        .through()
        .client("cli", "probe")
        .scopes(FULL)
        .header("X-Forwarded-For", "127.0.0.1");
    assert_eq!(spoofing.run().await.label().await, "ok ·");
}

/// The configuration of a program in front of this gateway.
pub fn before(bench: &Bench) -> String {
    format!(
        "[gateway]\nurl = \"ws://{}\"\nstate = {:?}\ntoken = \"{TOKEN}\"\n",
        bench.gateway.addr(),
        bench.dir.path().join("state")
    )
}

/// A command, as the same user runs it: what the running program was told by its file, it finds there, too.
pub async fn said(bench: &Bench, arguments: &[&str]) -> String {
    let gateway = format!("ws://{}", bench.gateway.addr());
    let text = run(bench.dir.path(), &gateway, TOKEN, arguments).await;
    let mut tidy = bench.tidy(&text);
    while let Some(at) = time_in(&tidy) {
        let end = tidy[at..].find('Z').map_or(tidy.len(), |end| at + end + 1);
        tidy.replace_range(at..end, "[TIME]");
    }
    tidy
}

/// Where a time of this decade begins. A port may hold the same digits.
fn time_in(text: &str) -> Option<usize> {
    let is_time = |at: usize| {
        let rest = &text.as_bytes()[at..];
        rest.get(4) == Some(&b'-') && rest.get(10) == Some(&b'T')
    };
    let mut decades = text.match_indices("202").map(|(at, _)| at);
    decades.find(|&at| is_time(at))
}

async fn scene() -> (Bench, Program, Connect) {
    let bench = Bench::new(Profile::Literal).await;
    let program = Program::start(&bench, &before(&bench)).await;
    let device = bench.paired(LEGACY);
    let connect = Connect::to(program.listen)
        .token(TOKEN)
        .device(&device)
        .scopes(&[READ]);
    (bench, program, connect)
}

#[tokio::test]
async fn a_switch_holds_for_the_next_handshake_and_drops_no_session() {
    let (bench, _program, connect) = scene().await;
    let mut session = connect.clone().run().await.admitted();
    insta::assert_snapshot!(said(&bench, &["mode", "off"]).await, @r#"
    exit: 0
    mode off, switched by `scope-shim mode` at [TIME]; the configuration says on
    It holds for new handshakes; sessions under way go on as they are.
    "#);
    assert!(connect.clone().run().await.session.is_none());
    assert_eq!(session.letters().await, "r");
    insta::assert_snapshot!(said(&bench, &["mode"]).await, @r#"
    exit: 0
    mode off, switched by `scope-shim mode` at [TIME]; the configuration says on
    "#);
    insta::assert_snapshot!(said(&bench, &["mode", "on"]).await, @r#"
    exit: 0
    mode on, as the configuration says
    It holds for new handshakes; sessions under way go on as they are.
    "#);
    connect.run().await.admitted();
    assert_eq!(session.letters().await, "r");
}

#[tokio::test]
async fn a_switch_takes_less_than_a_tenth_of_a_second() {
    let (bench, _program, _) = scene().await;
    let mut fastest = Duration::MAX;
    // A busy machine may hold one of them up, not all.
    for mode in ["off", "on"].into_iter().cycle().take(20) {
        let started = Instant::now();
        let outcome = said(&bench, &["mode", mode]).await;
        fastest = fastest.min(started.elapsed());
        assert!(outcome.starts_with("exit: 0\n"), "{outcome}");
    }
    assert!(fastest < Duration::from_millis(100), "{fastest:?}");
}

#[tokio::test]
async fn a_switch_survives_a_restart_until_somebody_edits_the_configuration() {
    let (bench, mut program, connect) = scene().await;
    said(&bench, &["mode", "observe"]).await;
    let listen = program.listen;
    let restart = async |mut program: Program| {
        program.signal(rustix::process::Signal::TERM);
        assert!(program.ends().await);
        drop(program);
        Program::again(&bench, listen, None).await
    };
    program = restart(program).await;
    eventually("it says why it begins so", || {
        let log = program.log();
        log.contains("the mode is observe, switched by")
            .then_some(())
    })
    .await;
    assert!(connect.clone().run().await.session.is_none());
    let check = said(&bench, &["check"]).await;
    assert!(
        check.contains("the mode is observe, switched by"),
        "{check}"
    );
    configure(
        &bench,
        &format!("mode = \"off\"\nlisten = \"{listen}\"\n{}", before(&bench)),
    );
    program = restart(program).await;
    insta::assert_snapshot!(said(&bench, &["mode"]).await, @r#"
    exit: 0
    mode off, as the configuration says
    "#);
    configure(
        &bench,
        &format!("listen = \"{listen}\"\n{}", before(&bench)),
    );
    let _program = restart(program).await;
    insta::assert_snapshot!(said(&bench, &["mode"]).await, @r#"
    exit: 0
    mode on, as the configuration says
    "#);
    connect.run().await.admitted();
}

#[tokio::test]
async fn a_switch_that_cannot_be_kept_holds_and_says_so() {
    let (bench, _program, connect) = scene().await;
    std::fs::create_dir(bench.dir.path().join("data/mode.json")).unwrap();
    insta::assert_snapshot!(said(&bench, &["mode", "off"]).await, @r#"
    exit: 3
    mode off; a restart begins in on, as the configuration says: [DIR]/data/mode.json cannot be used: Is a directory (os error 21)
    warning: gateway is switched, but that does not survive a restart: [DIR]/data/mode.json: Is a directory (os error 21)
    It holds for new handshakes; sessions under way go on as they are.
    "#);
    assert!(connect.run().await.session.is_none());
}

#[tokio::test]
async fn without_a_running_shim_the_next_start_is_switched() {
    let bench = Bench::new(Profile::Literal).await;
    insta::assert_snapshot!(said(&bench, &["mode"]).await, @r#"
    exit: 0
    scope-shim is not running (nobody answers at [DIR]/data/admin.sock).
    the next start begins in on, as the configuration says
    "#);
    insta::assert_snapshot!(said(&bench, &["mode", "observe"]).await, @r#"
    exit: 0
    scope-shim is not running (nobody answers at [DIR]/data/admin.sock).
    the next start begins in observe, switched by `scope-shim mode` at [TIME]; the configuration says on
    "#);
    let _program = Program::start(&bench, &before(&bench)).await;
    insta::assert_snapshot!(said(&bench, &["mode"]).await, @r#"
    exit: 0
    mode observe, switched by `scope-shim mode` at [TIME]; the configuration says on
      since [TIME]: 0 handshakes; on would have repaired 0, answered 0 without the gateway and explained 0 refusals
    "#);
}

#[tokio::test]
async fn a_broken_configuration_keeps_nobody_from_switching() {
    let (bench, program, connect) = scene().await;
    configure(
        &bench,
        &format!("listen = \"{}\"\nnonsense = = 1\n", program.listen),
    );
    let outcome = said(&bench, &["mode", "off"]).await;
    assert!(outcome.starts_with("exit: 0\nmode off, "), "{outcome}");
    assert!(connect.run().await.session.is_none());
}

#[tokio::test]
async fn nor_where_the_shim_is_asked_elsewhere() {
    let bench = Bench::new(Profile::Literal).await;
    let socket = bench.dir.path().join("elsewhere.sock");
    let admin = format!("[admin]\nsocket = {socket:?}\n");
    let program = Program::start(&bench, &format!("{}{admin}", before(&bench))).await;
    let broken = format!("listen = \"{}\"\nnonsense = 1\n{admin}", program.listen);
    configure(&bench, &broken);
    let outcome = said(&bench, &["mode", "off"]).await;
    assert!(outcome.starts_with("exit: 0\nmode off, "), "{outcome}");
}

#[tokio::test]
async fn a_gateway_that_there_is_not_is_no_answer() {
    let (bench, _program, _connect) = scene().await;
    let outcome = said(&bench, &["mode", "--gateway-name", "stagin"]).await;
    assert!(outcome.starts_with("exit: 1\n"), "{outcome}");
    assert!(
        outcome.contains("no gateway stagin; it has: gateway"),
        "{outcome}"
    );
}

#[tokio::test]
async fn a_broken_configuration_keeps_nobody_from_what_the_shim_itself_can_answer() {
    let (bench, program, connect) = scene().await;
    let waits = bench.ask(connect.device(&bench.paired(&[READ])).scopes(FULL));
    let waits = waits.await;
    let broken = format!(
        "listen = \"{}\"\ndata = \"data\"\nnonsense = = 1\n",
        program.listen
    );
    configure(&bench, &broken);
    let listed = bench.run(&["approve"]).await;
    assert!(
        listed.starts_with("exit: 0\n") && listed.contains(&waits),
        "{listed}"
    );
    assert!(listed.contains("could not start again"), "{listed}");
    let approved = bench.run(&["approve", &waits[..8]]).await;
    assert!(
        approved.starts_with(&format!("exit: 0\napproved: {waits}")),
        "{approved}"
    );
    let status = bench.run(&["status"]).await;
    assert!(status.contains("mode on"), "{status}");
    let gone = bench.run(&["unpair"]).await;
    assert!(gone.starts_with("exit: 0\nunpaired: "), "{gone}");
}

#[tokio::test]
async fn doctor_asks_the_shim_that_runs() {
    let (bench, program, _) = scene().await;
    let report = bench.run(&["doctor"]).await;
    let report = report.split_whitespace().collect::<Vec<_>>().join(" ");
    let runs = format!(
        "{}: scope-shim {}",
        program.listen,
        env!("CARGO_PKG_VERSION")
    );
    assert!(report.contains(&runs), "{report}");
    assert!(report.contains("mode on; the gateway is up"), "{report}");
    assert!(
        report.contains("policy.max_scopes allows all 10 scopes"),
        "{report}"
    );
}

#[tokio::test]
async fn observing_says_what_on_would_have_done_beside_what_the_gateway_answered() {
    let (bench, _program, entitled) = scene().await;
    said(&bench, &["mode", "observe"]).await;
    let narrow = entitled.clone().device(&bench.paired(&[READ])).scopes(FULL);
    for connect in [&entitled, &narrow, &narrow] {
        assert!(connect.clone().run().await.session.is_none());
    }
    let traces = eventually("three sessions left traces", || {
        let file = bench.dir.path().join("data/sessions.jsonl");
        let text = std::fs::read_to_string(file).ok()?;
        let traces: Vec<serde_json::Value> = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        (traces.len() == 3).then_some(traces)
    })
    .await;
    let would: Vec<_> = traces.iter().map(|trace| trace["would"].clone()).collect();
    assert_eq!(would[0], "ask in the delegate's name");
    assert!(
        would[1].as_str().unwrap().starts_with("tell the client: "),
        "{would:?}"
    );
    assert_eq!(would[2], "answer it without the gateway, as repeat 1");
    assert!(
        traces
            .iter()
            .all(|trace| trace["outcome"] == json!("refused"))
    );
    insta::assert_snapshot!(said(&bench, &["mode"]).await, @r#"
    exit: 0
    mode observe, switched by `scope-shim mode` at [TIME]; the configuration says on
      since [TIME]: 3 handshakes; on would have repaired 1, answered 1 without the gateway and explained 1 refusal
    "#);
}
