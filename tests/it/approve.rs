use std::fs;

use scope_shim::approval::{Candidate, NotApproved, approve_unchanged, look};
use scope_shim::audit::{Audit, Rule};
use scope_shim::config::{Config, Environment};
use scope_shim::control::{Once, Settings};
use scope_shim::demo::simulated::Profile;

use crate::command::{Bench, run};
use crate::stage::{Stage, TOKEN};
use crate::support::client::{ADMIN, FULL, PAIRING, READ, WRITE};
use crate::support::device::TestDevice;

const PROFILES: [Profile; 4] = [
    Profile::Literal,
    Profile::Clearing,
    Profile::Pending,
    Profile::Latest,
];

/// A gateway on which four requests wait: an upgrade from here, another device of this machine, one from elsewhere,
/// and a node.
async fn four_wait(profile: Profile) -> (Bench, [String; 4]) {
    let bench = Bench::new(profile).await;
    let cli = bench.direct().client("cli", "cli");
    let pinned = bench.paired(&[READ]);
    let upgrade = bench.ask(cli.clone().device(&pinned).scopes(FULL)).await;
    let stranger = cli
        .clone()
        .header("origin", "http://localhost:5173")
        .display_name("a \u{1b}[31mname")
        .device(&TestDevice::new())
        .scopes(&[READ]);
    let stranger = bench.ask(stranger).await;
    let remote = cli.remote().device(&TestDevice::new()).scopes(&[ADMIN]);
    let remote = bench.ask(remote).await;
    let node = bench
        .direct()
        .remote()
        .client("node-host", "node")
        .role("node");
    let node = bench.ask(node.device(&TestDevice::new())).await;
    (bench, [upgrade, stranger, remote, node])
}

#[tokio::test]
async fn the_list_says_who_asks_for_what_and_how_to_approve_it() {
    let bench = Bench::new(Profile::Pending).await;
    insta::assert_snapshot!("nothing_waits", bench.shown(&["approve"]).await);
    let (bench, _) = four_wait(Profile::Pending).await;
    insta::assert_snapshot!("list", bench.shown(&["approve"]).await);
    insta::assert_snapshot!("list_json", bench.shown(&["approve", "--json"]).await);
    assert!(bench.audit().is_empty(), "looking approves nothing");
    assert_eq!(bench.pending().len(), 4);
}

#[tokio::test]
async fn looking_at_what_waits_changes_nothing() {
    for profile in PROFILES {
        let bench = Bench::new(profile).await;
        let remote = bench.direct().remote().device(&bench.paired(&[READ]));
        let waits = bench.ask(remote.scopes(FULL)).await;
        let before = (bench.gateway.paired().unwrap(), bench.pending());
        let listed = bench.run(&["approve"]).await;
        assert!(
            listed.starts_with("exit: 0\n1 pairing request waits"),
            "{listed}"
        );
        assert!(listed.contains(&waits), "{listed}");
        let after = (bench.gateway.paired().unwrap(), bench.pending());
        assert_eq!(after, before, "{profile:?}");
        assert!(!bench.dir.path().join("data").exists(), "{profile:?}");
    }
}

#[tokio::test]
async fn the_beginning_of_an_id_is_enough_where_it_names_one() {
    let (bench, [upgrade, ..]) = four_wait(Profile::Pending).await;
    let short = bench.run(&["approve", &upgrade[..3]]).await;
    assert!(short.contains("give at least 4 characters"), "{short}");
    let empty = bench.run(&["approve", ""]).await;
    assert!(empty.starts_with("exit: 1\n"), "{empty}");
    let named = bench.run(&["approve", &upgrade[..8]]).await;
    let approved = format!("exit: 0\napproved: {upgrade}");
    assert!(named.starts_with(&approved), "{named}");
    assert_eq!(bench.audit().len(), 1);
}

#[tokio::test]
async fn a_pinned_device_gets_on_once_its_request_is_approved() {
    let bench = Bench::new(Profile::Pending).await;
    let device = bench.paired(&[READ]);
    let cron = bench
        .direct()
        .client("cli", "cli")
        .device(&device)
        .scopes(FULL);
    let id = bench.ask(cron.clone()).await;
    assert!(cron.clone().run().await.session.is_none(), "for ever");
    insta::assert_snapshot!("approved", bench.shown(&["approve", &id]).await);
    assert_eq!(cron.run().await.label().await, "ok rwAap");
    let log = bench.audit();
    assert_eq!(log.len(), 1, "{log:?}");
    assert_eq!(log[0]["requestId"], id.as_str());
    assert_eq!(log[0]["rule"], "command");
}

