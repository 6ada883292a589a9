use scope_shim::demo::simulated::Profile;
use serde_json::{Value, json};

use crate::command::Bench;
use crate::support::client::{ADMIN, FULL, LEGACY, PAIRING, READ, WRITE};
use crate::support::device::TestDevice;

fn scopes(list: &Value) -> Vec<&str> {
    let mut scopes: Vec<_> = list
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    scopes.sort_unstable();
    scopes
}

#[tokio::test]
async fn a_legacy_record_is_widened_ahead_of_the_first_failure() {
    let bench = Bench::new(Profile::Literal).await;
    let device = bench.paired(LEGACY);
    bench.run(&["approve", "--all-local"]).await;
    let before = bench.gateway.paired().unwrap();
    insta::assert_snapshot!("legacy_plan", bench.shown(&["repair"]).await);
    insta::assert_snapshot!("legacy_plan_json", bench.shown(&["repair", "--json"]).await);
    assert_eq!(
        bench.gateway.paired().unwrap(),
        before,
        "a dry run changes nothing"
    );
    assert!(bench.audit().is_empty());

    insta::assert_snapshot!("legacy_applied", bench.shown(&["repair", "--apply"]).await);
    for scope in [READ, WRITE] {
        let direct = bench.direct().client("gateway-client", "backend");
        let outcome = direct.device(&device).scopes(&[scope]).run().await;
        assert!(outcome.session.is_some(), "without the shim: {outcome:?}");
    }
    let log = bench.audit();
    assert_eq!(log.len(), 1, "{log:?}");
    assert_eq!(log[0]["action"], "device.token.rotate");
    assert_eq!(log[0]["deviceId"], device.id().as_str());
    insta::assert_snapshot!("nothing_left", bench.shown(&["repair"]).await);
}

#[tokio::test]
async fn looking_pairs_nothing_and_sees_the_same() {
    for profile in [Profile::Literal, Profile::Clearing, Profile::Latest] {
        let bench = Bench::new(profile).await;
        bench.paired(LEGACY);
        let before = bench.gateway.paired().unwrap();
        let outside = bench.shown(&["repair"]).await;
        assert_eq!(bench.gateway.paired().unwrap(), before, "{profile:?}");
        assert!(bench.pending().is_empty(), "{profile:?}");
        assert!(!bench.dir.path().join("data/delegate.key").exists());
        bench.run(&["approve", "--all-local"]).await;
        let inside = bench.shown(&["repair"]).await;
        let device = |shown: &str| {
            let lines = shown.lines().filter(|line| !line.contains(" ([")).skip(1);
            lines
                .filter(|line| line.starts_with(' '))
                .collect::<Vec<_>>()
                .join("\n")
        };
        assert_eq!(
            device(&outside),
            device(&inside),
            "{profile:?}: {outside}{inside}"
        );
        assert!(outside.contains("by its pairing store"), "{outside}");
    }
}

#[tokio::test]
async fn a_request_that_widens_nothing_is_approved_on_the_way() {
    let bench = Bench::new(Profile::Literal).await;
    let device = bench.paired(LEGACY);
    let agent = bench
        .direct()
        .client("gateway-client", "backend")
        .device(&device);
    bench.ask(agent.clone().scopes(&[READ])).await;
    insta::assert_snapshot!("waiting_applied", bench.shown(&["repair", "--apply"]).await);
    assert!(bench.pending().is_empty());
    assert!(agent.scopes(&[WRITE]).run().await.session.is_some());
    assert_eq!(bench.audit().len(), 2);
}

#[tokio::test]
async fn a_request_for_more_is_none_of_its_business() {
    let bench = Bench::new(Profile::Literal).await;
    let device = bench.paired(&[READ]);
    let id = bench
        .ask(bench.direct().device(&device).scopes(&[ADMIN]))
        .await;
    let output = bench.run(&["repair", "--apply"]).await;
    assert!(output.starts_with("exit: 0\nNothing to repair"), "{output}");
    assert_eq!(bench.pending(), [id]);
}

