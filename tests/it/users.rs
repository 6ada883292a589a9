use std::time::Duration;

use scope_shim::admin::Client;
use scope_shim::demo::simulated::Profile;
use serde_json::json;
use tokio::time::sleep;

use crate::stage::{Stage, eventually};
use crate::support::client::{Connect, FULL};
use crate::support::device::TestDevice;

/// Between two attempts of one client.
const PAUSE: Duration = Duration::from_millis(800);
const PASSWORD: &str = "past-the-proxy";
const USERS: &str = r#"
[policy.users."alice@example.com"]
scopes = ["operator.admin"]
[policy.users."bob@example.com"]
scopes = ["operator.read"]
[policy.users."mallory@example.com"]
scopes = ["operator.admin"]
"#;

/// A gateway whose files say that a proxy names its users. What the simulated one asks for in their place is a password,
/// which everybody here knows: who comes in is not the question, but with which scopes.
async fn stage(profile: Profile, more: &str, sections: &str) -> Stage {
    let stage = Stage::with(profile, |setup| {
        setup.options.token = None;
        setup.options.password = Some(PASSWORD.to_owned());
        setup.options.trusted_proxies = vec!["127.0.0.2".into()];
        setup.config = format!("trusted_proxies = [\"127.0.0.3\"]\n{more}\n{sections}");
        setup.gateway_file = Some(json!({"gateway": {
            "trustedProxies": ["127.0.0.2"],
            "auth": {"mode": "trusted-proxy", "password": PASSWORD, "trustedProxy": {
                "userHeader": "X-Forwarded-User", "requiredHeaders": ["X-Forwarded-Proto"], "allowLoopback": true,
                "allowUsers": ["alice@example.com", "bob@example.com", "carol@example.com"],
            }},
        }}));
    })
    .await;
    stage.delegate().await;
    stage
}

/// The browser of a user without a device, as the proxy presents it.
fn page(stage: &Stage, user: &str) -> Connect {
    nameless(stage).header("X-Forwarded-User", user)
}

fn nameless(stage: &Stage) -> Connect {
    stage
        .through()
        .without_token()
        .password(PASSWORD)
        .from("127.0.0.3")
        .header("X-Forwarded-For", "203.0.113.9")
        .header("X-Forwarded-Proto", "https")
        .client("cli", "cli")
        .scopes(FULL)
}

const CLEARING: [Profile; 3] = [Profile::Clearing, Profile::Pending, Profile::Latest];

#[tokio::test]
async fn a_mapped_user_holds_what_the_map_says_and_is_told_so() {
    for profile in CLEARING {
        let stage = stage(profile, "", USERS).await;
        let mut alice = page(&stage, "alice@example.com").run().await;
        assert_eq!(alice.label().await, "ok rwAap", "{profile:?}");
        let mut bob = page(&stage, "bob@example.com").run().await;
        assert_eq!(bob.label().await, "ok r", "{profile:?}");
        assert_eq!(
            bob.hello.as_ref().unwrap()["auth"]["scopes"],
            json!(["operator.read"])
        );
        assert_eq!(bob.device_token(), None, "the delegate's is its own");
    }
}

#[tokio::test]
async fn who_gets_a_part_of_what_is_asked_for_is_not_told_as_repaired_alone() {
    for profile in CLEARING {
        let stage = stage(profile, "", USERS).await;
        let mut bob = page(&stage, "bob@example.com").run().await;
        assert_eq!(bob.label().await, "ok r", "{profile:?}");
        let mut alice = page(&stage, "alice@example.com").run().await;
        assert_eq!(alice.label().await, "ok rwAap", "{profile:?}");
        let socket = stage.dir.path().join("data/admin.sock");
        let status = Client::at(&socket).get("/status").await.unwrap();
        let why = |user: &str| {
            let recent = status["recent"].as_array().unwrap();
            let shown = recent
                .iter()
                .find(|one| one["who"] == format!("user {user}"));
            shown.unwrap()["why"].as_str().unwrap().to_owned()
        };
        let part = "in part: policy.users does not give this user";
        assert!(
            why("bob@example.com").contains(part),
            "{profile:?}: {status}"
        );
        assert!(
            !why("alice@example.com").contains(part),
            "{profile:?}: {status}"
        );
    }
}

#[tokio::test]
async fn a_cap_of_the_proxy_narrows_it() {
    let stage = stage(Profile::Pending, "", USERS).await;
    let capped = page(&stage, "alice@example.com").header("X-OpenClaw-Scopes", "operator.read");
    assert_eq!(capped.run().await.label().await, "ok r");
    let max = stage_with_max().await;
    let capped = page(&max, "alice@example.com");
    assert_eq!(capped.run().await.label().await, "ok r");
}

async fn stage_with_max() -> Stage {
    let sections = format!("[policy]\nmax_scopes = [\"operator.read\"]\n{USERS}");
    stage(Profile::Pending, "", &sections).await
}

