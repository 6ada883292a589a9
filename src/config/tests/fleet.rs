//! Several gateways.

use super::*;

const TWO: &str = "mode = 'observe'\ndata = 'd'\n\
    [policy]\nmax_scopes = ['operator.read', 'operator.write']\ndevice_less = 'off'\n\
    [policy.clients.cli]\ngrant = ['operator.pairing']\nmax_scopes = ['operator.write']\n\
    [[gateway]]\nname = 'a'\nhosts = ['A.Example', '*.a.example', '::1']\nurl = 'ws://127.0.0.1:1'\n\
    [[gateway]]\nname = 'b'\nurl = 'ws://127.0.0.1:2'\nmode = 'on'\ndata = 'elsewhere'\n\
    [gateway.policy]\nmax_scopes = ['operator.read']\n\
    [gateway.policy.clients.cli]\ngrant = ['operator.talk']\n\
    [gateway.policy.clients.webchat]\ndevice_less = 'local'\n";

fn both(case: &Case) -> (Config, Config) {
    let mut configs = case.load_all().unwrap();
    let second = configs.pop().unwrap();
    (configs.pop().unwrap(), second)
}

#[test]
fn an_entry_goes_before_what_holds_for_all_key_by_key() {
    let case = Case::new(TWO);
    let (a, b) = both(&case);
    let directory = case.directory.path();
    assert_eq!((a.name.as_str(), b.name.as_str()), ("a", "b"));
    assert_eq!(a.hosts, ["a.example", "*.a.example", "::1"]);
    assert!(b.hosts.is_empty());
    assert_eq!((a.mode, b.mode), (Mode::Observe, Mode::On));
    assert_eq!((a.gateway.url.port, b.gateway.url.port), (1, 2));
    assert_eq!(a.data, directory.join("d/a"));
    assert_eq!(b.data, directory.join("elsewhere"));
    assert_eq!(a.base, directory.join("d"));
    assert_eq!(b.base, a.base);
    assert_eq!(a.policy.max_scopes.to_string(), "read, write");
    assert_eq!(b.policy.max_scopes.to_string(), "read");
    assert_eq!(b.policy.device_less, DeviceLess::Off, "as for all");
    assert_eq!(a.policy.granted("cli").to_string(), "pairing");
    assert_eq!(b.policy.granted("cli").to_string(), "talk");
    let caps = [&a, &b].map(|config| config.policy.clients["cli"].max_scopes.clone().unwrap());
    assert_eq!(
        caps[0], caps[1],
        "a cap for all is not lost beside an exception"
    );
    assert_eq!(b.policy.device_less("webchat"), DeviceLess::Local);
    assert!(!a.policy.clients.contains_key("webchat"));
}

#[test]
fn one_gateway_is_as_it_always_was() {
    let config = Case::new("data = 'd'").load_all().unwrap().remove(0);
    assert_eq!(config.name, "gateway");
    assert_eq!(config.base, config.data);
    assert!(config.hosts.is_empty());
}

#[test]
fn a_flag_or_variable_speaks_for_all_or_is_refused() {
    let case = Case::new(TWO)
        .with("SCOPE_SHIM_POLICY_DEVICE_LESS", "local")
        .flag("mode", "--mode", "off")
        .flag("data", "--data", "/flag");
    let (a, b) = both(&case);
    assert_eq!((a.mode, b.mode), (Mode::Off, Mode::Off));
    assert_eq!(
        (a.data, b.data),
        ("/flag/a".into(), case.directory.path().join("elsewhere"))
    );
    assert_eq!(b.policy.device_less, DeviceLess::Local);
    let case = Case::new(TWO)
        .with("SCOPE_SHIM_GATEWAY_TOKEN", "hunter2")
        .flag("gateway.url", "--gateway", "ws://127.0.0.1:3");
    insta::assert_snapshot!(case.problems(), @r#"
    --gateway: `gateway.url` belongs to one gateway, and the file has several
      hint: say url in the [[gateway]] entry that is meant
    SCOPE_SHIM_GATEWAY_TOKEN: `gateway.token` belongs to one gateway, and the file has several
      hint: say token in the [[gateway]] entry that is meant
    "#);
}

#[test]
fn the_usual_places_tell_nothing_about_one_of_several() {
    let case = Case::new(TWO)
        .gateway(GOOD)
        .with("OPENCLAW_GATEWAY_TOKEN", "hunter2");
    let (a, _) = both(&case);
    assert!(matches!(a.gateway.auth, GatewayAuth::Unknown));
    assert_eq!(a.gateway.state, None);
    let told = TWO.replace("name = 'a'", "name = 'a'\nstate = '.openclaw'");
    let (a, b) = both(&Case::new(&told).gateway(GOOD));
    assert_eq!(a.gateway.auth.secret().unwrap().reveal(), "tok");
    assert!(matches!(b.gateway.auth, GatewayAuth::Unknown));
}

#[test]
fn a_command_for_one_gateway_asks_which() {
    let case = Case::new(TWO);
    let file = case.directory.path().join("shim.toml");
    let environment = Environment::from_iter(case.variables.clone());
    let choose = |name| Config::load_one(Some(&file), &[], &environment, name);
    assert_eq!(choose(Some("b")).unwrap().name, "b");
    let problems = [choose(None), choose(Some("bb"))].map(|chosen| chosen.unwrap_err().to_string());
    insta::assert_snapshot!(problems.join("\n"), @r#"
    there are several gateways: a, b
      hint: say which one is meant: --gateway-name a
    --gateway-name: there is no gateway "bb"; there are: a, b
      hint: say which one is meant: --gateway-name b
    "#);
}
