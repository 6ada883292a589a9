use crate::Shim;

#[test]
fn check_says_what_holds_for_all_and_what_for_each() {
    let file = "valid/several_gateways.toml";
    let output = Shim::new(&["check", "--config", file]).run();
    insta::assert_snapshot!(output, @"");
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
