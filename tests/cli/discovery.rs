use crate::Shim;

fn check(config: impl AsRef<[u8]>) -> String {
    Shim::new(&["check", "--listen", "127.0.0.1:0"])
        .gateway(config)
        .run()
}

/// The lines about the gateway's configuration.
fn findings(output: &str) -> String {
    let lines = output
        .lines()
        .skip_while(|line| !line.starts_with("warning:"));
    let lines = lines.take_while(|line| !line.starts_with("warning: nothing answers"));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_slip_in_openclaw_json_is_placed() {
    let output = check("{\n  gateway: {\n    auth: { token: 's3cret' }\n    port: 18789,\n  },\n}");
    assert!(
        output.starts_with("exit: 0\n") && !output.contains("s3cret"),
        "{output}"
    );
    insta::assert_snapshot!(findings(&output), @r#"
    warning: [HOME]/.openclaw/openclaw.json:4:5: expected comma; the shim goes on without it
      fix: correct the file, or give the gateway's address (gateway.url, --gateway) and secret (gateway.token_file, SCOPE_SHIM_GATEWAY_TOKEN)
    warning: the gateway's token is not known: neither gateway.auth.token nor OPENCLAW_GATEWAY_TOKEN is set where the shim can see it
      fix: give SCOPE_SHIM_GATEWAY_TOKEN, or gateway.token_file
    "#);
}

#[test]
fn a_hostile_openclaw_json_never_stops_the_shim() {
    let deep = "{gateway: ".repeat(200_000);
    let brackets = "[".repeat(1_000_000);
    let large = format!(
        "{{gateway: {{auth: {{token: '{}'}}}}}}",
        "s3cret".repeat(2_000_000)
    );
    let wide = format!(
        "{{gateway: {{trustedProxies: [{}]}}}}",
        "'s3cret/99',".repeat(1_000)
    );
    for config in [
        deep.as_bytes(),
        brackets.as_bytes(),
        large.as_bytes(),
        wide.as_bytes(),
        b"",
        b"\0\0\0",
        b"\xff\xfe\x00",
        b"s3cret",
        b"\"s3cret\"",
        b"{gateway: 's3cret'}",
        b"{gateway: {auth: 's3cret', port: {}, bind: [], tls: 1, trustedProxies: 's3cret'}}",
        b"{gateway: {auth: {mode: 's3cret', token: ['s3cret'], password: {id: 's3cret'}}}}",
        b"{gateway: {port: 1e999, auth: {token: {source: 'exec', id: 's3cret'}}}}",
        b"{gateway: {port: -18789, auth: {token: '${S3CRET}'}}}",
        b"{$include: ['/dev/zero', '/dev/stdin', 's3cret'], gateway: {$include: {}}}",
        b"{gateway: {auth: {token: 's3cret",
    ] {
        let output = check(config);
        let start: String = String::from_utf8_lossy(config).chars().take(40).collect();
        assert!(output.starts_with("exit: 0\n"), "{start}: {output}");
        let shown = output.replace("\"s3cret/99\"", "");
        let shown = shown.replace("[HOME]/.openclaw/s3cret", "");
        assert!(!shown.contains("s3cret"), "{start}: {output}");
    }
}

#[test]
fn the_freedoms_of_json5_are_understood() {
    let output = check(
        "\u{feff}// one\n{/* two */ 'gateway': {port: +0x4a39, trustedProxies: ['127.0.0.2',], auth: {mode: 'none',},},}",
    );
    assert!(
        output.contains(
            "\ngateway.url  ws://127.0.0.1:19001  [HOME]/.openclaw/openclaw.json: gateway.port\n"
        ),
        "{output}"
    );
    assert!(output.contains("\ngateway.auth  none  "), "{output}");
    assert_eq!(findings(&output), "");
}

#[test]
fn a_secret_never_shows_wherever_it_comes_from() {
    let places: [(&str, &[(&str, &str)]); 6] = [
        ("{gateway: {auth: {token: 's3cret'}}}", &[]),
        ("{gateway: {auth: {password: 's3cret'}}}", &[]),
        ("{gateway: {auth: {token: '${T}'}}}", &[("T", "s3cret")]),
        ("{}", &[("OPENCLAW_GATEWAY_TOKEN", "s3cret")]),
        ("{}", &[("OPENCLAW_GATEWAY_PASSWORD", "s3cret")]),
        ("{}", &[("SCOPE_SHIM_GATEWAY_TOKEN", "s3cret")]),
    ];
    for (config, variables) in places {
        for arguments in [
            &["check", "--listen", "127.0.0.1:0"][..],
            &["check", "--listen", "nowhere"],
            &["run", "--log-level", "nothing"],
        ] {
            let mut shim = Shim::new(arguments)
                .gateway(config)
                .with("RUST_LOG", "trace");
            for (name, value) in variables {
                shim = shim.with(name, value);
            }
            let output = shim.run();
            assert!(!output.contains("s3cret"), "{config}: {output}");
            if output.starts_with("exit: 0\n") {
                assert!(output.contains(" ***  "), "{config}: {output}");
            }
        }
    }
}

#[test]
fn a_gateway_that_cannot_work_behind_a_proxy_is_named_with_the_line_to_change() {
    let output = check("{gateway: {auth: {token: 't'}, trustedProxies: ['127.0.0.1']}}");
    insta::assert_snapshot!(findings(&output), @r#"
    warning: the gateway trusts 127.0.0.1 as a proxy, so that it takes local clients for remote ones (gateways from 2026.2.19 to 2026.3.24): no silent pairing, and no scopes without a device
      fix: gateway.trustedProxies: ["127.0.0.2"] in openclaw.json
    "#);
}
