//! Each refusal that a gateway of each generation can produce arrives with the right finding, and with the codes that
//! clients act on.

use scope_shim::demo::simulated::Profile;
use serde_json::Value;

use crate::stage::{Setup, Stage, until};
use crate::support::client::{ADMIN, Connect, Nonce, Outcome, READ};
use crate::support::device::TestDevice;

/// What a client does wrong, and what it is to be told.
struct Fault {
    what: &'static str,
    finding: &'static str,
    make: fn(&Stage, Connect) -> Connect,
}

/// The same fault twice, once directly and once through the shim: the codes stay, the explanation is added.
async fn explained(stage: &Stage, fault: &Fault) {
    let title = format!("{}: {}", stage.gateway.profile().version(), fault.what);
    let direct = (fault.make)(stage, stage.direct()).run().await;
    let outcome = (fault.make)(stage, stage.through()).run().await;
    assert_eq!(finding(&outcome), fault.finding, "{title}: {outcome:?}");
    assert_eq!(outcome.code(), direct.code(), "{title}");
    assert_eq!(outcome.detail(), direct.detail(), "{title}");
    assert_eq!(outcome.reason(), direct.reason(), "{title}");
    let (code, reason) = outcome.close.as_ref().unwrap();
    assert_eq!(*code, direct.close.unwrap().0, "{title}");
    assert!(
        !reason.is_empty() && reason.len() <= 123,
        "{title}: {reason}"
    );
    if outcome.request_id() != "" {
        assert!(
            reason.contains(&format!("(requestId: {})", outcome.request_id())),
            "{title}: {reason}"
        );
    }
}

fn finding(outcome: &Outcome) -> &str {
    let error = outcome.error.as_ref();
    error
        .and_then(|error| error["details"]["scopeShim"]["finding"].as_str())
        .unwrap_or_default()
}

/// What every generation refuses.
const ANYWHERE: &[Fault] = &[
    Fault {
        what: "a fresh device from afar",
        finding: "not-paired",
        make: |_, connect| afar(connect).device(&TestDevice::new()).scopes(&[READ]),
    },
    Fault {
        what: "a node",
        finding: "node-pairing",
        make: |_, connect| afar(connect).device(&TestDevice::new()).role("node"),
    },
    Fault {
        what: "a wrong token with a paired device",
        finding: "wrong-secret",
        make: |stage, connect| {
            connect
                .token("wrong")
                .device(&stage.paired(&[READ]))
                .scopes(&[READ])
        },
    },
    Fault {
        what: "a wrong token without a device",
        finding: "wrong-secret",
        make: |_, connect| connect.token("wrong").scopes(&[READ]),
    },
    Fault {
        what: "no credential",
        finding: "missing-secret",
        make: |stage, connect| {
            connect
                .without_token()
                .device(&stage.paired(&[READ]))
                .scopes(&[READ])
        },
    },
    Fault {
        what: "neither device nor credential",
        finding: "device-required",
        make: |_, connect| connect.without_token().scopes(&[READ]),
    },
    Fault {
        what: "a password where a token is asked for",
        finding: "wrong-secret",
        make: |stage, connect| {
            let connect = connect.without_token().password("a-password");
            connect.device(&stage.paired(&[READ])).scopes(&[READ])
        },
    },
    Fault {
        what: "a page on plain HTTP",
        finding: "insecure-context",
        make: |_, connect| page(connect, "http://allowed.lan").scopes(&[READ]),
    },
    Fault {
        what: "a page from elsewhere",
        finding: "origin-not-allowed",
        make: |_, connect| {
            page(connect, "https://elsewhere.example")
                .device(&TestDevice::new())
                .scopes(&[READ])
        },
    },
    Fault {
        what: "a clock that is behind",
        finding: "clock-skew",
        make: |stage, connect| connect.device(&stage.paired(&[READ])).signed_ago(3600),
    },
    Fault {
        what: "another nonce",
        finding: "invalid-proof",
        make: |stage, connect| {
            connect
                .device(&stage.paired(&[READ]))
                .nonce(Nonce::Other("another".to_owned()))
        },
    },
    Fault {
        what: "a signature over another token",
        finding: "invalid-proof",
        make: |stage, connect| {
            connect
                .device(&stage.paired(&[READ]))
                .signing_token("another")
        },
    },
    Fault {
        what: "another protocol",
        finding: "protocol-mismatch",
        make: |_, connect| connect.protocol(1, 2),
    },
    Fault {
        what: "an unknown field",
        finding: "protocol-mismatch",
        make: |_, connect| connect.tampered(|params| params["zzz"] = true.into()),
    },
    Fault {
        what: "an unknown role",
        finding: "refused",
        make: |_, connect| connect.role("king"),
    },
];

/// Where a local device has to wait for more scopes.
const WAITING: &[Fault] = &[Fault {
    what: "a paired device that asks for more",
    finding: "scope-upgrade",
    make: |stage, connect| {
        connect
            .device(&stage.paired(&[READ]))
            .scopes(&[READ, ADMIN])
    },
}];

