#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::fs;

use tempfile::TempDir;

use super::*;

/// A state directory with `openclaw.json`, and what is found in it.
struct State {
    directory: TempDir,
    variables: Vec<(&'static str, &'static str)>,
}

impl State {
    fn new(config: impl AsRef<[u8]>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("openclaw.json"), config).unwrap();
        Self {
            directory,
            variables: Vec::new(),
        }
    }

    fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.variables.push((name, value));
        self
    }

    fn file(self, name: &str, text: &str) -> Self {
        let path = self.directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn discover(&self) -> GatewayFacts {
        let environment = Environment::from_iter(self.variables.clone());
        discover(Some(self.directory.path()), &environment, 18_780)
    }
}

fn codes(facts: &GatewayFacts) -> Vec<&'static str> {
    facts.findings.iter().map(|finding| finding.code).collect()
}

/// The kind and the secret, for comparison.
fn auth(facts: &GatewayFacts) -> String {
    let secret = facts.auth.secret().map_or("", Secret::reveal);
    facts.auth.to_string().replace("***", secret)
}

#[test]
fn a_usual_configuration_tells_everything() {
    let facts = State::new(
        r#"{
            // as the wizard writes it, with what people add
            gateway: {
                port: 19001, bind: 'lan',
                auth: { mode: "token", token: "tok" },
                trustedProxies: ["127.0.0.2", "10.0.0.0/8",],
                controlUi: { allowedOrigins: ["https://ui.example"] },
                nodes: { pairing: { autoApproveLocal: false } },
                tls: { enabled: true },
            },
        }"#,
    )
    .discover();
    assert_eq!(facts.port, Some(19001));
    assert!(facts.port_from.ends_with("openclaw.json: gateway.port"));
    assert_eq!(facts.host.as_deref(), Some("127.0.0.1"));
    assert_eq!(facts.tls, Some(true));
    assert_eq!(auth(&facts), "token tok");
    assert_eq!(facts.trusted_proxies.as_ref().map(Vec::len), Some(2));
    assert_eq!(facts.auto_approve_local, Some(false));
    assert_eq!(
        facts.allowed_origins,
        Some(vec!["https://ui.example".to_owned()])
    );
    assert_eq!(codes(&facts), Vec::<&str>::new());
}

#[test]
fn an_empty_configuration_has_the_gateways_defaults() {
    let facts = State::new("{}").discover();
    assert_eq!((facts.port, facts.tls), (None, Some(false)));
    assert_eq!(facts.auto_approve_local, Some(true));
    assert_eq!(facts.trusted_proxies, Some(vec![]));
    assert_eq!(codes(&facts), ["gateway-secret-unknown"]);
}

#[test]
fn a_configuration_without_a_token_is_told_from_one_that_needs_none() {
    for (config, lacks) in [
        ("{}", true),
        ("{gateway: {auth: {mode: 'token', token: ' '}}}", true),
        (
            "{gateway: {auth: {mode: 'token', token: '${NOT_HERE}'}}}",
            false,
        ),
        ("{gateway: {auth: {token: 't'}}}", false),
        ("{gateway: {auth: {password: 'p'}}}", false),
        ("{gateway: {auth: {mode: 'none'}}}", false),
        ("{gateway: {auth: {mode: 7}}}", false),
    ] {
        assert_eq!(State::new(config).discover().lacks_token, lacks, "{config}");
    }
    let variable = State::new("{}").with("OPENCLAW_GATEWAY_TOKEN", "t");
    assert!(!variable.discover().lacks_token);
}

#[test]
fn the_secret_follows_the_gateways_precedence() {
    let both = "{gateway: {auth: {token: 'from-file'}}}";
    let facts = State::new(both)
        .with("OPENCLAW_GATEWAY_TOKEN", "from-variable")
        .discover();
    assert_eq!(auth(&facts), "token from-file");

    let facts = State::new("{}")
        .with("OPENCLAW_GATEWAY_TOKEN", "from-variable")
        .discover();
    assert_eq!(auth(&facts), "token from-variable");
    assert_eq!(facts.auth_from, "OPENCLAW_GATEWAY_TOKEN");

    let facts = State::new("{}")
        .with("OPENCLAW_GATEWAY_TOKEN", "t")
        .with("OPENCLAW_GATEWAY_PASSWORD", "p")
        .discover();
    assert_eq!(auth(&facts), "password p");

    let facts =
        State::new("{gateway: {auth: {mode: 'token', password: 'p', token: 't'}}}").discover();
    assert_eq!(auth(&facts), "token t");

    let facts = State::new("{gateway: {auth: {mode: 'none', token: 't'}}}").discover();
    assert_eq!(auth(&facts), "none");
}

