use std::collections::HashSet;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use scope_shim::app;
use scope_shim::config::{Config, Environment};
use scope_shim::delegate::Delegate;
use scope_shim::demo::simulated::{Options, Profile, SimulatedGateway};
use scope_shim::scope::ALL;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::stage::{Shim, Stage, TOKEN, eventually, until};
use crate::support::client::{Connect, FULL, LEGACY, READ};
use crate::support::device::TestDevice;

const ALL_PROFILES: [Profile; 4] = [
    Profile::Literal,
    Profile::Clearing,
    Profile::Pending,
    Profile::Latest,
];

#[tokio::test]
async fn the_delegate_pairs_by_itself_with_every_scope_by_name() {
    for profile in ALL_PROFILES {
        let stage = Stage::new(profile).await;
        let record = stage.delegate().await;
        let scopes: Vec<_> = record["scopes"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(Value::as_str)
            .collect();
        assert!(
            ALL.iter().all(|scope| scopes.contains(scope)),
            "{profile:?}: {scopes:?}"
        );
        assert_eq!(record["platform"], "linux");
        assert!(record.get("deviceFamily").is_none_or(Value::is_null));
    }
}

#[tokio::test]
async fn the_delegate_is_the_same_device_after_a_restart() {
    let stage = Stage::new(Profile::Literal).await;
    let before = stage.delegate().await["deviceId"].clone();
    let Stage { gateway, shim, dir } = stage;
    shim.stop().await;
    let shim = Shim::start(gateway.addr(), &dir, "").await;
    let stage = Stage { gateway, shim, dir };
    let device = stage.paired(LEGACY);
    assert_eq!(
        stage
            .through()
            .device(&device)
            .scopes(&[READ])
            .run()
            .await
            .label()
            .await,
        "ok r"
    );
    assert_eq!(stage.delegate().await["deviceId"], before);
}

#[tokio::test]
async fn a_removed_delegate_pairs_again_and_heals_again() {
    for profile in ALL_PROFILES {
        let stage = Stage::new(profile).await;
        let delegate = stage.delegate().await;
        let device = stage.paired(FULL);
        let moved = stage
            .through()
            .device(&device)
            .platform("darwin")
            .scopes(&[READ]);
        let moved = if profile == Profile::Literal {
            stage
                .through()
                .device(&stage.paired(LEGACY))
                .scopes(&[READ])
        } else {
            moved
        };
        assert_eq!(moved.clone().run().await.label().await, "ok r");
        let mut owner = stage
            .direct()
            .device(&device)
            .scopes(FULL)
            .run()
            .await
            .admitted();
        let params = json!({"deviceId": delegate["deviceId"]});
        owner.call("device.pair.remove", params).await.unwrap();
        until(&moved, "the delegate heals again", |outcome| {
            outcome.session.is_some()
        })
        .await;
        // A session that came before the removal was noticed may have paired it with its own scopes alone.
        eventually("paired with every scope again", || {
            let count = stage.find_delegate()?["scopes"].as_array()?.len();
            (count >= ALL.len()).then_some(())
        })
        .await;
        until(&moved, "and it heals", |outcome| outcome.session.is_some()).await;
    }
}

#[tokio::test]
async fn an_unapproved_delegate_leaves_everything_to_the_gateway_until_it_is_approved() {
    // On a gateway that trusts 127.0.0.1 as a proxy, nobody on it is local.
    let stage = Stage::with(Profile::Literal, |setup| {
        setup.options.trusted_proxies = vec!["127.0.0.1".into()];
    })
    .await;
    let device = stage.paired(LEGACY);
    let request = eventually("the delegate's request is filed", || {
        stage.pending().into_iter().next()
    })
    .await;
    // Gateways from 2026.8.2 drop an older silent device of the same client and name, a second shim's for one.
    let own = format!("scope-shim {}", stage.delegate_id().short());
    assert_eq!(request["displayName"], own);
    let accepted = stage.through().device(&device).scopes(LEGACY).run().await;
    assert!(
        accepted.session.is_some(),
        "what the gateway accepts still works"
    );
    let wanting = stage.through().device(&device).scopes(&[READ]);
    let refused = wanting.clone().run().await;
    let said = refused.message();
    assert!(said.starts_with("pairing required: "), "{said}");
    assert!(said.contains("once its own device is paired"), "{said}");
    let command = format!("run: openclaw devices approve {}", refused.request_id());
    assert!(said.ends_with(&command), "nobody else can approve: {said}");
    let mut owner = stage
        .direct()
        .device(&stage.paired(FULL))
        .scopes(FULL)
        .run()
        .await
        .admitted();
    let params = json!({"requestId": request["requestId"]});
    owner.call("device.pair.approve", params).await.unwrap();
    until(&wanting, "approved, it heals", |outcome| {
        outcome.session.is_some()
    })
    .await;
}

/// A request that once looked remote blocks the silent approval of the same device for five minutes.
#[tokio::test]
async fn a_poisoned_pairing_request_is_approved_where_the_gateway_lets_its_own_backend() {
    for profile in [Profile::Clearing, Profile::Pending, Profile::Latest] {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let id = Delegate::load_or_create(&data).unwrap().device_id();
        let options = Options {
            profile,
            state_dir: dir.path().join("state"),
            trusted_proxies: vec!["127.0.0.2".into()],
            ..Options::default()
        };
        let gateway = SimulatedGateway::start(options).await.unwrap();
        let poison = Connect::to(gateway.addr()).token(TOKEN).remote();
        let poison = poison
            .device(&TestDevice::from_seed(seed(&data)))
            .scopes(FULL)
            .run()
            .await;
        assert!(poison.session.is_none());
        assert_eq!(
            gateway.pending().unwrap().as_object().unwrap().len(),
            1,
            "{profile:?}"
        );
        let shim = Shim::start(gateway.addr(), &dir, "").await;
        let stage = Stage { gateway, shim, dir };
        assert_eq!(
            stage.delegate().await["deviceId"],
            id.as_str(),
            "{profile:?}"
        );
        let moved = stage
            .through()
            .device(&stage.paired(FULL))
            .platform("darwin")
            .scopes(&[READ]);
        until(&moved, "healed", |outcome| outcome.session.is_some()).await;
    }
}

/// The private seed of the delegate's key: the last 32 bytes of its PKCS#8.
fn seed(data: &Path) -> [u8; 32] {
    let pem = std::fs::read_to_string(data.join("delegate.key")).unwrap();
    let body: String = pem
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .collect();
    *STANDARD.decode(body).unwrap().last_chunk().unwrap()
}

#[tokio::test]
async fn a_delegate_that_is_paired_for_too_little_becomes_a_new_device() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let old = Delegate::load_or_create(&data).unwrap().device_id();
    let options = Options {
        profile: Profile::Literal,
        state_dir: dir.path().join("state"),
        ..Options::default()
    };
    let gateway = SimulatedGateway::start(options).await.unwrap();
    let device = TestDevice::from_seed(seed(&data));
    gateway
        .pair(&device.id(), &device.public_key(), &[READ], Some("linux"))
        .unwrap();
    let shim = Shim::start(gateway.addr(), &dir, "").await;
    let stage = Stage { gateway, shim, dir };
    let record = eventually("a new record", || {
        stage
            .find_delegate()
            .filter(|record| record["deviceId"] != old.as_str())
    })
    .await;
    assert!(record["scopes"].as_array().unwrap().len() >= ALL.len());
    eventually("the old record is gone", || {
        stage
            .gateway
            .paired()
            .unwrap()
            .get(old.as_str())
            .is_none()
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_shims_own_session_reconnects_after_the_gateway_restarts() {
    let stage = Stage::new(Profile::Literal).await;
    stage.delegate().await;
    stage.gateway.restart().await.unwrap();
    let device = stage.paired(LEGACY);
    let wanting = stage.through().device(&device).scopes(&[READ]);
    until(&wanting, "healed after the restart", |outcome| {
        outcome.session.is_some()
    })
    .await;
}

#[tokio::test]
async fn a_gateway_whose_files_are_out_of_reach_is_asked_for_its_devices() {
    let stage = Stage::new(Profile::Literal).await;
    let home = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let file = home.path().join("scope-shim.toml");
    let gateway = stage.gateway.addr();
    let text = format!("listen = '{addr}'\n[gateway]\nurl = 'ws://{gateway}'\ntoken = '{TOKEN}'\n");
    std::fs::write(&file, text).unwrap();
    let environment = Environment::from_iter([("HOME", home.path().to_str().unwrap())]);
    let config = Config::load(Some(&file), &[], &environment).unwrap();
    let state = config.gateway.state.clone().unwrap();
    assert!(!state.exists(), "{}", state.display());
    let serving = tokio::spawn(app::serve(config, listener, std::future::pending()));
    let device = stage.paired(LEGACY);
    let reads = Connect::to(addr).token(TOKEN).device(&device);
    let reads = reads.scopes(&["operator.read"]);
    until(&reads, "it heals", |outcome| outcome.session.is_some()).await;
    serving.abort();
}

#[tokio::test]
async fn two_shims_before_one_gateway_are_two_devices_and_one_can_go() {
    for profile in [Profile::Literal, Profile::Latest] {
        let stage = Stage::new(profile).await;
        let elsewhere = tempfile::tempdir().unwrap();
        let control = "[gateway]\nstore = \"control\"\ntoken = \"simulated-token\"\n";
        let second = Shim::start(stage.gateway.addr(), &elsewhere, control).await;
        let first = stage.delegate().await;
        let paired = || stage.gateway.paired().unwrap();
        eventually("both are paired", || {
            (paired().as_object()?.len() == 2).then_some(())
        })
        .await;
        let names: HashSet<_> = paired()
            .as_object()
            .unwrap()
            .values()
            .map(|device| device["displayName"].to_string())
            .collect();
        assert_eq!(names.len(), 2, "{profile:?}: {names:?}");

        let device = stage.paired(LEGACY);
        let reads = |addr| {
            Connect::to(addr)
                .token(TOKEN)
                .device(&device)
                .scopes(&["operator.read"])
        };
        let through_both = [reads(stage.shim.addr), reads(second.addr)];
        for connect in &through_both {
            until(connect, "it heals", |outcome| outcome.session.is_some()).await;
        }
        second.stop().await;
        assert_eq!(through_both[0].clone().run().await.label().await, "ok r");
        let left = stage.find_delegate().unwrap();
        assert_eq!(left["publicKey"], first["publicKey"], "{profile:?}");
    }
}
