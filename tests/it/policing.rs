use std::path::Path;
use std::time::Duration;

use scope_shim::demo::simulated::Profile;
use scope_shim::relay::{Stop, relay, was_stopped};
use scope_shim::ws::frame::encode;
use scope_shim::ws::{Close, Opcode};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use crate::degraded::{pair, wire};
use crate::stage::{Stage, until};
use crate::support::client::{FULL, LEGACY, READ, Session, WRITE};
use crate::support::device::TestDevice;

/// A delegated session of a legacy device, and an owner who manages it.
async fn scene() -> (Stage, TestDevice, Session, Session) {
    scene_on(Stage::new(Profile::Literal).await).await
}

/// The same before a gateway whose files nobody reads.
async fn scene_without_files() -> (Stage, TestDevice, Session, Session) {
    let stage = Stage::with(Profile::Literal, |setup| {
        setup.config =
            "[gateway]\nstore = \"control\"\n[policy]\nentitled_repairs = \"off\"\n".into();
    });
    let stage = stage.await;
    stage.delegate().await;
    scene_on(stage).await
}

async fn scene_on(stage: Stage) -> (Stage, TestDevice, Session, Session) {
    let device = stage.paired(LEGACY);
    let connect = stage.through().device(&device).scopes(&[READ]);
    let session = until(&connect, "it is known", |outcome| outcome.session.is_some());
    let session = session.await.admitted();
    let owner = stage
        .direct()
        .device(&stage.paired(FULL))
        .scopes(FULL)
        .run()
        .await
        .admitted();
    (stage, device, session, owner)
}

/// Between two attempts of one client.
const PAUSE: Duration = Duration::from_millis(800);

/// The session is closed within a second, by 1008, with a reason that says why.
async fn closes(mut session: Session, why: &str) {
    let (code, reason) = timeout(Duration::from_secs(1), session.closed())
        .await
        .expect("closed within a second");
    assert_eq!(code, 1008);
    assert!(
        reason.starts_with("scope-shim: ") && reason.contains(why),
        "{reason}"
    );
}

#[tokio::test]
async fn a_session_ends_when_its_device_is_removed() {
    let (_stage, device, session, mut owner) = scene().await;
    owner
        .call("device.pair.remove", json!({"deviceId": device.id()}))
        .await
        .unwrap();
    closes(session, "was removed").await;
}

#[tokio::test]
async fn a_session_ends_when_its_devices_token_is_revoked() {
    let (_stage, device, session, mut owner) = scene().await;
    let params = json!({"deviceId": device.id(), "role": "operator"});
    owner.call("device.token.revoke", params).await.unwrap();
    closes(session, "was revoked").await;
}

#[tokio::test]
async fn it_ends_as_soon_where_the_gateway_has_to_be_asked_and_nobody_comes_in_anew() {
    for (method, more, why) in [
        ("device.pair.remove", None, "was removed"),
        ("device.token.revoke", Some("operator"), "was revoked"),
    ] {
        let (stage, device, session, mut owner) = scene_without_files().await;
        let mut params = json!({"deviceId": device.id()});
        if let Some(role) = more {
            params["role"] = role.into();
        }
        owner.call(method, params).await.unwrap();
        closes(session, why).await;
        let again = stage.through().device(&device).scopes(&[READ]).remote();
        let again = again.run().await;
        assert!(again.session.is_none(), "{method}: {again:?}");
    }
}

#[tokio::test]
async fn a_device_whose_token_was_revoked_gets_nothing_back_by_way_of_the_shim() {
    for profile in [Profile::Pending, Profile::Latest] {
        let stage = Stage::new(profile).await;
        let device = stage.paired(&[READ]);
        let owner = stage.direct().device(&stage.paired(FULL)).scopes(FULL);
        let mut owner = owner.platform("linux").run().await.admitted();
        let params = json!({"deviceId": device.id(), "role": "operator"});
        owner.call("device.token.revoke", params).await.unwrap();
        let (direct, through) = stage.both(|connect| {
            let connect = connect.device(&device).scopes(&[READ]).remote();
            connect.platform("another")
        });
        let (direct, through) = (direct.run().await, through.run().await);
        assert!(direct.session.is_none(), "{profile:?}");
        assert!(through.session.is_none(), "{profile:?}: {through:?}");
    }
}