#[test]
fn a_secret_may_be_in_a_variable_of_any_of_three_places() {
    let config = "{env: {IN_CONFIG: 'c', vars: {IN_VARS: 'v'}}, gateway: {auth: {token: '%'}}}";
    for (token, expected) in [
        ("${PROCESS}", "token p"),
        ("$PROCESS", "token p"),
        ("a${PROCESS}b", "token apb"),
        ("$${PROCESS}", "token ${PROCESS}"),
        ("${IN_FILE}", "token f"),
        ("${IN_CONFIG}", "token c"),
        ("${IN_VARS}", "token v"),
        ("${NOWHERE}", "unknown"),
    ] {
        let facts = State::new(config.replace('%', token))
            .with("PROCESS", "p")
            .file(".env", "IN_FILE=f\nPROCESS=not-this")
            .discover();
        assert_eq!(auth(&facts), expected, "{token}");
    }
}

#[test]
fn a_secret_reference_is_followed_or_named() {
    let reference = |text: &str| format!("{{gateway: {{auth: {{token: {text}}}}}}}");
    let env = "{source: 'env', provider: 'default', id: 'TOK'}";
    let facts = State::new(reference(env)).with("TOK", "t").discover();
    assert_eq!(auth(&facts), "token t");
    assert!(facts.auth_from.ends_with("gateway.auth.token, TOK"));

    let exec = reference("{source: 'exec', provider: 'vault', id: 'gateway/token'}");
    let facts = State::new(&exec).discover();
    assert_eq!(auth(&facts), "unknown");
    let finding = facts.findings.first().unwrap();
    assert!(finding.message.contains("\"exec\""), "{finding}");
    assert_eq!(
        finding.fix.as_deref(),
        Some("give SCOPE_SHIM_GATEWAY_TOKEN, or gateway.token_file")
    );
    let facts = State::new(&exec)
        .with("OPENCLAW_GATEWAY_TOKEN", "t")
        .discover();
    assert_eq!(auth(&facts), "token t");
}

#[test]
fn a_trusted_proxy_names_its_header_and_the_switch_it_needs() {
    let facts = State::new(
        "{gateway: {auth: {mode: 'trusted-proxy', trustedProxy: {userHeader: 'X-User', allowLoopback: true}}}}",
    )
    .discover();
    assert_eq!(auth(&facts), "trusted-proxy, user in x-user");
    assert_eq!(codes(&facts), Vec::<&str>::new());
    let facts = State::new("{gateway: {auth: {mode: 'trusted-proxy'}}}").discover();
    assert_eq!(
        codes(&facts),
        [
            "gateway-trusted-proxy-loopback",
            "gateway-user-header-missing"
        ]
    );
}

#[test]
fn a_port_variable_counts_only_when_it_cannot_mean_the_shim() {
    let port = |config: &str, variable: &'static str| {
        let facts = State::new(config)
            .with("OPENCLAW_GATEWAY_PORT", variable)
            .discover();
        let doubt = codes(&facts).contains(&"gateway-port-doubt");
        (facts.port, doubt)
    };
    assert_eq!(port("{}", "18780"), (None, false));
    assert_eq!(port("{}", "19000"), (Some(19000), false));
    assert_eq!(port("{}", "127.0.0.1:19000"), (Some(19000), false));
    assert_eq!(port("{}", "many"), (None, false));
    assert_eq!(
        port("{gateway: {port: 18789}}", "18780"),
        (Some(18789), false)
    );
    assert_eq!(
        port("{gateway: {port: 18789}}", "19000"),
        (Some(18789), true)
    );
    assert_eq!(port("{gateway: {port: 18789.0}}", ""), (Some(18789), false));
}