#[tokio::test]
async fn a_token_narrower_than_its_record_is_replaced_by_one_as_wide() {
    for profile in [Profile::Clearing, Profile::Pending] {
        let bench = Bench::new(profile).await;
        let device = bench.paired(&[READ]);
        let id = bench
            .ask(bench.direct().remote().device(&device).scopes(&[WRITE]))
            .await;
        bench.run(&["approve", &id]).await;
        let id = bench
            .ask(bench.direct().remote().device(&device).scopes(&[PAIRING]))
            .await;
        bench.run(&["approve", &id]).await;
        assert_eq!(
            bench.record(&device)["tokens"]["operator"]["scopes"],
            json!([PAIRING])
        );
        let old = bench.record(&device)["tokens"]["operator"]["token"].clone();
        let output = bench.shown(&["repair", "--apply"]).await;
        insta::assert_snapshot!(format!("narrow_token_{profile:?}"), output);
        let record = bench.record(&device);
        assert_eq!(
            scopes(&record["tokens"]["operator"]["scopes"]),
            [PAIRING, READ, WRITE]
        );
        assert_ne!(record["tokens"]["operator"]["token"], old);
        assert!(!output.contains(old.as_str().unwrap()));
        let shared = bench
            .direct()
            .remote()
            .device(&device)
            .scopes(&[READ, WRITE, PAIRING]);
        assert_eq!(
            shared.run().await.label().await,
            "ok rwp",
            "once with the shared secret"
        );
    }
}

#[tokio::test]
async fn nodes_the_shim_itself_and_revoked_tokens_are_left_alone() {
    let bench = Bench::new(Profile::Literal).await;
    let node = bench.direct().client("node-host", "node").role("node");
    let node = node.device(&TestDevice::new()).run().await;
    assert!(node.session.is_some());
    let device = bench.paired(FULL);
    let mut owner = bench
        .direct()
        .device(&device)
        .scopes(FULL)
        .run()
        .await
        .admitted();
    let params = json!({"deviceId": device.id(), "role": "operator"});
    owner.call("device.token.revoke", params).await.unwrap();
    bench.run(&["approve", "--all-local"]).await;
    let before = bench.gateway.paired().unwrap();
    let output = bench.run(&["repair", "--apply"]).await;
    assert!(output.starts_with("exit: 0\nNothing to repair"), "{output}");
    let after = bench.gateway.paired().unwrap();
    for (id, record) in before.as_object().unwrap() {
        assert_eq!(after[id]["tokens"], record["tokens"]);
        assert_eq!(after[id]["scopes"], record["scopes"]);
    }
}

#[tokio::test]
async fn what_can_only_be_said_is_said() {
    let bench = Bench::new(Profile::Literal).await;
    bench.paired(LEGACY);
    let file = bench.dir.path().join("scope-shim.toml");
    std::fs::write(&file, "[policy]\nmax_scopes = [\"operator.pairing\"]\n").unwrap();
    let file = file.display().to_string();
    let output = bench.shown(&["repair", "--apply", "--config", &file]).await;
    insta::assert_snapshot!("repair_capped", output);
    assert!(bench.audit().is_empty());
}

#[tokio::test]
async fn nothing_is_replaced_that_cannot_be_accounted_for() {
    let bench = Bench::new(Profile::Literal).await;
    let device = bench.paired(LEGACY);
    bench.run(&["approve", "--all-local"]).await;
    let before = bench.record(&device);
    std::os::unix::fs::symlink("/dev/full", bench.dir.path().join("data/audit.jsonl")).unwrap();
    insta::assert_snapshot!(
        "repair_unaccountable",
        bench.shown(&["repair", "--apply"]).await
    );
    assert_eq!(bench.record(&device), before);
}