#[tokio::test]
async fn a_browsers_token_that_died_with_the_shared_secret_stays_dead() {
    let stage = Stage::new(Profile::Latest).await;
    let device = TestDevice::new();
    let token = stage.pair(&device, &[READ]);
    let database = rusqlite::Connection::open(stage.state().join("state/openclaw.sqlite")).unwrap();
    let stale = "UPDATE device_pairing_paired SET tokens_json = json_set(tokens_json, '$.operator.issuer', \
                 json('{\"kind\": \"shared-gateway-auth\", \"generation\": \"0\"}'))";
    assert_eq!(database.execute(stale, []).unwrap(), 1);
    for platform in ["linux", "another"] {
        let (direct, through) = stage.both(|connect| {
            let connect = connect.without_token().device_token(&token);
            connect.device(&device).scopes(&[READ]).platform(platform)
        });
        let (direct, through) = (direct.run().await, through.run().await);
        assert_eq!(direct.detail(), "AUTH_DEVICE_TOKEN_MISMATCH", "{platform}");
        assert_eq!(through.detail(), "AUTH_DEVICE_TOKEN_MISMATCH", "{platform}");
    }
    // As often as somebody likes, by a client that goes on by itself, and never quite the same.
    stage.delegate().await;
    for attempt in 0..3 {
        sleep(PAUSE).await;
        let connect = stage.through().client("gateway-client", "ui");
        let connect = connect.without_token().device_token(&token);
        let connect = connect.device(&device).scopes(&[READ]).platform("linux");
        let connect = match attempt {
            0 => connect,
            1 => connect.tampered(|params| params["locale"] = json!("de")),
            _ => connect.tampered(|params| params["locale"] = json!("fr")),
        };
        let outcome = connect.run().await;
        assert!(outcome.session.is_none(), "attempt {attempt}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_session_ends_when_its_device_is_narrowed_below_it() {
    let (stage, device, session, _owner) = scene().await;
    let narrow = |records: &mut Value| records[device.id()]["scopes"] = json!(["operator.pairing"]);
    edit_store(&stage.state(), narrow);
    closes(session, "no longer approved for read").await;
}

#[tokio::test]
async fn a_session_ends_when_its_device_id_gets_another_key() {
    let (stage, device, session, _owner) = scene().await;
    let swap = |records: &mut Value| {
        records[device.id()]["publicKey"] = json!(TestDevice::new().public_key())
    };
    edit_store(&stage.state(), swap);
    closes(session, "paired anew").await;
}

#[tokio::test]
async fn a_session_outlives_changes_that_do_not_concern_it() {
    let (stage, device, mut session, mut owner) = scene().await;
    let other = stage.paired(LEGACY);
    owner
        .call("device.pair.remove", json!({"deviceId": other.id()}))
        .await
        .unwrap();
    edit_store(&stage.state(), |records| {
        records[device.id()]["scopes"] = json!([WRITE])
    });
    // By the time a session of a removed device would be closed, this one still answers.
    let (_, removed) = (other, stage.paired(LEGACY));
    let victim = stage
        .through()
        .device(&removed)
        .scopes(&[READ])
        .run()
        .await
        .admitted();
    owner
        .call("device.pair.remove", json!({"deviceId": removed.id()}))
        .await
        .unwrap();
    closes(victim, "was removed").await;
    assert_eq!(session.verdict("system-presence", json!({})).await, "OK");
}

#[tokio::test]
async fn a_narrowed_device_gets_no_new_session_within_a_moment() {
    let (stage, device, session, _owner) = scene().await;
    edit_store(&stage.state(), |records| {
        records[device.id()]["scopes"] = json!(["operator.pairing"])
    });
    closes(session, "no longer approved").await;
    let again = stage.through().device(&device).scopes(&[READ]).run().await;
    assert!(again.session.is_none());
}

#[tokio::test]
async fn policing_works_on_the_state_database_too() {
    let stage = Stage::new(Profile::Latest).await;
    let device = stage.paired(FULL);
    let connect = stage
        .through()
        .device(&device)
        .platform("darwin")
        .scopes(&[READ]);
    let session = connect.run().await.admitted();
    let mut owner = stage
        .direct()
        .device(&stage.paired(FULL))
        .scopes(FULL)
        .run()
        .await
        .admitted();
    owner
        .call("device.pair.remove", json!({"deviceId": device.id()}))
        .await
        .unwrap();
    closes(session, "was removed").await;
}

/// Replaces the pairing file whole, as the gateway does, as readable as it was.
pub fn edit_store(state: &Path, edit: impl FnOnce(&mut Value)) {
    let path = state.join("devices/paired.json");
    let mut records: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    edit(&mut records);
    let draft = path.with_extension("draft");
    std::fs::write(&draft, records.to_string()).unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions();
    std::fs::set_permissions(&draft, mode).unwrap();
    std::fs::rename(draft, path).unwrap();
}

#[tokio::test]
async fn a_client_that_takes_nothing_cannot_keep_its_session_open() {
    let (client, client_end) = pair().await;
    let (mut gateway, gateway_end) = pair().await;
    let (stop, stopped) = oneshot::channel::<()>();
    let close = async move {
        let _ = stopped.await;
        Close::new(1008, "no longer approved")
    };
    let relaying = tokio::spawn(relay(
        wire(client_end),
        wire(gateway_end),
        None,
        Stop::Between(Box::pin(close)),
        None,
        Default::default(),
        (),
    ));
    // More than any socket holds: the relay is in the middle of a frame that its client does not take.
    let frame = encode(Opcode::Binary, &vec![0; 64 << 20], None);
    tokio::spawn(async move { gateway.write_all(&frame).await });
    client.peek(&mut [0; 1]).await.unwrap();
    stop.send(()).unwrap();
    let ended = timeout(Duration::from_secs(20), relaying).await.unwrap();
    assert!(was_stopped(&ended.unwrap().unwrap_err()));
}
