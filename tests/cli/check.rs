use std::fs;
use std::net::TcpListener;
use std::path::Path;

use crate::Shim;

/// Every file of a fixture directory, by name.
fn fixtures(kind: &str) -> Vec<String> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/config")
        .join(kind);
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert!(!names.is_empty());
    names
}

/// A gateway about which there is nothing to say.
const GOOD: &str =
    "{gateway: {port: 19001, auth: {token: 's3cret'}, trustedProxies: ['127.0.0.2']}}";

#[test]
fn every_invalid_file_is_refused_with_its_reason() {
    for name in fixtures("invalid") {
        let mut shim = Shim::new(&["check", "--config", &format!("invalid/{name}")]).gateway(GOOD);
        let output = shim.run();
        assert!(output.starts_with("exit: 78\n"), "{name}: {output}");
        assert!(!output.contains("s3cret"), "{name}: {output}");
        let errors = output.split_once("----- stderr -----\n").unwrap().1;
        insta::assert_snapshot!(name.trim_end_matches(".toml"), errors);
    }
}

#[test]
fn run_refuses_them_in_the_same_words() {
    for name in fixtures("invalid")
        .iter()
        .filter(|name| *name != "data.toml")
    {
        let file = format!("invalid/{name}");
        let check = Shim::new(&["check", "--config", &file]).gateway(GOOD).run();
        let run = Shim::new(&["run", "--config", &file]).gateway(GOOD).run();
        assert_eq!(check, run, "{name}");
    }
}

#[test]
fn every_valid_file_is_accepted() {
    for name in fixtures("valid") {
        let file = format!("valid/{name}");
        let output = Shim::new(&["check", "--config", &file]).gateway(GOOD).run();
        assert!(output.starts_with("exit: 0\n"), "{name}: {output}");
        assert!(!output.contains("of-the-fixture"), "{name}: {output}");
    }
}