#[tokio::test]
async fn everyone_else_has_what_they_have_without_the_shim() {
    for profile in CLEARING {
        let stage = stage(profile, "", USERS).await;
        let unmapped = page(&stage, "carol@example.com").run().await.label().await;
        let unnamed = nameless(&stage).run().await.label().await;
        for (what, connect) in [
            ("not among allowUsers", page(&stage, "mallory@example.com")),
            ("no user", page(&stage, " ")),
            (
                "two users",
                page(&stage, "bob@example.com").header("X-Forwarded-User", "alice@example.com"),
            ),
            ("another spelling", page(&stage, "Alice@example.com")),
            ("a name in a pattern", page(&stage, "*")),
            (
                "not through the proxy",
                page(&stage, "alice@example.com").from("127.0.0.4"),
            ),
            (
                "not through the proxy, local",
                page(&stage, "alice@example.com").from("127.0.0.1"),
            ),
        ] {
            let label = connect.run().await.label().await;
            assert!(!label.starts_with("ok r"), "{profile:?}, {what}: {label}");
        }
        assert!(!unmapped.starts_with("ok r"), "{profile:?}: {unmapped}");
        assert!(!unnamed.starts_with("ok r"), "{profile:?}: {unnamed}");
    }
}

#[tokio::test]
async fn a_user_without_all_that_the_gateway_requires_is_not_believed() {
    let stage = stage(Profile::Pending, "", USERS).await;
    let mut connect = page(&stage, "alice@example.com");
    connect
        .headers
        .retain(|(name, _)| name != "X-Forwarded-Proto");
    let label = connect.run().await.label().await;
    assert!(!label.starts_with("ok r"), "{label}");
}

#[tokio::test]
async fn a_user_who_shows_a_credential_of_its_own_is_the_gateways_to_judge() {
    for profile in CLEARING {
        let stage = stage(profile, "", USERS).await;
        for (what, connect) in [
            (
                "a device's token",
                page(&stage, "alice@example.com").device_token("stale"),
            ),
            (
                "a setup code",
                page(&stage, "alice@example.com").bootstrap_token("used"),
            ),
            (
                "another form",
                page(&stage, "alice@example.com")
                    .tampered(|params| params["auth"]["passkey"] = json!("x")),
            ),
        ] {
            let label = connect.run().await.label().await;
            assert!(!label.starts_with("ok r"), "{profile:?}, {what}: {label}");
        }
    }
}

#[tokio::test]
async fn a_user_is_not_let_in_where_the_gateway_wants_a_device() {
    let stage = stage(Profile::Literal, "", USERS).await;
    let (direct, through) = stage.both(|connect| Connect {
        addr: connect.addr,
        ..page(&stage, "alice@example.com")
            .client("openclaw-control-ui", "webchat")
            .header("Origin", &format!("http://{}", connect.addr))
    });
    let (direct, through) = (direct.run().await, through.run().await);
    assert!(direct.session.is_none(), "the gateway alone refuses");
    assert!(through.session.is_none(), "and so it does with the shim");
    let why = "this gateway wants a device of every user whom a proxy names";
    assert!(through.message().contains(why), "{through:?}");
}

#[tokio::test]
async fn the_rest_of_the_users_may_be_mapped_too() {
    let sections = format!("{USERS}[policy.users.\"*\"]\nscopes = [\"operator.write\"]\n");
    let stage = stage(Profile::Pending, "", &sections).await;
    let carol = page(&stage, "carol@example.com").run().await.label().await;
    assert_eq!(carol, "ok rw");
    let bob = page(&stage, "bob@example.com").run().await.label().await;
    assert_eq!(bob, "ok r", "who is named has what is said there");
    let mallory = page(&stage, "mallory@example.com")
        .run()
        .await
        .label()
        .await;
    assert!(!mallory.starts_with("ok r"), "{mallory}");
}

#[tokio::test]
async fn without_a_map_nothing_changes() {
    let stage = stage(Profile::Pending, "", "").await;
    let label = page(&stage, "alice@example.com").run().await.label().await;
    assert!(!label.starts_with("ok r"), "{label}");
}

#[tokio::test]
async fn observing_changes_nothing() {
    let stage = stage(Profile::Pending, "mode = \"observe\"", USERS).await;
    let label = page(&stage, "alice@example.com").run().await.label().await;
    assert!(!label.starts_with("ok r"), "{label}");
}

#[tokio::test]
async fn a_device_that_the_gateway_wants_paired_is_to_be_paired() {
    let stage = stage(Profile::Pending, "", USERS).await;
    let connect = page(&stage, "alice@example.com").device(&TestDevice::new());
    let outcome = connect.run().await;
    assert!(
        outcome.message().starts_with("pairing required"),
        "{outcome:?}"
    );
    // Nor does another one come in as its repeat.
    let page = |device: &TestDevice| {
        let page = page(&stage, "alice@example.com").client("gateway-client", "ui");
        page.device(device)
    };
    let loops = page(&TestDevice::new());
    for connect in [loops.clone(), loops, page(&TestDevice::new())] {
        sleep(PAUSE).await;
        let outcome = connect.run().await;
        assert!(outcome.session.is_none(), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_session_of_a_user_can_be_explained() {
    let stage = stage(Profile::Pending, "", USERS).await;
    page(&stage, "bob@example.com").run().await;
    let file = stage.dir.path().join("data/sessions.jsonl");
    let kept = eventually("the session is kept", || {
        let text = std::fs::read_to_string(&file).ok()?;
        text.contains("bob@example.com").then_some(text)
    })
    .await;
    assert!(
        kept.contains("policy.users maps bob@example.com to read"),
        "{kept}"
    );
    assert!(kept.contains("some of them"), "{kept}");
}
