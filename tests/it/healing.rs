use scope_shim::demo::simulated::Profile;
use scope_shim::identity::proof;
use serde_json::{Value, json};

use crate::stage::{Stage, eventually};
use crate::support::client::{FULL, LEGACY, PAIRING, READ, WRITE};
use crate::support::device::TestDevice;

const ALL_PROFILES: [Profile; 4] = [
    Profile::Literal,
    Profile::Clearing,
    Profile::Pending,
    Profile::Latest,
];

/// The shim would approve the request that the direct attempt leaves.
const LEAVE_REQUESTS: &str = "[policy]\nentitled_repairs = \"off\"\n";

#[tokio::test]
async fn report_23006_a_legacy_device_reads_and_writes_again_and_again() {
    let stage = Stage::with(Profile::Literal, |setup| {
        setup.config = LEAVE_REQUESTS.into()
    })
    .await;
    let device = stage.paired(LEGACY);
    let mut direct = stage.direct().device(&device).scopes(&[READ]).run().await;
    assert_eq!(direct.label().await, "NOT_PAIRED: pairing required");
    let request = stage.pending();
    assert_eq!(request.len(), 1, "the direct attempt left a request");
    for _ in 0..3 {
        for (scopes, letters) in [
            (&[READ][..], "ok r"),
            (&[WRITE], "ok rw"),
            (FULL, "ok rwAap"),
        ] {
            let mut healed = stage.through().device(&device).scopes(scopes).run().await;
            assert_eq!(healed.label().await, letters, "{scopes:?}");
        }
    }
    assert_eq!(stage.pending(), request, "the shim left none");
}

#[tokio::test]
async fn report_46422_a_local_client_without_a_device_gets_what_the_hosts_device_has() {
    let stage = Stage::with(Profile::Clearing, |setup| setup.options.host_device = true).await;
    let mut direct = stage
        .direct()
        .client("cli", "probe")
        .scopes(&[READ])
        .run()
        .await;
    assert_eq!(direct.label().await, "ok ·");
    let identity = std::fs::read(stage.state().join("identity/device.json")).unwrap();
    let identity: Value = serde_json::from_slice(&identity).unwrap();
    let pem = identity["publicKeyPem"].as_str().unwrap();
    let key = proof::raw_public_key(pem).unwrap();
    let id = proof::device_id(&key);
    stage
        .gateway
        .pair(id.as_str(), pem, &[WRITE], None)
        .unwrap();
    let mut healed = stage
        .through()
        .client("cli", "probe")
        .scopes(&[READ, WRITE])
        .run()
        .await;
    assert_eq!(healed.label().await, "ok rw");
    let mut beyond = stage
        .through()
        .client("cli", "probe")
        .scopes(FULL)
        .run()
        .await;
    assert_eq!(
        beyond.label().await,
        "ok ·",
        "the host's device is approved for write only"
    );
}

#[tokio::test]
async fn a_host_without_a_device_gets_what_a_fresh_one_would_silently_get() {
    for profile in ALL_PROFILES {
        let stage = Stage::new(profile).await;
        let mut healed = stage
            .through()
            .client("cli", "probe")
            .scopes(FULL)
            .run()
            .await;
        assert_eq!(healed.label().await, "ok rwAap", "{profile:?}");
    }
}

#[tokio::test]
async fn a_host_whose_gateway_approves_nothing_silently_gets_nothing() {
    let stage = Stage::with(Profile::Latest, |setup| {
        setup.options.auto_approve_local = false
    })
    .await;
    let (direct, through) = stage.both(|connect| connect.client("cli", "probe").scopes(&[READ]));
    let direct = direct.run().await.label().await;
    assert_eq!(through.run().await.label().await, direct);
}

#[tokio::test]
async fn a_client_without_a_device_can_be_left_alone_capped_or_widened_by_configuration() {
    let off = "[policy]\ndevice_less = \"off\"\n";
    let capped = "[policy.clients.cli]\nmax_scopes = [\"operator.read\"]\n";
    for (config, read, write) in [(off, "ok ·", "ok ·"), (capped, "ok r", "ok ·")] {
        let stage = Stage::with(Profile::Clearing, |setup| {
            config.clone_into(&mut setup.config)
        })
        .await;
        for (scope, expected) in [(READ, read), (WRITE, write)] {
            let mut outcome = stage
                .through()
                .client("cli", "probe")
                .scopes(&[scope])
                .run()
                .await;
            assert_eq!(outcome.label().await, expected, "{config} {scope}");
        }
    }
}

#[tokio::test]
async fn what_works_directly_works_through_the_shim_on_every_profile() {
    for profile in ALL_PROFILES {
        let stage = Stage::new(profile).await;
        let device = stage.paired(FULL);
        for scopes in [&[READ][..], &[WRITE], &[PAIRING], FULL, &[]] {
            let (direct, through) = stage.both(|connect| connect.device(&device).scopes(scopes));
            let direct = direct.run().await.label().await;
            assert_eq!(
                through.run().await.label().await,
                direct,
                "{profile:?} {scopes:?}"
            );
            assert!(direct.starts_with("ok"), "{direct}");
        }
    }
}