#[tokio::test]
async fn an_upgrade_from_elsewhere_is_approved_on_every_generation() {
    for profile in PROFILES {
        let bench = Bench::new(profile).await;
        let device = bench.paired(&[READ]);
        let remote = bench
            .direct()
            .remote()
            .device(&device)
            .scopes(&[READ, WRITE, PAIRING]);
        let id = bench.ask(remote.clone()).await;
        let output = bench.run(&["approve", &id]).await;
        assert!(output.starts_with("exit: 0\n"), "{profile:?}: {output}");
        assert_eq!(remote.run().await.label().await, "ok rwp", "{profile:?}");
    }
}

#[tokio::test]
async fn an_id_that_does_not_wait_is_answered_with_those_that_do() {
    let bench = Bench::new(Profile::Pending).await;
    let device = bench.paired(&[READ]);
    let wider = bench
        .direct()
        .client("cli", "cli")
        .device(&device)
        .scopes(&[WRITE]);
    let first = bench.ask(wider.clone()).await;
    let second = bench.ask(wider.scopes(FULL)).await;
    assert_ne!(first, second, "each other set of scopes gets another id");
    insta::assert_snapshot!("replaced", bench.shown(&["approve", &first]).await);
    bench.run(&["approve", &second]).await;
    insta::assert_snapshot!("approved_already", bench.shown(&["approve", &second]).await);
    insta::assert_snapshot!("nonsense", bench.shown(&["approve", "x; \u{1b}[2J"]).await);
    assert_eq!(bench.audit().len(), 1);
}

#[tokio::test]
async fn what_the_policy_keeps_from_a_client_is_not_approved() {
    let bench = Bench::new(Profile::Pending).await;
    let file = bench.dir.path().join("scope-shim.toml");
    let caps = "[policy]\nmax_scopes = [\"operator.write\", \"operator.pairing\"]\n\
                [policy.clients.openclaw-tui]\nmax_scopes = [\"operator.read\"]\n";
    fs::write(&file, caps).unwrap();
    let file = file.display().to_string();
    for (client, mode, scopes) in [("cli", "cli", FULL), ("openclaw-tui", "ui", &[WRITE])] {
        let asking = bench
            .direct()
            .client(client, mode)
            .device(&bench.paired(&[READ]));
        let id = bench.ask(asking.scopes(scopes)).await;
        let output = bench.shown(&["approve", "--config", &file, &id]).await;
        insta::assert_snapshot!(format!("capped_{mode}"), output);
    }
    let output = bench
        .shown(&["approve", "--config", &file, "--all-local"])
        .await;
    insta::assert_snapshot!("capped_all_local", output);
    assert!(bench.audit().is_empty());
    assert_eq!(bench.pending().len(), 2);
}

#[tokio::test]
async fn all_local_leaves_what_is_not_this_machines() {
    let (bench, [upgrade, ..]) = four_wait(Profile::Pending).await;
    insta::assert_snapshot!("all_local", bench.shown(&["approve", "--all-local"]).await);
    assert_eq!(bench.pending().len(), 3);
    assert!(!bench.pending().contains(&upgrade));
    let again = bench.shown(&["approve", "--all-local", "--json"]).await;
    insta::assert_snapshot!("all_local_json", again);
    assert_eq!(bench.audit().len(), 1);
}

#[tokio::test]
async fn all_local_lets_in_this_machines_own_device() {
    let bench = Bench::new(Profile::Pending).await;
    let own = TestDevice::new();
    let identity = bench.dir.path().join("state/identity");
    fs::create_dir_all(&identity).unwrap();
    let text = format!("{{\"version\":1,\"deviceId\":\"{}\"}}", own.id());
    fs::write(identity.join("device.json"), text).unwrap();
    // With an Origin it is not let in silently.
    let cli = bench
        .direct()
        .client("cli", "cli")
        .header("origin", "http://localhost:5173");
    bench.ask(cli.device(&own).scopes(FULL)).await;
    let output = bench.run(&["approve", "--all-local"]).await;
    assert!(output.starts_with("exit: 0\napproved:"), "{output}");
    assert_eq!(bench.pending().len(), 0);
}

#[tokio::test]
async fn a_node_is_approved_by_its_id_and_never_with_the_rest() {
    let (bench, [.., node]) = four_wait(Profile::Pending).await;
    let output = bench.run(&["approve", &node]).await;
    assert!(output.starts_with("exit: 0\n"), "{output}");
    assert!(output.contains("it has to connect again"), "{output}");
}

#[tokio::test]
async fn nothing_is_approved_that_cannot_be_accounted_for() {
    let bench = Bench::new(Profile::Pending).await;
    let device = bench.paired(&[READ]);
    let id = bench.ask(bench.direct().device(&device).scopes(FULL)).await;
    fs::create_dir(bench.dir.path().join("data")).unwrap();
    std::os::unix::fs::symlink("/dev/full", bench.dir.path().join("data/audit.jsonl")).unwrap();
    insta::assert_snapshot!("unaccountable", bench.shown(&["approve", &id]).await);
    let all = bench.run(&["approve", "--all-local"]).await;
    assert!(all.starts_with("exit: 1\nnot approved:"), "{all}");
    assert_eq!(bench.pending(), [id]);
}

