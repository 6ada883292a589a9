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
    SCOPE_SHIM_LISTEN: `listen`: expected an address and port such as "127.0.0.1:18780", found "localhost:5"
      hint: write "127.0.0.1:5"
    DIR/shim.toml:1:1: unknown key `lisetn`
      hint: did you mean `listen`?
    DIR/shim.toml:2:8: `mode`: expected "on", "observe" or "off", found "onn"
      hint: did you mean "on"?
    DIR/shim.toml:3:1: unknown key `handshake_timeout`
      hint: did you mean `limits.handshake_timeout`?
    DIR/shim.toml:4:34: `trusted_proxies`: expected an IP address or network such as "10.0.0.0/8", found "proxy"
    DIR/shim.toml:4:43: `trusted_proxies`: expected an IP address or network such as "10.0.0.0/8", found 7
    DIR/shim.toml:5:1: unknown key `gatway`
      hint: did you mean `gateway`?
    DIR/shim.toml:7:15: `limits.connections`: expected a whole number from 1 to 1000000, found 0
    DIR/shim.toml:8:18: `limits.header_timeout`: expected a duration such as "10s" or "250ms", found 10
      hint: say the unit: "10s" or "10ms"
    DIR/shim.toml:9:16: `limits.idle_timeout`: expected a duration such as "5m", or "off", found "never"
    DIR/shim.toml:11:1: unknown key `cache.tll`
      hint: did you mean `ttl`?
    DIR/shim.toml:13:15: `policy.max_scopes`: expected an operator scope such as "operator.read", found "read"
      hint: did you mean "operator.read"?
    DIR/shim.toml:13:23: `policy.max_scopes`: expected an operator scope such as "operator.read", found "operator.*"
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
    DIR/shim.toml:3:20: not TOML: invalid basic string, expected `"`
    "#);
}

#[test]
fn a_section_that_is_none_is_refused() {
    let case = Case::new("limits = 3\npolicy = { clients = { cli = 4 } }\n[gateway.url]\nx = 1");
    insta::assert_snapshot!(case.problems(), @r#"
    DIR/shim.toml:1:10: `limits`: expected a section, found a whole number
      hint: write [limits]
    DIR/shim.toml:2:24: `policy.clients.cli`: expected a section, found a whole number
    DIR/shim.toml:3:1: `gateway.url`: expected an address such as "ws://127.0.0.1:18789", found a section
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
    DIR/shim.toml:4:12: `gateway.password`: `gateway.token` is given, too; expected one of the two
    DIR/shim.toml:5:14: `gateway.token_file`: DIR/none: No such file or directory (os error 2)
    "#);

    let case = Case::new("[gateway]\ntoken = 'hunter2'")
        .gateway("{gateway: {auth: {mode: 'password', password: 'hunter3'}}}");
    let config = case.load().unwrap();
    let text = format!("{config:?}");
    assert!(!text.contains("hunter"), "{text}");
    assert_eq!(config.gateway.auth.secret().unwrap().reveal(), "hunter2");
    assert_eq!(case.codes(), ["remote-source-untrusted", "auth-mismatch"]);
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
    insta::assert_snapshot!(case.problems(), @r#"DIR/shim.toml:2:17: `gateway.password_file`: DIR/secret: expected a secret, found nothing"#);
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