#[test]
fn includes_merge_as_the_gateway_does() {
    let facts = State::new(
        "{ $include: ['./base.json5', 'sub/more.json5'], gateway: { port: 3, trustedProxies: ['127.0.0.2'] } }",
    )
    .file("base.json5", "{gateway: {port: 1, bind: 'lan', trustedProxies: ['::1']}}")
    .file("sub/more.json5", "{gateway: {$include: './deep.json5'}}")
    .file("sub/deep.json5", "{auth: {token: 'deep'}}")
    .discover();
    assert_eq!(facts.port, Some(3));
    assert_eq!(auth(&facts), "token deep");
    assert_eq!(facts.trusted_proxies.as_ref().map(Vec::len), Some(2));
    assert_eq!(codes(&facts), Vec::<&str>::new());
}

#[test]
fn an_include_that_cannot_be_used_is_named_and_the_rest_holds() {
    for include in [
        "'/etc/passwd'",
        "'../x'",
        "'missing'",
        "'openclaw.json'",
        "7",
        "['loop.json']",
    ] {
        let facts = State::new(format!(
            "{{$include: {include}, gateway: {{port: 3, auth: {{token: 't'}}}}}}"
        ))
        .file("loop.json", "{$include: './loop.json'}")
        .discover();
        assert_eq!(codes(&facts), ["gateway-include-unusable"], "{include}");
        assert_eq!((facts.port, auth(&facts).as_str()), (Some(3), "token t"));
    }
}

#[test]
fn a_file_that_is_to_be_included_is_named_without_acting_on_the_terminal() {
    let facts = State::new(r"{$include: '\u001b[31m', gateway: {auth: {mode: 'none'}}}").discover();
    assert_eq!(codes(&facts), ["gateway-include-unusable"]);
    assert!(!facts.findings[0].message.contains('\u{1b}'));
}

#[test]
fn an_entry_that_is_no_proxy_is_told_as_it_is_written() {
    let facts = State::new(
        "{env: {B: 's3cret'}, gateway: {auth: {token: '${B}'}, trustedProxies: ['${B}']}}",
    )
    .discover();
    assert_eq!(codes(&facts), ["gateway-trusted-proxy-invalid"]);
    assert!(facts.findings[0].message.contains("\"${B}\""));
}

#[test]
fn a_hostile_configuration_is_a_finding_and_nothing_worse() {
    let deep = format!("{}1{}", "{a:".repeat(100_000), "}".repeat(100_000));
    let large = format!("{{a: \"{}\"}}", "x".repeat(10 * 1024 * 1024));
    let truncated = "{gateway: {auth: {token: 's3cret";
    for (config, expected) in [
        (deep.as_bytes(), "deeper than 128 levels"),
        (large.as_bytes(), "larger than 1024 KiB"),
        (truncated.as_bytes(), "EOF parsing string"),
        (b"\xff\xfe{".as_slice(), "not UTF-8"),
        (b"".as_slice(), "EOF parsing value"),
        (b"[]".as_slice(), "expected an object, found a list"),
    ] {
        let facts = State::new(config).discover();
        let finding = facts.findings.first().unwrap();
        assert_eq!(finding.code, "gateway-config-unusable");
        assert!(finding.message.contains(expected), "{finding}");
        assert!(!finding.to_string().contains("s3cret"), "{finding}");
        assert!(facts.config_file.is_none() && facts.trusted_proxies.is_none());
    }
}

#[test]
fn values_of_the_wrong_kind_are_named_without_being_shown() {
    let facts = State::new(
        r#"{gateway: {port: "s3cret", bind: 7, tls: {enabled: "s3cret"}, trustedProxies: [1, "s3cret"],
            nodes: "s3cret", controlUi: {allowedOrigins: "s3cret"}, auth: {mode: ["s3cret"], token: 7}}}"#,
    )
    .discover();
    assert_eq!(
        codes(&facts),
        [
            "gateway-config-type",
            "gateway-config-type",
            "gateway-config-type",
            "gateway-config-type",
            "gateway-trusted-proxy-invalid",
            "gateway-config-type",
            "gateway-config-type",
        ]
    );
    let first = facts.findings.first().unwrap();
    assert!(
        first.message.ends_with(
            "gateway.tls.enabled: expected true or false, found a text; the shim ignores it"
        ),
        "{first}"
    );
    assert_eq!(
        facts.trusted_proxies_listed,
        Some(2),
        "the next one is the third"
    );
    assert_eq!(facts.port, None);
}

