use crate::Shim;

#[test]
fn check_says_what_holds_for_all_and_what_for_each() {
    let file = "valid/several_gateways.toml";
    let output = Shim::new(&["check", "--config", file]).run();
    insta::assert_snapshot!(output, @r#"
    exit: 0
    ----- stdout -----
    configuration: valid/several_gateways.toml

    listen  127.0.0.1:0  valid/several_gateways.toml:1:10
    data  /tmp  valid/several_gateways.toml:2:8
    sandbox  auto  default
    trusted_proxies  []  default
    proxy_protocol  off  default
    log.format  text  default
    log.level  info  default
    log.sessions  on  default
    gateway.state  none  default
    gateway.store  auto  default
    gateway.auth  unknown  default
    gateway.local_source  127.0.0.1  default
    gateway.remote_source  127.0.0.2  default
    gateway.connect_timeout  3s  default
    gateway.plaintext  refused  default
    gateway.certificate  none  default
    policy.max_scopes  every scope  default
    policy.entitled_repairs  approve  default
    policy.local_upgrades  ask  default
    policy.wait_for_approval  off  default
    cache.ttl  30s  default
    cache.negative_ttl  5s  default
    cache.capacity  10000  default
    limits.connections  4096  default
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
    admin.socket  /tmp/admin.sock  default
    admin.listen  off  default
    admin.probes  off  default

    staging
    mode  on  default
    gateway.name  staging  valid/several_gateways.toml:8:8
    gateway.hosts  [staging.example, *.staging.example]  valid/several_gateways.toml:9:9
    gateway.data  /tmp/staging  valid/several_gateways.toml:2:8
    gateway.url  ws://127.0.0.1:1  valid/several_gateways.toml:10:7
    policy.device_less  off  valid/several_gateways.toml:5:15

    production
    mode  observe  valid/several_gateways.toml:14:8
    gateway.name  production  valid/several_gateways.toml:13:8
    gateway.hosts  []  default
    gateway.data  /tmp/production  valid/several_gateways.toml:2:8
    gateway.url  ws://127.0.0.1:2  valid/several_gateways.toml:15:7
    policy.device_less  local  valid/several_gateways.toml:18:15
    policy.clients.cli.max_scopes  [operator.read]  valid/several_gateways.toml:21:14

    ok: staging: the data directory /tmp/staging can be created
    ok: staging: 127.0.0.1:0 is free to listen on
    ok: production: the data directory /tmp/production can be created
    ok: production: 127.0.0.1:0 is free to listen on
    warning: staging: nothing tells the token or password of the gateway at ws://127.0.0.1:1
      fix: give token_file or password_file in its entry, or its state directory
    warning: staging: nothing answers at ws://127.0.0.1:1: Connection refused (os error 111)
      fix: start the gateway, or correct its address (gateway.url, --gateway); the shim waits for it
    warning: production: nothing tells the token or password of the gateway at ws://127.0.0.1:2
      fix: give token_file or password_file in its entry, or its state directory
    warning: production: nothing answers at ws://127.0.0.1:2: Connection refused (os error 111)
      fix: start the gateway, or correct its address (gateway.url, --gateway); the shim waits for it
    ----- stderr -----
    "#);
    let one = Shim::new(&["check", "--config", file, "--gateway-name", "staging"]).run();
    assert!(one.contains("\ngateway.name  staging  "), "{one}");
    assert!(!one.contains("production"), "{one}");
}

#[test]
fn a_command_for_one_gateway_asks_which() {
    let file = "valid/several_gateways.toml";
    for command in ["doctor", "devices", "approve", "repair"] {
        let output = Shim::new(&[command, "--config", file]).run();
        assert!(output.starts_with("exit: 78\n"), "{command}: {output}");
        let told = "there are several gateways: staging, production\n  hint: say which one is meant: --gateway-name";
        assert!(output.contains(told), "{command}: {output}");
        let output = Shim::new(&[command, "--config", file, "--gateway-name", "prod"]).run();
        assert!(
            output.contains("there is no gateway \"prod\"; there are: staging, production"),
            "{output}"
        );
    }
}