/// What the gateways with `auth.deviceToken` refuse.
const DEVICE_TOKENS: &[Fault] = &[
    Fault {
        what: "a device token that is not on record",
        finding: "stale-device-token",
        make: |stage, connect| {
            let connect = connect.without_token().device_token("not-on-record");
            connect.device(&stage.paired(&[READ])).scopes(&[READ])
        },
    },
    Fault {
        what: "a device token that is too narrow",
        finding: "narrow-token",
        make: |stage, connect| {
            let device = TestDevice::new();
            let token = stage.pair(&device, &[READ]);
            let connect = connect.without_token().device_token(&token);
            connect.device(&device).scopes(&[READ, ADMIN])
        },
    },
    Fault {
        what: "a setup code that is none",
        finding: "wrong-secret",
        make: |stage, connect| {
            let connect = connect.without_token().bootstrap_token("no-setup-code");
            connect.device(&stage.paired(&[READ])).scopes(&[READ])
        },
    },
];

fn afar(connect: Connect) -> Connect {
    connect
        .from("127.0.0.2")
        .header("X-Forwarded-For", "203.0.113.9")
}

fn page(connect: Connect, origin: &str) -> Connect {
    afar(connect)
        .client("openclaw-control-ui", "webchat")
        .header("Origin", origin)
}

async fn stage(profile: Profile) -> Stage {
    let stage = Stage::with(profile, |setup: &mut Setup| {
        setup.options.trusted_proxies = vec!["127.0.0.2".into()];
        setup.options.allowed_origins = vec!["http://allowed.lan".into()];
        setup.config =
            "trusted_proxies = [\"127.0.0.2\"]\n[gateway]\ntoken = \"simulated-token\"\n".into();
    })
    .await;
    stage.delegate().await;
    stage
}

#[tokio::test]
async fn every_refusal_is_explained_and_keeps_its_codes() {
    for profile in Profile::ALL {
        let stage = stage(profile).await;
        for fault in ANYWHERE {
            explained(&stage, fault).await;
        }
        if matches!(profile, Profile::Literal | Profile::Pending) {
            explained(&stage, &WAITING[0]).await;
        }
        if profile != Profile::Literal {
            for fault in DEVICE_TOKENS {
                explained(&stage, fault).await;
            }
        }
    }
}

#[tokio::test]
async fn the_third_new_device_of_one_client_is_told_that_its_identity_does_not_last() {
    let stage = stage(Profile::Pending).await;
    let again = || async {
        let connect = afar(stage.through())
            .device(&TestDevice::new())
            .scopes(&[READ]);
        finding(&connect.run().await).to_owned()
    };
    assert_eq!(again().await, "not-paired");
    assert_eq!(again().await, "not-paired");
    assert_eq!(again().await, "regenerated-identity");
}

#[tokio::test]
async fn a_device_that_only_the_shims_store_knows_is_told_that_the_store_is_another_gateways() {
    let stage = Stage::with(Profile::Pending, |setup| {
        setup.options.trusted_proxies = vec!["127.0.0.2".into()];
        setup.options.state_dir = setup.options.state_dir.with_file_name("elsewhere");
        setup.config =
            "trusted_proxies = [\"127.0.0.2\"]\n[gateway]\ntoken = \"simulated-token\"\n".into();
    })
    .await;
    stage.delegate().await;
    let device = stage.paired(&[READ]);
    let (its, the_shims) = (
        stage.dir.path().join("elsewhere/devices"),
        stage.state().join("devices"),
    );
    let records = std::fs::read_to_string(its.join("paired.json")).unwrap();
    std::fs::create_dir_all(&the_shims).unwrap();
    std::fs::write(the_shims.join("paired.json"), &records).unwrap();
    let mut records: Value = serde_json::from_str(&records).unwrap();
    records.as_object_mut().unwrap().remove(&device.id());
    std::fs::write(its.join("paired.json"), records.to_string()).unwrap();
    let connect = afar(stage.through()).device(&device).scopes(&[READ]);
    let told = |outcome: &Outcome| finding(outcome) == "store-mismatch";
    until(&connect, "the shim reads the other store", told).await;
}

/// The body of an upgrade that was refused.
fn body(outcome: &Outcome) -> Value {
    let (status, body) = outcome.http.as_ref().unwrap();
    assert_eq!(*status, 403);
    serde_json::from_str(body).unwrap()
}

#[tokio::test]
async fn a_forbidden_client_is_told_which_proxy_to_trust() {
    let unknown_proxy = Stage::new(Profile::Latest).await;
    let connect = unknown_proxy
        .through()
        .header("X-Forwarded-For", "203.0.113.9");
    let error = body(&connect.run().await)["error"].take();
    assert_eq!(error["type"], "proxy_attribution_required");
    assert_eq!(error["scopeShim"]["finding"], "untrusted-proxy");
    let said = error["message"].as_str().unwrap();
    assert!(said.contains("trusted_proxies = [\"127.0.0.1\"]"), "{said}");
    assert!(
        said.contains("Proxy client attribution is required"),
        "{said}"
    );

    let untrusted_shim = Stage::with(Profile::Latest, |setup| {
        setup.config = "trusted_proxies = [\"127.0.0.3\"]\n".into();
    })
    .await;
    let connect = untrusted_shim
        .through()
        .from("127.0.0.3")
        .header("X-Forwarded-For", "203.0.113.9");
    let error = body(&connect.run().await)["error"].take();
    assert_eq!(error["scopeShim"]["finding"], "shim-not-trusted");
    let said = error["message"].as_str().unwrap();
    assert!(said.contains("\"127.0.0.2\""), "{said}");
}
