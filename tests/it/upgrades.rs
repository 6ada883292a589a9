use std::time::Duration;

use scope_shim::demo::simulated::Profile;
use serde_json::json;
use tokio::time::timeout;

use crate::stage::{Stage, eventually};
use crate::support::client::{ADMIN, Connect, FULL, READ, WRITE};
use crate::support::device::TestDevice;

const APPROVE: &str = "[policy]\nlocal_upgrades = \"approve\"\n";

/// The versions that ask somebody about a local device which asks for more; the others approve it by themselves.
const ASKING: [Profile; 2] = [Profile::Literal, Profile::Pending];

async fn stage(profile: Profile, config: &str) -> Stage {
    let stage = Stage::with(profile, |setup| config.clone_into(&mut setup.config)).await;
    stage.delegate().await;
    stage
}

fn wider(stage: &Stage, device: &TestDevice) -> Connect {
    stage.through().device(device).scopes(&[READ, ADMIN])
}

/// What the audit log says was approved, and by which rule.
fn audit(stage: &Stage) -> Vec<String> {
    let text =
        std::fs::read_to_string(stage.dir.path().join("data/audit.jsonl")).unwrap_or_default();
    let lines = text.lines();
    lines
        .map(|line| {
            let entry: serde_json::Value = serde_json::from_str(line).unwrap();
            format!(
                "{} {} {}",
                entry["rule"].as_str().unwrap(),
                entry["deviceId"].as_str().unwrap(),
                entry["requestedScopes"]
            )
        })
        .collect()
}

#[tokio::test]
async fn a_pinned_local_device_gets_what_it_asks_for_within_one_handshake() {
    for profile in ASKING {
        let stage = stage(profile, APPROVE).await;
        let device = stage.paired(&[READ]);
        let mut first = wider(&stage, &device).run().await;
        assert_eq!(first.label().await, "ok rwAap", "{profile:?}");
        assert!(stage.pending().is_empty(), "{profile:?}");
        assert_eq!(
            audit(&stage),
            [format!(
                "local-upgrade {} {}",
                device.id().as_str(),
                json!([ADMIN, READ])
            )]
        );
        let mut again = wider(&stage, &device).run().await;
        assert_eq!(again.label().await, "ok rwAap", "{profile:?}: it lasts");
        assert_eq!(audit(&stage).len(), 1);
    }
}

#[tokio::test]
async fn by_default_its_request_waits_for_somebody() {
    for profile in ASKING {
        let stage = stage(profile, "").await;
        let device = stage.paired(&[READ]);
        assert!(wider(&stage, &device).run().await.session.is_none());
        assert_eq!(stage.pending().len(), 1, "{profile:?}");
        assert!(audit(&stage).is_empty());
    }
}

/// The same device under circumstances in which nothing is approved for it.
async fn approves_nothing(why: &str, config: &str, ask: impl Fn(&Stage, Connect) -> Connect) {
    for profile in ASKING {
        let stage = stage(profile, config).await;
        let device = stage.paired(&[READ]);
        let outcome = ask(&stage, wider(&stage, &device)).run().await;
        assert!(outcome.session.is_none(), "{why}, {profile:?}");
        assert!(audit(&stage).is_empty(), "{why}, {profile:?}");
        let held = &stage.gateway.paired().unwrap()[device.id().as_str()]["scopes"];
        assert_eq!(*held, json!([READ]), "{why}, {profile:?}");
    }
}

#[tokio::test]
async fn a_remote_device_is_never_widened() {
    let config = "trusted_proxies = [\"127.0.0.2\"]\n[policy]\nlocal_upgrades = \"approve\"\n";
    approves_nothing("remote", config, |_, connect| connect.remote()).await;
}

#[tokio::test]
async fn a_proxied_device_is_never_widened() {
    approves_nothing("proxied", APPROVE, |_, connect| {
        connect.header("X-Forwarded-For", "203.0.113.9")
    })
    .await;
}

#[tokio::test]
async fn a_page_is_never_widened() {
    approves_nothing("page", APPROVE, |stage, connect| {
        connect.client("openclaw-control-ui", "webchat").header(
            "Origin",
            &format!("http://127.0.0.1:{}", stage.shim.addr.port()),
        )
    })
    .await;
}

#[tokio::test]
async fn a_rebound_name_is_never_widened() {
    approves_nothing("rebound", APPROVE, |_, connect| {
        connect.header("Host", "gateway.attacker.example")
    })
    .await;
}

/// The earliest gateways keep a request as it was filed: what somebody elsewhere asked for stands in the place of what
/// the session here asks for.
#[tokio::test]
async fn what_somebody_else_asked_for_is_not_approved_for_a_local_session() {
    let stage = stage(Profile::Literal, APPROVE).await;
    let device = stage.paired(&[READ]);
    let elsewhere = stage.direct().remote().device(&device).scopes(FULL);
    assert!(elsewhere.run().await.session.is_none());
    let filed = stage.pending();
    let modest = stage.through().device(&device).scopes(&[WRITE]);
    assert!(modest.run().await.session.is_none());
    assert_eq!(stage.pending(), filed);
    assert!(audit(&stage).is_empty());
    let held = &stage.gateway.paired().unwrap()[device.id().as_str()]["scopes"];
    assert_eq!(*held, json!([READ]));
}