#[test]
fn check_says_what_holds_and_who_said_so() {
    let gateway = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = gateway.local_addr().unwrap().port();
    let config = format!(
        "{{gateway: {{port: {port}, auth: {{token: 's3cret'}}, trustedProxies: ['127.0.0.2']}}}}"
    );
    let mut shim = Shim::new(&["check", "--listen", "127.0.0.1:0", "--mode", "observe"])
        .with("SCOPE_SHIM_CACHE_TTL", "1m")
        .gateway(config);
    let file = shim.home.path().join(".config/scope-shim/scope-shim.toml");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(
        file,
        "[limits]\nconnections = 100\n[policy.clients.cli]\ngrant = ['operator.read']\n",
    )
    .unwrap();
    let output = shim.run().replace(&port.to_string(), "[PORT]");
    insta::assert_snapshot!(output, @r#"
    exit: 0
    ----- stdout -----
    configuration: [HOME]/.config/scope-shim/scope-shim.toml

    listen  127.0.0.1:0  --listen
    mode  observe  --mode
    data  [HOME]/.local/share/scope-shim  default
    sandbox  auto  default
    trusted_proxies  []  default
    proxy_protocol  off  default
    log.format  text  default
    log.level  info  default
    log.sessions  on  default
    gateway.url  ws://127.0.0.1:[PORT]  [HOME]/.openclaw/openclaw.json: gateway.port
    gateway.state  [HOME]/.openclaw  .openclaw of the home directory
    gateway.store  auto  default
    gateway.auth  token ***  [HOME]/.openclaw/openclaw.json: gateway.auth.token
    gateway.local_source  127.0.0.1  the gateway's trustedProxies
    gateway.remote_source  127.0.0.2  the gateway's trustedProxies
    gateway.connect_timeout  3s  default
    gateway.plaintext  refused  default
    gateway.certificate  none  default
    policy.max_scopes  every scope  default
    policy.device_less  local  default
    policy.entitled_repairs  approve  default
    policy.local_upgrades  ask  default
    policy.wait_for_approval  off  default
    policy.clients.cli.grant  [operator.read]  [HOME]/.config/scope-shim/scope-shim.toml:4:9
    cache.ttl  1m  SCOPE_SHIM_CACHE_TTL
    cache.negative_ttl  5s  default
    cache.capacity  10000  default
    limits.connections  100  [HOME]/.config/scope-shim/scope-shim.toml:2:15
    limits.header_bytes  65536  default
    limits.header_timeout  10s  default
    limits.connect_frame_bytes  65536  default
    limits.handshake_timeout  15s  default
    limits.idle_timeout  off  default
    limits.vanished_timeout  2m  default
    limits.gateway_handshakes  24  default
    limits.drain  5s  default
    tls.certificate  none  default
    tls.key  none  default
    tls.plaintext  refused  default
    admin.socket  [HOME]/.local/share/scope-shim/admin.sock  default
    admin.listen  off  default
    admin.probes  off  default

    ok: the data directory [HOME]/.local/share/scope-shim can be created
    ok: the gateway's state directory [HOME]/.openclaw can be read
    ok: the pairing store is [HOME]/.openclaw/devices/paired.json, with 0 paired devices
    ok: 127.0.0.1:0 is free to listen on
    ok: something answers at ws://127.0.0.1:[PORT]
    ----- stderr -----
    "#);
}

#[test]
fn check_of_a_bare_machine_says_what_is_missing() {
    let mut shim = Shim::new(&[
        "check",
        "--listen",
        "127.0.0.1:0",
        "--gateway",
        "ws://127.0.0.1:1",
    ]);
    let output = shim.run();
    let (_, warnings) = output.split_once("\n\nok:").unwrap();
    insta::assert_snapshot!(warnings, @r#"
     the data directory [HOME]/.local/share/scope-shim can be created
    ok: 127.0.0.1:0 is free to listen on
    warning: there is no gateway configuration at [HOME]/.openclaw/openclaw.json
      fix: if the gateway's state is elsewhere, name the directory (gateway.state, --gateway-state); otherwise its address (gateway.url, --gateway) and its secret (gateway.token_file, SCOPE_SHIM_GATEWAY_TOKEN) are all that is needed
    warning: the gateway's token is not known: neither gateway.auth.token nor OPENCLAW_GATEWAY_TOKEN is set where the shim can see it
      fix: give SCOPE_SHIM_GATEWAY_TOKEN, or gateway.token_file
    warning: nothing answers at ws://127.0.0.1:1: Connection refused (os error 111)
      fix: start the gateway, or correct its address (gateway.url, --gateway); the shim waits for it
    ----- stderr -----
    "#);
}

#[test]
fn check_leaves_nothing_behind() {
    let mut shim = Shim::new(&["check"]).gateway(GOOD);
    shim.run();
    let left: Vec<_> = fs::read_dir(shim.home.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, [".openclaw"]);
}

#[test]
fn a_file_that_was_named_has_to_be_there() {
    insta::assert_snapshot!(Shim::new(&["check", "--config", "none.toml"]).run(), @r#"
    exit: 78
    ----- stdout -----
    ----- stderr -----
    error: --config: none.toml: No such file or directory (os error 2)
      hint: give the path of a TOML file that this user can read
    "#);
    insta::assert_snapshot!(Shim::new(&["check"]).with("SCOPE_SHIM_CONFIG", "valid").run(), @r#"
    exit: 78
    ----- stdout -----
    ----- stderr -----
    error: SCOPE_SHIM_CONFIG: [REPOSITORY]/tests/fixtures/config/valid: Is a directory (os error 21)
      hint: give the path of a TOML file that this user can read
    "#);
}

#[test]
fn a_flag_and_a_variable_are_named_as_the_culprits() {
    let mut shim = Shim::new(&["check", "--mode", "of", "--gateway", "127.0.0.1"])
        .with("SCOPE_SHIM_LIMITS_CONNECTIONS", "many")
        .with(
            "SCOPE_SHIM_POLICY_CLIENTS",
            "{ cli = { grant = ['operator.read', 'x'] } }",
        )
        .with("SCOPE_SHIM_TRUSTED_PROXIES", "10.0.0.0/8,x");
    insta::assert_snapshot!(shim.run(), @r#"
    exit: 78
    ----- stdout -----
    ----- stderr -----
    error: --mode: `mode`: expected "on", "observe" or "off", found "of"
      hint: did you mean "on"?
    error: SCOPE_SHIM_TRUSTED_PROXIES: `trusted_proxies`: expected an IP address or network such as "10.0.0.0/8", found "x"
      hint: give the proxy's address; names are not looked up
    error: SCOPE_SHIM_POLICY_CLIENTS: `policy.clients.cli.grant`: expected an operator scope such as "operator.read", found "x"
      hint: there are: operator.admin, operator.read, operator.write, operator.approvals, operator.pairing, operator.questions, operator.talk, operator.talk.secrets, operator.sessions.read, operator.sessions.write
    error: SCOPE_SHIM_LIMITS_CONNECTIONS: `limits.connections`: expected a whole number from 1 to 1000000, found "many"
      hint: the default is 4096
    "#);
}

#[test]
fn the_shim_is_not_pointed_at_itself() {
    for (listen, gateway) in [
        ("127.0.0.1:19", "ws://localhost:19"),
        ("127.0.0.1:19", "ws://[::1]:19"),
        ("[::1]:19", "ws://127.0.0.1:19"),
        ("0.0.0.0:19", "ws://127.0.0.1:19"),
        ("[::]:19", "ws://127.0.0.1:19"),
    ] {
        let output = Shim::new(&["run", "--listen", listen, "--gateway", gateway]).run();
        assert!(
            output.starts_with("exit: 78\n"),
            "{listen} {gateway}: {output}"
        );
        assert!(output.contains("connect to itself"), "{output}");
    }
}

#[test]
fn a_variable_that_sends_the_cli_to_the_shim_says_nothing_about_the_gateway() {
    let output = Shim::new(&["check"])
        .with("OPENCLAW_GATEWAY_PORT", "18780")
        .run();
    assert!(
        output.contains("\ngateway.url  ws://127.0.0.1:18789  default\n"),
        "{output}"
    );
}

#[test]
fn what_is_not_a_terminal_gets_no_colour() {
    let output = Shim::new(&["check", "--gateway", "ws://127.0.0.1:1"]).run();
    assert!(
        output.contains("warning:") && !output.contains('\u{1b}'),
        "{output}"
    );
}

#[test]
fn a_configuration_that_is_no_configuration_is_refused_and_nothing_worse() {
    let deep = format!("x = {}", "[".repeat(200_000));
    let tables = format!("[{}]", vec!["a"; 100_000].join("."));
    let large = "#".repeat(2 * 1024 * 1024);
    for text in [
        deep.as_bytes(),
        tables.as_bytes(),
        large.as_bytes(),
        b"\xff\xfe",
        b"\0",
    ] {
        let mut shim = Shim::new(&["check"]);
        let file = shim.home.path().join("x.toml");
        fs::write(&file, text).unwrap();
        shim = shim.with("SCOPE_SHIM_CONFIG", &file.display().to_string());
        let output = shim.run();
        assert!(output.starts_with("exit: 78\n"), "{output}");
        assert!(output.len() < 2_000, "{output}");
    }
    let shim = Shim::new(&["check", "--listen", "127.0.0.1:0"]).gateway(GOOD);
    fs::write(
        shim.home.path().join("x.toml"),
        "\u{feff}mode = \"off\"\r\n[log]\r\n",
    )
    .unwrap();
    let output = shim.with("SCOPE_SHIM_CONFIG", "~/x.toml").run();
    assert!(output.contains("\nmode  off  [HOME]/x.toml:1:"), "{output}");
}

/// What is wrong with this machine is told where a file says it, before a port opens.
#[test]
fn a_data_directory_that_cannot_be_is_refused_by_run_in_the_words_of_check() {
    let file = "invalid/data.toml";
    let [check, run] =
        ["check", "run"].map(|command| Shim::new(&[command, "--config", file]).gateway(GOOD).run());
    let errors = |output: &str| {
        output
            .split_once("----- stderr -----")
            .unwrap()
            .1
            .to_owned()
    };
    assert!(run.starts_with("exit: 78\n"), "{run}");
    assert_eq!(errors(&check), errors(&run));
    assert!(run.contains("invalid/data.toml:1:8: `data`"), "{run}");
}

#[test]
fn an_address_that_is_not_of_this_machine_is_refused() {
    let mut shim = Shim::new(&["check", "--listen", "192.0.2.1:18780"])
        .gateway(GOOD)
        .with("SCOPE_SHIM_TLS_PLAINTEXT", "allowed");
    let output = shim.run();
    assert!(output.starts_with("exit: 78\n"), "{output}");
    let (_, errors) = output.split_once("----- stderr -----\n").unwrap();
    insta::assert_snapshot!(errors, @r#"
    error: --listen: cannot listen on 192.0.2.1:18780: 192.0.2.1 is no address of this machine
      hint: give an address of this machine (ip address shows them), or 127.0.0.1 for clients on it
    "#);
}

#[cfg(target_os = "linux")]
#[test]
fn whoever_has_the_port_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let own = format!("process {}", std::process::id());
    let outputs = ["check", "run"].map(|command| {
        let output = Shim::new(&[command, "--listen", &address])
            .gateway(GOOD)
            .run();
        assert!(
            output.contains(&format!("cannot listen on {address}: ")),
            "{output}"
        );
        assert!(output.contains(&own), "{output}");
        output
    });
    let [check, run] = &outputs;
    assert!(check.starts_with("exit: 0\n"), "{check}");
    assert!(run.starts_with("exit: 1\n"), "{run}");
    assert!(run.contains("error: --listen: cannot listen on "), "{run}");
    assert!(
        run.contains("hint: stop that one, or listen elsewhere"),
        "{run}"
    );
}