#[tokio::test]
async fn what_keeps_the_command_from_the_gateway_is_said_with_its_remedy() {
    let bench = Bench::new(Profile::Pending).await;
    for command in [&["approve", "--all-local"][..], &["repair", "--apply"]] {
        let down = run(bench.dir.path(), "ws://127.0.0.1:1", TOKEN, command).await;
        insta::assert_snapshot!("down", bench.tidy(&down));
        let wrong = bench.run_with("wrong", command).await;
        insta::assert_snapshot!("wrong_secret", bench.tidy(&wrong));
        let file = bench.dir.path().join("file");
        fs::write(&file, "").unwrap();
        let data = file.display().to_string();
        let given = [command, &["--data", &data]].concat();
        insta::assert_snapshot!("data", bench.shown(&given).await);
    }
}

#[tokio::test]
async fn a_delegate_that_waits_itself_names_its_request() {
    // On a gateway that trusts 127.0.0.1 as a proxy, nobody on it is local.
    let bench = Bench::with(Profile::Literal, |options| {
        options.trusted_proxies = vec!["127.0.0.1".into()];
    })
    .await;
    insta::assert_snapshot!("not_paired", bench.shown(&["approve", "--all-local"]).await);
    assert_eq!(bench.pending().len(), 1);
}

#[tokio::test]
async fn a_running_shim_goes_on_undisturbed() {
    for profile in PROFILES {
        let stage = Stage::new(profile).await;
        let delegate = stage.delegate().await;
        let device = stage.paired(FULL);
        let moved = stage.through().device(&device);
        let mut open = moved.clone().scopes(&[READ]).run().await.admitted();
        let gateway = format!("ws://{}", stage.gateway.addr());
        for arguments in [
            &["approve"][..],
            &["approve", "--all-local"],
            &["repair", "--apply"],
        ] {
            let output = run(stage.dir.path(), &gateway, TOKEN, arguments).await;
            assert!(output.starts_with("exit: 0\n"), "{profile:?}: {output}");
        }
        assert_eq!(open.letters().await, "r", "{profile:?}");
        assert_eq!(
            moved.scopes(&[READ]).run().await.label().await,
            "ok r",
            "{profile:?}"
        );
        assert_eq!(stage.delegate().await["deviceId"], delegate["deviceId"]);
    }
}

/// What the command does, taken apart: the device asks for something else between the look and the approval.
async fn changed_in_between(profile: Profile) -> (Bench, Result<(), NotApproved>) {
    let bench = Bench::new(profile).await;
    let file = bench.dir.path().join("scope-shim.toml");
    let text = format!(
        "data = {:?}\n[gateway]\nurl = \"ws://{}\"\nstate = {:?}\n",
        bench.dir.path().join("data"),
        bench.gateway.addr(),
        bench.dir.path().join("state")
    );
    fs::write(&file, text).unwrap();
    let environment = Environment::from_iter([("HOME", bench.dir.path().to_str().unwrap())]);
    let config = Config::load(Some(&file), &[], &environment).unwrap();
    let mut session = Once::open(&Settings::from_config(&config).unwrap())
        .await
        .unwrap();
    let asking = bench.direct().remote().device(&bench.paired(&[READ]));
    bench.ask(asking.clone().scopes(&[WRITE])).await;
    let seen = Candidate::all(&look(&mut session).await.unwrap());
    assert!(asking.scopes(FULL).run().await.session.is_none());
    let outcome = approve_unchanged(
        &mut session,
        &Audit::new(&config.data),
        Rule::Command,
        &seen[0],
    )
    .await;
    session.close().await;
    (bench, outcome.map(drop))
}

#[tokio::test]
async fn a_request_that_grew_unseen_is_not_approved() {
    let (bench, merged) = changed_in_between(Profile::Clearing).await;
    assert!(
        matches!(&merged, Err(NotApproved::Changed(scopes)) if scopes.names(ADMIN)),
        "{merged:?}"
    );
    assert!(bench.audit().is_empty());
    for profile in [Profile::Pending, Profile::Latest] {
        let (bench, replaced) = changed_in_between(profile).await;
        let successor = bench.pending().pop();
        assert!(
            matches!(&replaced, Err(NotApproved::Gone(id)) if *id == successor),
            "{replaced:?}"
        );
        assert!(bench.audit().is_empty());
    }
    let (_, kept) = changed_in_between(Profile::Literal).await;
    assert!(kept.is_ok(), "the request stays as it was filed: {kept:?}");
}
