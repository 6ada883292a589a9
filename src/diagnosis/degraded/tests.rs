#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use super::*;
use crate::handshake::message::DeviceProof;
use crate::identity::Circumstances;

struct Session {
    claims: Claims,
    decision: Decision,
    mode: Mode,
    visit: Visit,
    auth: GatewayAuth,
}

impl Default for Session {
    /// A remote client without a device, which asks for `read` and `write`.
    fn default() -> Self {
        Self {
            claims: Claims {
                role: "operator".into(),
                scopes: vec!["operator.read".into(), "operator.write".into()],
                client_id: "cli".into(),
                client_mode: "probe".into(),
                ..Claims::default()
            },
            decision: Decision::Pass(Pass::Unidentified(Unidentified::NoDevice)),
            mode: Mode::On,
            visit: Visit {
                circumstances: Circumstances {
                    direct_local: false,
                    has_origin: false,
                },
                user: None,
                cap: None,
                origin: None,
                host: None,
            },
            auth: GatewayAuth::Unknown,
        }
    }
}

impl Session {
    fn met(&self, server: Value, auth: Option<Value>) -> Option<Diagnosis> {
        let mut hello = json!({"type": "res", "ok": true, "payload": {"server": server}});
        if let Some(auth) = auth {
            hello["payload"]["auth"] = auth;
        }
        diagnose(&Case {
            claims: &self.claims,
            decision: &self.decision,
            mode: self.mode,
            visit: &self.visit,
            address: [203, 0, 113, 9].into(),
            auth: &self.auth,
            hello: &hello,
        })
    }

    fn on(&self, version: &str) -> Option<Diagnosis> {
        let auth = (Version::parse(version).unwrap() >= FIRST_WITH_LIST)
            .then(|| json!({"role": "operator", "scopes": []}));
        self.met(json!({"version": version}), auth)
    }
}

fn has_a_device(session: &mut Session) {
    session.claims.device = Some(DeviceProof {
        id: "d".into(),
        public_key: String::new(),
        signature: String::new(),
        signed_at_ms: 0,
        nonce: None,
    });
}

#[test]
fn a_client_without_a_device_is_explained_on_every_gateway_that_clears_and_on_no_other() {
    let session = Session::default();
    let early = json!({"version": "dev", "host": "h"});
    let told = session.met(early, None).unwrap();
    assert_eq!(told.code, Code::DeviceLess);
    let keeps = json!({"version": "dev"});
    assert_eq!(session.met(keeps, None), None, "2026.2.26 keeps them");
    for version in [
        "2026.3.13",
        "2026.3.24",
        "2026.4.21",
        "2026.7.1",
        "2026.9.6",
    ] {
        assert_eq!(
            session.on(version).unwrap().code,
            Code::DeviceLess,
            "{version}"
        );
    }
}

#[test]
fn what_hello_lists_is_not_missing() {
    let listed = |scopes: Value| {
        let auth = json!({"role": "operator", "scopes": scopes});
        Session::default().met(json!({"version": "2026.9.6"}), Some(auth))
    };
    assert_eq!(listed(json!(["operator.admin"])), None);
    assert_eq!(
        listed(json!(["operator.write"])),
        None,
        "write implies read"
    );
    let told = listed(json!(["operator.read"])).unwrap();
    assert_eq!(told.data["missing"], json!(["operator.write"]));
}

#[test]
fn a_token_list_of_an_early_gateway_is_not_taken_for_the_connections() {
    let mut session = Session::default();
    has_a_device(&mut session);
    let narrow = json!({"role": "operator", "scopes": ["operator.read"]});
    let of = |version: &str| session.met(json!({"version": version}), Some(narrow.clone()));
    assert_eq!(of("2026.7.1"), None);
    assert_eq!(of("2026.8.2").unwrap().code, Code::NarrowToken);
}

#[test]
fn a_cap_is_named_before_anything_else() {
    let mut session = Session::default();
    has_a_device(&mut session);
    session.visit.cap = Some(["operator.read"].into_iter().collect());
    let narrow = json!({"role": "operator", "scopes": ["operator.read"]});
    let told = session
        .met(json!({"version": "2026.9.6"}), Some(narrow))
        .unwrap();
    assert_eq!(told.code, Code::ScopeCap);
    assert!(
        told.sentence
            .contains("x-openclaw-scopes of its proxy allows read"),
        "{}",
        told.sentence
    );
}

#[test]
fn whoever_asks_for_nothing_or_is_a_node_lacks_nothing() {
    let mut session = Session::default();
    session.claims.role = "node".into();
    assert_eq!(session.on("2026.9.6"), None);
    session = Session::default();
    session.claims.scopes.clear();
    assert_eq!(session.on("2026.9.6"), None);
}

#[test]
fn a_page_that_a_switch_may_have_spared_is_left_alone() {
    let mut session = Session::default();
    session.claims.client_id = CONTROL_UI.into();
    assert_eq!(session.on("2026.3.13"), None);
    assert!(session.on("2026.4.21").is_some(), "hello says it there");
    session.auth = GatewayAuth::trusted_proxy("x-user");
    assert_eq!(
        session.on("2026.3.13"),
        None,
        "keeps what a proxied page asks for"
    );
    assert_eq!(session.on("2026.3.24").unwrap().code, Code::ProxyUser);
}

#[test]
fn a_client_that_asks_for_thousands_does_not_get_them_back_with_each_answer() {
    let mut session = Session::default();
    session.claims.scopes = (0..5_000).map(|n| format!("operator.{n}")).collect();
    let told = session.on("2026.9.6").unwrap();
    assert!(told.sentence.len() < 1_000, "{}", told.sentence.len());
    assert!(told.data["missing"].as_array().unwrap().len() <= 12);
}

/// Each reason why the shim did not stand in, in its own words.
#[test]
fn every_reason_has_its_own_remedy() {
    let unidentified = |why| Decision::Pass(Pass::Unidentified(why));
    let page = |origin: &str| Visit {
        circumstances: Circumstances {
            direct_local: true,
            has_origin: true,
        },
        origin: Some(origin.to_owned()),
        user: None,
        cap: None,
        host: None,
    };
    let mut sessions: Vec<Session> = Vec::new();
    for decision in [
        unidentified(Unidentified::NoDevice),
        unidentified(Unidentified::DeviceLessOff),
        unidentified(Unidentified::NothingSilent),
        unidentified(Unidentified::StoreUnreadable),
        Decision::Pass(Pass::NotEntitled(ScopeSet::new())),
        Decision::Pass(Pass::NoDelegate(ScopeSet::new())),
    ] {
        sessions.push(Session {
            decision,
            ..Session::default()
        });
    }
    for origin in [
        "http://192.0.2.1:18789",
        "http://localhost:5173",
        "https://ui.example",
    ] {
        sessions.push(Session {
            visit: page(origin),
            ..Session::default()
        });
    }
    let mut observed = Session {
        mode: Mode::Observe,
        ..Session::default()
    };
    observed.decision = Decision::Rewrite(crate::decide::Rewrite::DeviceLess);
    sessions.push(observed);
    let told: Vec<String> = sessions
        .iter()
        .map(|session| session.on("2026.9.6").unwrap())
        .map(|told| format!("{}: {}", told.code, told.sentence))
        .collect();
    insta::assert_snapshot!(told.join("\n"));
}
