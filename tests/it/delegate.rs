use scope_shim::demo::simulated::Profile;
use scope_shim::scope::ALL;
use serde_json::{Value, json};

use crate::stage::{Shim, Stage, eventually, until};
use crate::support::client::{FULL, LEGACY, READ};

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
        let again = stage.delegate().await;
        let count = again["scopes"].as_array().unwrap().len();
        assert!(
            count >= ALL.len(),
            "{profile:?}: paired with every scope again, not those of a session: {again}"
        );
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
    assert_eq!(request["displayName"], "scope-shim");
    let accepted = stage.through().device(&device).scopes(LEGACY).run().await;
    assert!(
        accepted.session.is_some(),
        "what the gateway accepts still works"
    );
    let wanting = stage.through().device(&device).scopes(&[READ]);
    let refused = wanting.clone().run().await;
    assert_eq!(refused.message(), "pairing required");
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

#[tokio::test]
async fn a_poisoned_pairing_request_is_cleared_where_the_gateway_allows_it() {
    for profile in [Profile::Clearing, Profile::Pending, Profile::Latest] {
        let stage = Stage::with(profile, |setup| {
            setup.options.trusted_proxies = vec!["127.0.0.2".into()];
        })
        .await;
        let delegate = stage.delegate().await;
        let Stage { gateway, shim, dir } = stage;
        shim.stop().await;
        let stage = Stage {
            shim: Shim::start(gateway.addr(), &dir, "").await,
            gateway,
            dir,
        };
        // Somebody removes the delegate, and a request of its own that looks remote is already there when it returns.
        let device = stage.paired(FULL);
        let mut owner = stage
            .direct()
            .device(&device)
            .scopes(FULL)
            .run()
            .await
            .admitted();
        let key = std::fs::read_to_string(stage.dir.path().join("data/delegate.key")).unwrap();
        assert!(key.starts_with("-----BEGIN PRIVATE KEY-----"));
        owner
            .call(
                "device.pair.remove",
                json!({"deviceId": delegate["deviceId"]}),
            )
            .await
            .unwrap();
        let moved = stage
            .through()
            .device(&device)
            .platform("darwin")
            .scopes(&[READ]);
        until(&moved, "healed all the same", |outcome| {
            outcome.session.is_some()
        })
        .await;
    }
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