#[tokio::test]
async fn nothing_is_widened_beyond_the_operators_cap() {
    let config = "[policy]\nlocal_upgrades = \"approve\"\nmax_scopes = [\"operator.read\", \"operator.write\"]\n";
    approves_nothing("cap", config, |_, connect| connect).await;
}

#[tokio::test]
async fn a_device_that_came_with_its_own_token_is_never_widened() {
    for profile in ASKING {
        let stage = stage(profile, APPROVE).await;
        let device = TestDevice::new();
        let token = stage.pair(&device, &[READ]);
        let connect = Connect::to(stage.shim.addr)
            .token(&token)
            .device(&device)
            .platform("linux")
            .scopes(&[READ, ADMIN]);
        assert!(connect.run().await.session.is_none(), "{profile:?}");
        assert!(audit(&stage).is_empty(), "{profile:?}");
    }
}

#[tokio::test]
async fn another_role_is_never_approved() {
    let stage = stage(Profile::Literal, APPROVE).await;
    let device = stage.paired(&[READ]);
    let node = stage.through().device(&device).role("node").run().await;
    assert!(node.session.is_none());
    assert!(audit(&stage).is_empty());
}

#[tokio::test]
async fn what_cannot_be_written_down_is_not_approved() {
    let stage = stage(Profile::Pending, APPROVE).await;
    std::fs::create_dir(stage.dir.path().join("data/audit.jsonl")).unwrap();
    let device = stage.paired(&[READ]);
    assert!(wider(&stage, &device).run().await.session.is_none());
    assert_eq!(stage.pending().len(), 1);
}

#[tokio::test]
async fn a_device_that_waits_is_let_in_when_somebody_approves() {
    for profile in ASKING {
        let stage = stage(profile, "[policy]\nwait_for_approval = \"20s\"\n").await;
        let device = stage.paired(&[READ]);
        let mut owner = stage
            .direct()
            .device(&stage.paired(FULL))
            .platform("linux")
            .scopes(FULL)
            .run()
            .await
            .admitted();
        let waiting = tokio::spawn(wider(&stage, &device).run());
        let pending = eventually("the request waits", || stage.pending().pop()).await;
        let approve = json!({"requestId": pending["requestId"]});
        owner.call("device.pair.approve", approve).await.unwrap();
        let mut outcome = waiting.await.unwrap();
        assert_eq!(outcome.label().await, "ok rwAap", "{profile:?}");
    }
}

#[tokio::test]
async fn a_repeat_waits_as_well() {
    let stage = stage(Profile::Pending, "[policy]\nwait_for_approval = \"4s\"\n").await;
    let device = stage.paired(&[READ]);
    let owner = stage.direct().device(&stage.paired(FULL)).scopes(FULL);
    let mut owner = owner.platform("linux").run().await.admitted();
    let first = wider(&stage, &device).run().await;
    assert_eq!(first.detail(), "PAIRING_REQUIRED", "nobody came");
    let mut waiting = tokio::spawn(wider(&stage, &device).run());
    let early = timeout(Duration::from_millis(500), &mut waiting).await;
    early.expect_err("it waits");
    let approve = json!({"requestId": stage.pending()[0]["requestId"]});
    owner.call("device.pair.approve", approve).await.unwrap();
    let mut session = waiting.await.unwrap().admitted();
    let next = session.answered_under("next").await;
    assert_eq!(next, "next", "its request came to the gateway once");
    assert_eq!(session.letters().await, "rwAap");
}

#[tokio::test]
async fn a_device_that_waits_is_told_when_somebody_rejects_or_nobody_comes() {
    let stage = stage(Profile::Pending, "[policy]\nwait_for_approval = \"20s\"\n").await;
    let device = stage.paired(&[READ]);
    let owner = stage.direct().device(&stage.paired(FULL)).scopes(FULL);
    let mut owner = owner.platform("linux").run().await.admitted();
    let waiting = tokio::spawn(wider(&stage, &device).run());
    let pending = eventually("the request waits", || stage.pending().pop()).await;
    let reject = json!({"requestId": pending["requestId"]});
    owner.call("device.pair.reject", reject).await.unwrap();
    assert_eq!(waiting.await.unwrap().detail(), "PAIRING_REQUIRED");

    let stage = self::stage(Profile::Pending, "[policy]\nwait_for_approval = \"50ms\"\n").await;
    let device = stage.paired(&[WRITE]);
    let outcome = wider(&stage, &device).run().await;
    assert_eq!(outcome.detail(), "PAIRING_REQUIRED");
}