#[test]
fn the_gateways_own_rules_find_the_directory() {
    let home = tempfile::tempdir().unwrap();
    let environment = |extra: Vec<(&str, String)>| {
        let home = home.path().display().to_string();
        Environment::from_iter([vec![("HOME", home)], extra].concat())
    };
    let found = |extra| {
        let facts = discover(None, &environment(extra), 1);
        let state = facts.state.unwrap();
        (
            state.strip_prefix(home.path()).unwrap().to_owned(),
            facts.state_from,
        )
    };
    assert_eq!(found(vec![]).0, Path::new(".openclaw"));
    fs::create_dir(home.path().join(".moltbot")).unwrap();
    assert_eq!(found(vec![]).0, Path::new(".moltbot"));
    fs::create_dir(home.path().join(".clawdbot")).unwrap();
    assert_eq!(found(vec![]).0, Path::new(".clawdbot"));
    fs::create_dir(home.path().join(".openclaw")).unwrap();
    assert_eq!(found(vec![]).0, Path::new(".openclaw"));
    let told = found(vec![("OPENCLAW_STATE_DIR", "~/other".to_owned())]);
    assert_eq!(
        told,
        (PathBuf::from("other"), "OPENCLAW_STATE_DIR".to_owned())
    );

    let elsewhere = home.path().join("nix.json");
    fs::write(&elsewhere, "{gateway: {port: 5}}").unwrap();
    let variable = ("OPENCLAW_CONFIG_PATH", elsewhere.display().to_string());
    let facts = discover(None, &environment(vec![variable.clone()]), 1);
    assert_eq!((facts.port, facts.config_file), (Some(5), Some(elsewhere)));

    let told = State::new("{gateway: {port: 6}}");
    let facts = discover(Some(told.directory.path()), &environment(vec![variable]), 1);
    assert_eq!(
        facts.port,
        Some(6),
        "a directory that the shim was told counts first"
    );
}

#[test]
fn a_client_only_configuration_and_a_tailnet_gateway_are_named() {
    let facts = State::new("{gateway: {mode: 'remote', auth: {token: 't'}}}").discover();
    assert_eq!(codes(&facts), ["gateway-mode-remote"]);
    let facts = State::new("{gateway: {bind: 'tailnet', auth: {token: 't'}}}").discover();
    assert_eq!(codes(&facts), ["gateway-bind-tailnet"]);
    let facts = State::new("{gateway: {bind: 'custom', customBindHost: '10.1.2.3'}}").discover();
    assert_eq!(facts.host.as_deref(), Some("10.1.2.3"));
}

#[test]
fn the_release_that_wrote_the_file_last_is_known() {
    let facts = State::new(r#"{meta: {lastTouchedVersion: "2026.4.21"}, gateway: {}}"#).discover();
    assert_eq!(facts.last_touched.as_deref(), Some("2026.4.21"));
}

#[test]
fn users_are_admitted_as_the_gateway_does_now_and_the_shims_own_way_in_stays() {
    let proxy = |header: &str, users: &[&str], password: &str| GatewayAuth::TrustedProxy {
        user_header: header.to_owned(),
        required_headers: Vec::new(),
        allow_users: users.iter().map(|user| (*user).to_owned()).collect(),
        password: Some(Secret::new(password)),
    };
    let after = |now: &GatewayAuth| {
        let mut auth = proxy("x-user", &["alice", "bob"], "old");
        auth.admit_users_of(now);
        auth
    };
    let fewer = after(&proxy("x-user", &["bob"], "new"));
    assert_eq!(fewer, proxy("x-user", &["bob"], "old"));
    let nobody = GatewayAuth::Password(Secret::new("old"));
    assert_eq!(after(&proxy("x-other", &["alice"], "new")), nobody);
    assert_eq!(after(&GatewayAuth::None), nobody);
    let mut token = GatewayAuth::Token(Secret::new("old"));
    token.admit_users_of(&proxy("x-user", &["alice"], "new"));
    assert_eq!(token, GatewayAuth::Token(Secret::new("old")));
}
