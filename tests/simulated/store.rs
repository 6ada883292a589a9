//! The pairing store on disk: its shape, and that it is believed at once.

use rusqlite::Connection;
use scope_shim::demo::simulated::{Options, Profile, SimulatedGateway};
use serde_json::{Value, json};

use crate::support::client::{Connect, FULL, LEGACY, READ};
use crate::support::device::TestDevice;
use crate::wire::gateway;

#[tokio::test]
async fn records_are_files_up_to_2026_7() {
    let (gateway, state) = gateway(Profile::Clearing).await;
    let device = TestDevice::new();
    let client = Connect::to(gateway.addr())
        .token(gateway.token().unwrap())
        .device(&device);
    client.clone().scopes(&[READ]).run().await.admitted();
    TestDevice::new();
    let remote = TestDevice::new();
    client
        .device(&remote)
        .scopes(FULL)
        .header("x-forwarded-for", "203.0.113.9")
        .run()
        .await;

    let read = |name: &str| -> Value {
        let text = std::fs::read(state.path().join("devices").join(name)).unwrap();
        serde_json::from_slice(&text).unwrap()
    };
    let (paired, pending) = (read("paired.json"), read("pending.json"));
    let record = &paired[device.id()];
    assert_eq!(record["publicKey"], device.public_key());
    assert_eq!(record["approvedScopes"], json!([READ]));
    assert_eq!(record["tokens"]["operator"]["scopes"], json!([READ]));
    assert_eq!(record["platform"], "linux");
    let request = pending.as_object().unwrap().values().next().unwrap();
    assert_eq!(request["deviceId"], remote.id());
    assert_eq!(request["silent"], false);
    assert_eq!(gateway.paired().unwrap(), paired);
    assert_eq!(gateway.pending().unwrap(), pending);
}

#[tokio::test]
async fn records_are_rows_in_the_latest() {
    let (gateway, state) = gateway(Profile::Latest).await;
    let device = TestDevice::new();
    let client = Connect::to(gateway.addr())
        .token(gateway.token().unwrap())
        .device(&device);
    client.scopes(&[READ]).run().await.admitted();
    let reader = Connection::open(state.path().join("state/openclaw.sqlite")).unwrap();
    let mode: String = reader
        .query_row("PRAGMA journal_mode", [], |row| row.get(0))
        .unwrap();
    assert_eq!(mode, "wal");
    let row: (String, String, String) = reader
        .query_row(
            "SELECT device_id, approved_scopes_json, approved_via FROM device_pairing_paired",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .unwrap();
    assert_eq!(
        row,
        (
            device.id(),
            r#"["operator.read"]"#.to_owned(),
            "silent".to_owned()
        )
    );
    assert!(!state.path().join("devices").exists());
}

#[tokio::test]
async fn an_edited_file_is_believed_at_once() {
    let (gateway, state) = gateway(Profile::Literal).await;
    let device = TestDevice::new();
    gateway
        .pair(&device.id(), &device.public_key(), LEGACY, None)
        .unwrap();
    let client = Connect::to(gateway.addr())
        .token(gateway.token().unwrap())
        .device(&device);
    assert_eq!(
        client.clone().scopes(&[READ]).run().await.code(),
        "NOT_PAIRED"
    );
    let file = state.path().join("devices/paired.json");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("operator.approvals", READ)).unwrap();
    client.scopes(&[READ]).run().await.admitted();
}

#[tokio::test]
async fn a_seeded_device_connects_by_its_token() {
    for profile in Profile::ALL {
        let (gateway, _state) = gateway(profile).await;
        let device = TestDevice::new();
        let token = gateway
            .pair(&device.id(), &device.public_key(), LEGACY, Some("linux"))
            .unwrap();
        let client = Connect::to(gateway.addr())
            .token(&token)
            .device(&device)
            .scopes(LEGACY);
        client.run().await.admitted();
    }
}

#[tokio::test]
async fn silent_siblings_go_once_they_are_a_minute_old() {
    let (gateway, state) = gateway(Profile::Latest).await;
    let connect = |device: &TestDevice, name: &str| {
        let client = Connect::to(gateway.addr())
            .token(gateway.token().unwrap())
            .device(device);
        client.scopes(&[READ]).display_name(name)
    };
    let devices: Vec<TestDevice> = (0..4).map(|_| TestDevice::new()).collect();
    // One leaves, one stays connected, one has another name.
    connect(&devices[0], "same")
        .run()
        .await
        .admitted()
        .close()
        .await;
    let _stays = connect(&devices[1], "same").run().await.admitted();
    connect(&devices[2], "other")
        .run()
        .await
        .admitted()
        .close()
        .await;
    let database = Connection::open(state.path().join("state/openclaw.sqlite")).unwrap();
    let sql = "UPDATE device_pairing_paired SET approved_at_ms = approved_at_ms - 60000";
    assert_eq!(database.execute(sql, []).unwrap(), 3);
    connect(&devices[3], "same").run().await.admitted();
    let paired = gateway.paired().unwrap();
    let left: Vec<bool> = devices
        .iter()
        .map(|device| paired.get(device.id()).is_some())
        .collect();
    assert_eq!(left, [false, true, true, true]);
}

#[tokio::test]
async fn the_latest_can_be_told_not_to_approve_by_itself() {
    let state = tempfile::tempdir().unwrap();
    let options = Options {
        state_dir: state.path().to_owned(),
        auto_approve_local: false,
        ..Options::default()
    };
    let gateway = SimulatedGateway::start(options).await.unwrap();
    let client = Connect::to(gateway.addr())
        .token(gateway.token().unwrap())
        .device(&TestDevice::new());
    assert_eq!(client.scopes(&[READ]).run().await.reason(), "not-paired");
}

#[tokio::test]
async fn the_configuration_says_what_a_neighbour_needs() {
    let (gateway, state) = gateway(Profile::Clearing).await;
    let text = std::fs::read(state.path().join("openclaw.json")).unwrap();
    let config: Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(config["gateway"]["port"], gateway.addr().port());
    assert_eq!(
        config["gateway"]["auth"],
        json!({ "mode": "token", "token": gateway.token().unwrap() })
    );
}

#[tokio::test]
async fn the_host_has_a_device_where_its_version_keeps_it() {
    for profile in [Profile::Literal, Profile::Latest] {
        let state = tempfile::tempdir().unwrap();
        let options = Options {
            profile,
            state_dir: state.path().to_owned(),
            host_device: true,
            ..Options::default()
        };
        SimulatedGateway::start(options).await.unwrap();
        let (id, pem) = if profile == Profile::Literal {
            let text = std::fs::read(state.path().join("identity/device.json")).unwrap();
            let file: Value = serde_json::from_slice(&text).unwrap();
            assert_eq!(file["version"], 1);
            let text = |key: &str| file[key].as_str().unwrap().to_owned();
            (text("deviceId"), text("privateKeyPem"))
        } else {
            let reader = Connection::open(state.path().join("state/openclaw.sqlite")).unwrap();
            let sql = "SELECT device_id, private_key_pem FROM device_identities WHERE identity_key = 'primary'";
            reader
                .query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
                .unwrap()
        };
        assert_eq!(of_pem(&pem).id(), id);
    }
}

/// The device of a PKCS#8 key as Node writes it: the seed is the last 32 bytes.
fn of_pem(pem: &str) -> TestDevice {
    use base64::Engine as _;
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let der = base64::engine::general_purpose::STANDARD
        .decode(body)
        .unwrap();
    assert_eq!(der.len(), 48);
    TestDevice::from_seed(der[16..].try_into().unwrap())
}