#[tokio::test]
async fn a_fresh_local_device_is_still_paired_silently() {
    for profile in ALL_PROFILES {
        let stage = Stage::new(profile).await;
        let device = TestDevice::new();
        let mut outcome = stage.through().device(&device).scopes(FULL).run().await;
        assert_eq!(outcome.label().await, "ok rwAap", "{profile:?}");
        assert!(
            stage.gateway.paired().unwrap().get(device.id()).is_some(),
            "under its own name"
        );
    }
}

#[tokio::test]
async fn a_device_that_moved_to_another_platform_is_let_in_and_its_record_left_alone() {
    for profile in [Profile::Clearing, Profile::Pending, Profile::Latest] {
        let stage = Stage::new(profile).await;
        let device = stage.paired(FULL);
        let before = stage.gateway.paired().unwrap()[device.id()].clone();
        let moved = stage
            .through()
            .device(&device)
            .platform("darwin")
            .scopes(&[READ]);
        assert_eq!(moved.run().await.label().await, "ok r", "{profile:?}");
        let after = stage.gateway.paired().unwrap()[device.id()].clone();
        assert_eq!(before["platform"], after["platform"]);
        assert!(stage.pending().is_empty(), "{profile:?}");
    }
}

#[tokio::test]
async fn a_device_that_authenticates_with_its_own_token_is_healed_too() {
    let stage = Stage::new(Profile::Literal).await;
    let device = TestDevice::new();
    let token = stage.pair(&device, LEGACY);
    let own_token = |scopes: &[&str]| {
        stage
            .through()
            .without_token()
            .token(&token)
            .device(&device)
            .scopes(scopes)
    };
    assert_eq!(own_token(&[READ]).run().await.label().await, "ok r");
    let wrong = stage
        .through()
        .token("wrong")
        .device(&device)
        .scopes(&[READ]);
    assert!(wrong.run().await.session.is_none());
}

#[tokio::test]
async fn a_rewritten_request_differs_in_device_and_platform_alone() {
    let stage = Stage::new(Profile::Literal).await;
    let device = stage.paired(LEGACY);
    let display = stage
        .through()
        .device(&device)
        .display_name("My Laptop")
        .platform("darwin")
        .device_family("Mac")
        .client("openclaw-macos", "ui")
        .scopes(&[READ]);
    let expected = display.params("any");
    display.run().await.admitted();
    let seen = eventually("the handshake is recorded", || {
        let connects = stage.gateway.connects();
        connects
            .into_iter()
            .map(|connect| message(&connect.frame))
            .find(|frame| frame["id"] == "c1")
    })
    .await;
    let mut params = seen["params"].clone();
    assert_ne!(params["device"]["id"], expected["device"]["id"]);
    assert_eq!(params["client"]["platform"], "linux");
    assert!(params["client"].get("deviceFamily").is_none());
    params["device"] = expected["device"].clone();
    params["client"]["platform"] = expected["client"]["platform"].clone();
    params["client"]["deviceFamily"] = expected["client"]["deviceFamily"].clone();
    assert_eq!(params, expected, "everything else is as it was sent");
    assert_eq!(keys(&seen["params"]), keys(&expected), "and where it was");
}

fn message(frame: &[u8]) -> Value {
    serde_json::from_slice(frame).unwrap_or_default()
}

fn keys(value: &Value) -> Vec<&String> {
    value.as_object().unwrap().keys().collect()
}

#[tokio::test]
async fn the_delegates_token_never_reaches_a_client() {
    for profile in ALL_PROFILES {
        let stage = Stage::new(profile).await;
        let device = stage.paired(LEGACY);
        // Another platform is rewritten where scopes alone are not.
        let connect = stage
            .through()
            .device(&device)
            .platform("darwin")
            .scopes(&[READ]);
        let outcome = connect.run().await;
        let hello = outcome.hello.clone().unwrap();
        assert_eq!(
            hello["auth"]["scopes"],
            json!([READ]),
            "{profile:?}: the session's scopes are shown"
        );
        assert_eq!(hello["auth"]["role"], "operator");
        assert!(hello["auth"].get("deviceToken").is_none(), "{profile:?}");
        let token = stage.delegate().await["tokens"]["operator"]["token"]
            .as_str()
            .unwrap()
            .to_owned();
        assert!(
            !token.is_empty() && !hello.to_string().contains(&token),
            "{profile:?}"
        );
    }
}

#[tokio::test]
async fn a_node_keeps_its_own_device() {
    for profile in ALL_PROFILES {
        let stage = Stage::new(profile).await;
        let (direct, through) = stage.both(|connect| {
            connect
                .device(&TestDevice::new())
                .role("node")
                .client("node-host", "node")
                .scopes(&[])
        });
        let direct = direct.run().await.label().await;
        assert_eq!(through.run().await.label().await, direct, "{profile:?}");
    }
}
