use super::*;

#[test]
fn all_problems_are_reported_at_once_in_the_order_of_the_file() {
    let case = Case::new(
        "lisetn = '127.0.0.1:1'\n\
         mode = 'onn'\n\
         handshake_timeout = '1s'\n\
         trusted_proxies = ['10.0.0.0/8', 'proxy', 7]\n\
         gatway = {}\n\
         [limits]\n\
         connections = 0\n\
         header_timeout = 10\n\
         idle_timeout = 'never'\n\
         [cache]\n\
         tll = '3s'\n\
         [policy]\n\
         max_scopes = ['read', 'operator.*']\n\
         [policy.clients.cli]\n\
         grants = []\n",
    )
    .with("SCOPE_SHIM_LISTEN", "localhost:5")
    .flag("log.level", "--log-level", "verbose");
    insta::assert_snapshot!(case.problems(), @r#"
    --log-level: `log.level`: expected "off", "error", "warn", "info", "debug" or "trace", found "verbose"
      hint: the default is info
    SCOPE_SHIM_LISTEN: `listen`: expected an address and port such as "127.0.0.1:18780", found "localhost:5"
      hint: write "127.0.0.1:5"
    DIR/shim.toml:1:1: unknown key `lisetn`
      hint: did you mean `listen`?
    DIR/shim.toml:2:8: `mode`: expected "on", "observe" or "off", found "onn"
      hint: did you mean "on"?
    DIR/shim.toml:3:1: unknown key `handshake_timeout`
      hint: did you mean `limits.handshake_timeout`?
    DIR/shim.toml:4:34: `trusted_proxies`: expected an IP address or network such as "10.0.0.0/8", found "proxy"
      hint: give the proxy's address; names are not looked up
    DIR/shim.toml:4:43: `trusted_proxies`: expected an IP address or network such as "10.0.0.0/8", found 7
      hint: give the proxy's address; names are not looked up
    DIR/shim.toml:5:1: unknown key `gatway`
      hint: did you mean `gateway`?
    DIR/shim.toml:7:15: `limits.connections`: expected a whole number from 1 to 1000000, found 0
      hint: the default is 4096
    DIR/shim.toml:8:18: `limits.header_timeout`: expected a duration such as "10s" or "250ms", found 10
      hint: say the unit: "10s" or "10ms"
    DIR/shim.toml:9:16: `limits.idle_timeout`: expected a duration such as "5m", or "off", found "never"
      hint: a whole number and one of ms, s, m and h, such as "10s"
    DIR/shim.toml:11:1: unknown key `cache.tll`
      hint: did you mean `ttl`?
    DIR/shim.toml:13:15: `policy.max_scopes`: expected an operator scope such as "operator.read", found "read"
      hint: did you mean "operator.read"?
    DIR/shim.toml:13:23: `policy.max_scopes`: expected an operator scope such as "operator.read", found "operator.*"
      hint: there are: operator.admin, operator.read, operator.write, operator.approvals, operator.pairing, operator.questions, operator.talk, operator.talk.secrets, operator.sessions.read, operator.sessions.write
    DIR/shim.toml:15:1: unknown key `policy.clients.cli.grants`
      hint: did you mean `grant`?
    "#);
}

#[test]
fn syntax_is_placed_and_nothing_of_the_line_is_repeated() {
    let case = Case::new("[gateway]\ntoken = hunter2\npassword = \"hunter2\n");
    let problems = case.problems();
    assert!(!problems.contains("hunter"), "{problems}");
    insta::assert_snapshot!(problems, @r#"
    DIR/shim.toml:2:9: not TOML: string values must be quoted, expected literal string
      hint: a setting is name = "text", name = 10 or name = ["a", "b"]; a section begins with [name]
    DIR/shim.toml:3:20: not TOML: invalid basic string, expected `"`
      hint: a setting is name = "text", name = 10 or name = ["a", "b"]; a section begins with [name]
    "#);
}

#[test]
fn a_section_that_is_none_is_refused() {
    let case = Case::new("limits = 3\npolicy = { clients = { cli = 4 } }\n[gateway.url]\nx = 1");
    insta::assert_snapshot!(case.problems(), @r#"
    DIR/shim.toml:1:10: `limits`: expected a section, found a whole number
      hint: write [limits]
    DIR/shim.toml:2:24: `policy.clients.cli`: expected a section, found a whole number
      hint: write [policy.clients.cli]
    DIR/shim.toml:3:1: `gateway.url`: expected an address such as "ws://127.0.0.1:18789", found a section
      hint: take it away, and it is found out
    "#);
}

#[test]
fn secrets_are_not_repeated_wherever_they_are_wrong() {
    let case = Case::new(
        "[gateway]\nurl = 'ws://op:hunter2@host:1'\ntoken = ['hunter2']\npassword = 'hunter2'\ntoken_file = 'none'\n",
    )
    .with("SCOPE_SHIM_GATEWAY_TOKEN", "hunter2")
    .flag("gateway.url", "--gateway", "ws://host:1/?token=hunter2");
    let problems = case.problems();
    assert!(!problems.contains("hunter"), "{problems}");
    insta::assert_snapshot!(problems, @r#"
    --gateway: `gateway.url`: expected an address such as "ws://127.0.0.1:18789"
      hint: it holds a query or a fragment; give a token as gateway.token
    DIR/shim.toml:2:7: `gateway.url`: expected an address such as "ws://127.0.0.1:18789"
      hint: it holds a user or a password; give those as gateway.password
    DIR/shim.toml:3:9: `gateway.token`: expected a text in quotes
      hint: write it in quotes, or give the file that holds it instead
    DIR/shim.toml:4:12: `gateway.password`: `gateway.token` is given, too; expected one of the two
      hint: take one of the two away: the gateway knows one secret, gateway.token or gateway.password
    DIR/shim.toml:5:14: `gateway.token_file`: DIR/none: No such file or directory (os error 2)
      hint: give a file that holds the secret, or run this as a user who can read it
    "#);

    let case = Case::new("[gateway]\ntoken = 'hunter2'")
        .gateway("{gateway: {auth: {mode: 'password', password: 'hunter3'}}}");
    let config = case.load().unwrap();
    let text = format!("{config:?}");
    assert!(!text.contains("hunter"), "{text}");
    assert_eq!(config.gateway.auth.secret().unwrap().reveal(), "hunter2");
    assert_eq!(case.codes(), ["secret-exposed", "auth-mismatch"]);
}

#[test]
fn what_matters_to_other_machines_alone_is_no_warning_where_none_can_come() {
    let codes = |config: &str, gateway: Option<&str>| {
        let case = Case::new(config);
        match gateway {
            Some(gateway) => case.gateway(gateway).codes(),
            None => case.codes(),
        }
    };
    for (code, gateway) in [
        ("remote-source-untrusted", Some("{gateway: {}}")),
        ("trusted-proxies-unknown", None),
    ] {
        for (config, warned) in [
            ("", false),
            ("listen = '127.0.0.9:1'", false),
            ("listen = '0.0.0.0:1'\n[tls]\nplaintext = 'allowed'", true),
            ("trusted_proxies = ['10.0.0.1']", true),
        ] {
            let codes = codes(config, gateway);
            assert_eq!(codes.contains(&code), warned, "{code}, {config}: {codes:?}");
        }
    }
}

#[test]
fn a_secret_file_is_read_without_its_line_end() {
    let case = Case::new("[gateway]\npassword_file = 'secret'");
    fs::write(case.directory.path().join("secret"), "hunter2\n").unwrap();
    let config = case.load().unwrap();
    assert_eq!(config.gateway.auth.secret().unwrap().reveal(), "hunter2");
    assert!(
        config
            .settings
            .iter()
            .any(|setting| setting.value == "password ***")
    );
    fs::write(case.directory.path().join("secret"), "\n").unwrap();
    insta::assert_snapshot!(case.problems(), @r#"
    DIR/shim.toml:2:17: `gateway.password_file`: DIR/secret: expected a secret, found nothing
      hint: give a file that holds the secret, or run this as a user who can read it
    "#);
}

#[test]
fn listening_where_the_gateway_is_found_is_refused() {
    let case = Case::new("listen = '127.0.0.1:18789'").gateway(GOOD);
    insta::assert_snapshot!(case.problems(), @r#"
    DIR/shim.toml:1:10: the shim would listen on the gateway's own address, ws://127.0.0.1:18789, and connect to itself
      hint: let the shim listen elsewhere (--listen 127.0.0.1:18780), or move the gateway (openclaw gateway run --port 18790) and say so (--gateway ws://127.0.0.1:18790)
    "#);
    let moved = case.flag("gateway.url", "--gateway", "ws://127.0.0.1:18790");
    assert_eq!(moved.load().unwrap().gateway.url.port, 18790);
}

#[cfg(unix)]
#[test]
fn what_others_can_read_or_change_is_a_finding() {
    use std::os::unix::fs::PermissionsExt as _;
    let permit = |case: &Case, name: &str, mode: u32| {
        let path = case.directory.path().join(name);
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let case = Case::new("[gateway]\ntoken = 'tok'").gateway(GOOD);
    for (mode, codes) in [
        (0o600, vec![]),
        (0o640, vec![]),
        (0o644, vec!["secret-exposed"]),
        (0o602, vec!["configuration-exposed"]),
        (0o666, vec!["configuration-exposed", "secret-exposed"]),
    ] {
        permit(&case, "shim.toml", mode);
        assert_eq!(case.codes(), codes, "{mode:o}");
    }
    let case = Case::new("[gateway]\ntoken_file = 'secret'").gateway(GOOD);
    fs::write(case.directory.path().join("secret"), "tok").unwrap();
    permit(&case, "shim.toml", 0o644);
    permit(&case, "secret", 0o604);
    assert_eq!(case.codes(), ["secret-exposed"]);
    permit(&case, "secret", 0o640);
    assert_eq!(case.codes(), Vec::<&str>::new());
}

#[test]
fn believing_anybody_is_a_finding() {
    for (network, doubtful) in [
        ("0.0.0.0/0", true),
        ("::/0", true),
        ("64.0.0.0/2", true),
        ("10.0.0.0/8", false),
        ("fc00::/7", false),
        ("127.0.0.1", false),
    ] {
        let case = Case::new(&format!("trusted_proxies = ['{network}']")).gateway(GOOD);
        let found = case.codes().contains(&"trusts-anybody");
        assert_eq!(found, doubtful, "{network}");
    }
}

#[test]
fn an_admin_surface_that_cannot_be_or_should_not_be_is_refused() {
    let long = "x".repeat(120);
    for (config, expected) in [
        (
            "listen = '0.0.0.0:18781'",
            "`admin.listen`: expected an address of loopback",
        ),
        ("listen = '192.0.2.1:18781'", "write \"127.0.0.1:18781\""),
        (
            "listen = '127.0.0.1:18780'",
            "`admin.listen`: 127.0.0.1:18780 is taken by `listen`",
        ),
        (
            "probes = '0.0.0.0:18780'",
            "`admin.probes`: 0.0.0.0:18780 is taken by `listen`",
        ),
        (
            "listen = '127.0.0.1:5'\nprobes = '[::]:5'",
            "`admin.probes`: [::]:5 is taken by `admin.listen`",
        ),
        (
            &format!("socket = '/{long}'"),
            "has 121 bytes, and the system takes at most",
        ),
    ] {
        let problems = Case::new(&format!("[admin]\n{config}\n")).problems();
        assert!(problems.contains(expected), "{config}: {problems}");
        assert!(problems.contains("hint: "), "{problems}");
    }
    let fine = "[admin]\nlisten = '[::1]:18781'\nprobes = '0.0.0.0:18782'\nsocket = 'run/a.sock'\n";
    let case = Case::new(fine);
    let admin = case.load().unwrap().admin;
    assert_eq!(
        admin.socket.unwrap(),
        case.directory.path().join("run/a.sock")
    );
}

#[test]
fn the_proxy_protocol_needs_somebody_who_may_speak_it() {
    let case = Case::new("proxy_protocol = 'required'\n");
    insta::assert_snapshot!(case.problems(), @r#"
    DIR/shim.toml:1:18: `proxy_protocol`: "required", but trusted_proxies lists nobody who may send it
      hint: list the proxies: trusted_proxies = ["127.0.0.1"]
    "#);
    let case = Case::new("proxy_protocol = 'v2'\ntrusted_proxies = ['10.0.0.1']\n");
    assert!(case.problems().contains("expected \"off\" or \"required\""));
}
