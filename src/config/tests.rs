#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

/// Every key, wrong in every way.
mod every_key;
/// Several gateways.
mod fleet;
/// What is refused, and in which words.
mod refused;

/// Where a shim is looked for whose configuration cannot be used.
mod astray;
/// What is encrypted.
mod encrypted;

use std::fs;

use tempfile::TempDir;

use super::*;

/// A directory with a configuration and a gateway's state next to it.
struct Case {
    directory: TempDir,
    variables: Vec<(String, String)>,
    flags: Vec<Flag>,
}

impl Case {
    fn new(config: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("shim.toml"), config).unwrap();
        let home = directory.path().display().to_string();
        Self {
            directory,
            variables: vec![("HOME".to_owned(), home)],
            flags: Vec::new(),
        }
    }

    fn gateway(self, config: &str) -> Self {
        let state = self.directory.path().join(".openclaw");
        fs::create_dir_all(&state).unwrap();
        fs::write(state.join("openclaw.json"), config).unwrap();
        self
    }

    /// With a certificate and its key in the home directory.
    fn certified(self) -> Self {
        let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let home = self.directory.path();
        fs::write(home.join("certificate.pem"), pair.cert.pem()).unwrap();
        let key = home.join("key.pem");
        fs::write(&key, pair.signing_key.serialize_pem()).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
        }
        self
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    fn flag(mut self, key: &'static str, name: &'static str, value: &str) -> Self {
        let value = value.to_owned();
        self.flags.push(Flag { key, name, value });
        self
    }

    fn load(&self) -> Result<Config, Problems> {
        super::fleet::choose(self.load_all()?, None)
    }

    fn load_all(&self) -> Result<Vec<Config>, Problems> {
        let environment = Environment::from_iter(self.variables.clone());
        let file = self.directory.path().join("shim.toml");
        Config::load_all(Some(&file), &self.flags, &environment)
    }

    /// Every problem on a line, with the directory taken out.
    fn problems(&self) -> String {
        let problems = self.load_all().err().unwrap().to_string();
        problems.replace(&self.directory.path().display().to_string(), "DIR")
    }

    fn codes(&self) -> Vec<&'static str> {
        let findings = self.load().unwrap().findings;
        findings.iter().map(|finding| finding.code).collect()
    }
}

/// A gateway about which there is nothing to say.
const GOOD: &str = "{gateway: {auth: {token: 'tok'}, trustedProxies: ['127.0.0.2']}}";

fn shown(config: &Config) -> Vec<(&str, &str)> {
    let settings = config.settings.iter();
    settings
        .map(|setting| (setting.key.as_str(), setting.value.as_str()))
        .collect()
}

/// Sections that the operator names have examples instead of defaults.
const NAMED: [&str; 2] = ["policy.clients", "policy.users"];

#[test]
fn the_commented_file_says_exactly_the_defaults_and_names_every_key() {
    let commented = include_str!("../../config/scope-shim.toml");
    let plain: String = commented
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(setting) if setting.starts_with(|c: char| c.is_ascii_lowercase()) => setting,
            _ => line,
        })
        .flat_map(|line| [line, "\n"])
        .collect();
    let written = Case::new(&plain).gateway(GOOD);
    let defaults = Case {
        directory: written.directory,
        variables: written.variables.clone(),
        flags: Vec::new(),
    };
    let written = defaults.load().unwrap();
    fs::write(defaults.directory.path().join("shim.toml"), "").unwrap();
    let defaults = defaults.load().unwrap();
    assert_eq!(shown(&written), shown(&defaults));
    assert_eq!(written.policy, defaults.policy);
    assert_eq!(
        (written.cache, written.limits),
        (defaults.cache, defaults.limits)
    );

    for key in written.keys.iter().filter(|key| !NAMED.contains(key)) {
        let (section, name) = key.rsplit_once('.').unwrap_or(("", key));
        let start = if section.is_empty() {
            Some(0)
        } else {
            commented
                .find(&format!("\n[{section}]\n"))
                .map(|start| start + 2)
        };
        let section = commented.get(start.unwrap()..).unwrap();
        let section = section.split("\n[").next().unwrap();
        assert!(section.contains(&format!("\n#{name} = ")), "{key}");
    }
    assert!(commented.contains("[policy.clients.openclaw-control-ui]"));
}

/// The example of the commented file that begins with this line.
fn example(first: &str) -> String {
    let commented = include_str!("../../config/scope-shim.toml");
    let lines = commented
        .lines()
        .map(|line| line.strip_prefix('#').unwrap_or(line));
    let lines = lines.skip_while(|line| line.trim() != first);
    let example = lines.take_while(|line| line.is_empty() || line.starts_with("     "));
    example.flat_map(|line| [line.trim(), "\n"]).collect()
}

#[test]
fn the_example_of_several_gateways_in_the_commented_file_is_valid() {
    let text = example("[[gateway]]").replace("/srv/", "");
    let case = Case::new(&text);
    for name in ["staging", "production"] {
        fs::create_dir_all(case.directory.path().join(name).join(".openclaw")).unwrap();
    }
    let configs = case.load_all().unwrap();
    let names: Vec<&str> = configs.iter().map(|config| config.name.as_str()).collect();
    assert_eq!(names, ["staging", "production"]);
}

#[test]
fn the_example_for_one_client_in_the_commented_file_is_valid() {
    let example = example("[policy.clients.openclaw-control-ui]");
    let config = Case::new(&example).gateway(GOOD).load().unwrap();
    let client = config.policy.clients.get("openclaw-control-ui").unwrap();
    assert_eq!(client.grant.to_string(), "approvals");
    assert_eq!(client.device_less, Some(DeviceLess::Off));
}

#[test]
fn the_example_for_users_in_the_commented_file_is_valid() {
    let example = example("[policy.users.\"alice@example.com\"]");
    let config = Case::new(&example).gateway(GOOD).load().unwrap();
    let held = |user: &str| config.policy.user(user).unwrap().scopes.to_string();
    assert_eq!(held("alice@example.com"), "admin");
    assert_eq!(held("bob@example.com"), "read");
}

#[test]
fn a_flag_wins_over_a_variable_over_the_file_over_discovery() {
    let mut case = Case::new("").gateway("{gateway: {port: 19001}}");
    let url = |case: &Case| {
        let config = case.load().unwrap();
        let setting = config
            .settings
            .iter()
            .find(|setting| setting.key == "gateway.url");
        let origin = setting.unwrap().origin.to_string();
        let origin = origin.replace(&case.directory.path().display().to_string(), "DIR");
        format!("{} {origin}", config.gateway.url)
    };
    assert_eq!(
        url(&case),
        "ws://127.0.0.1:19001 DIR/.openclaw/openclaw.json: gateway.port"
    );
    fs::write(
        case.directory.path().join("shim.toml"),
        "[gateway]\nurl = 'ws://127.0.0.1:2'",
    )
    .unwrap();
    assert_eq!(url(&case), "ws://127.0.0.1:2 DIR/shim.toml:2:7");
    case = case.with("SCOPE_SHIM_GATEWAY", "ws://127.0.0.1:3");
    assert_eq!(url(&case), "ws://127.0.0.1:3 SCOPE_SHIM_GATEWAY");
    case = case.flag("gateway.url", "--gateway", "127.0.0.1:4");
    assert_eq!(url(&case), "ws://127.0.0.1:4 --gateway");
    fs::remove_dir_all(case.directory.path().join(".openclaw")).unwrap();
    let bare = Case::new("");
    assert_eq!(url(&bare), "ws://127.0.0.1:18789 default");
}

#[test]
fn every_key_has_a_variable() {
    let values = [
        ("LISTEN", "127.0.0.1:7"),
        ("MODE", "observe"),
        ("DATA", "/d"),
        ("SANDBOX", "off"),
        ("TRUSTED_PROXIES", "10.0.0.0/8, ::1"),
        ("PROXY_PROTOCOL", "required"),
        ("LOG", "json"),
        ("LOG_LEVEL", "debug"),
        ("LOG_SESSIONS", "off"),
        ("GATEWAY_URL", "wss://127.0.0.1:8"),
        ("GATEWAY_STATE", "/"),
        ("GATEWAY_STORE", "control"),
        ("GATEWAY_TOKEN", "t"),
        ("GATEWAY_USER", "shim"),
        ("GATEWAY_LOCAL_SOURCE", "127.0.0.3"),
        ("GATEWAY_REMOTE_SOURCE", "127.0.0.4"),
        ("GATEWAY_CONNECT_TIMEOUT", "1s"),
        ("GATEWAY_FINGERPRINT", &"ab".repeat(32)),
        ("GATEWAY_PLAINTEXT", "allowed"),
        ("POLICY_MAX_SCOPES", "operator.read"),
        ("POLICY_DEVICE_LESS", "off"),
        ("POLICY_ENTITLED_REPAIRS", "off"),
        ("POLICY_LOCAL_UPGRADES", "approve"),
        ("POLICY_WAIT_FOR_APPROVAL", "8s"),
        ("POLICY_CLIENTS", "{ cli = { grant = ['operator.read'] } }"),
        ("POLICY_USERS", "{ alice = { scopes = ['operator.read'] } }"),
        ("CACHE_TTL", "1s"),
        ("CACHE_NEGATIVE_TTL", "0s"),
        ("CACHE_CAPACITY", "1"),
        ("LIMITS_CONNECTIONS", "1"),
        ("LIMITS_HEADER_BYTES", "8192"),
        ("LIMITS_HEADER_TIMEOUT", "1s"),
        ("LIMITS_CONNECT_FRAME_BYTES", "1024"),
        ("LIMITS_HANDSHAKE_TIMEOUT", "1s"),
        ("LIMITS_IDLE_TIMEOUT", "1h"),
        ("LIMITS_VANISHED_TIMEOUT", "1m"),
        ("LIMITS_GATEWAY_HANDSHAKES", "1"),
        ("LIMITS_DRAIN", "off"),
        ("TLS_CERTIFICATE", "~/certificate.pem"),
        ("TLS_KEY", "~/key.pem"),
        ("TLS_PLAINTEXT", "allowed"),
        ("ADMIN_SOCKET", "off"),
        ("ADMIN_LISTEN", "127.0.0.1:9"),
        ("ADMIN_PROBES", "0.0.0.0:10"),
    ];
    let case = values
        .iter()
        .fold(Case::new("").certified(), |case, (name, value)| {
            case.with(&format!("SCOPE_SHIM_{name}"), value)
        });
    let config = case.load().unwrap();
    for setting in &config.settings {
        assert!(matches!(setting.origin, Origin::Variable(_)), "{setting:?}");
    }
    // The three other ways to give a secret exclude the token, and a file of authorities a fingerprint.
    assert_eq!(config.keys.len(), values.len() + 4);
    assert_eq!(config.limits.idle_timeout, Some(Duration::from_secs(3_600)));
    assert_eq!(
        config.gateway.sources.remote.unwrap().to_string(),
        "127.0.0.4"
    );
}

#[test]
fn files_of_this_machine_say_nothing_about_a_gateway_on_another() {
    let case = Case::new("[gateway]\nurl = 'wss://192.0.2.1:1'").gateway(GOOD);
    let config = case.load().unwrap();
    assert!(matches!(config.gateway.auth, GatewayAuth::Unknown));
    assert_eq!(config.gateway.state, None);
    assert_eq!(config.gateway.sources, Sources::default());
    let told = case
        .with("SCOPE_SHIM_GATEWAY_STATE", "~/.openclaw")
        .load()
        .unwrap();
    assert!(matches!(told.gateway.auth, GatewayAuth::Token(_)));
}

#[test]
fn paths_of_a_file_start_at_the_file() {
    let case = Case::new("data = 'd'\n[gateway]\nstate = '.openclaw'").gateway(GOOD);
    let config = case.load().unwrap();
    assert_eq!(config.data, case.directory.path().join("d"));
    assert_eq!(
        config.gateway.state,
        Some(case.directory.path().join(".openclaw"))
    );
}

#[test]
fn a_secret_that_is_given_is_not_asked_for() {
    let case = Case::new("").gateway("{}");
    assert_eq!(case.codes(), ["gateway-secret-unknown"]);
    let case = case.with("SCOPE_SHIM_GATEWAY_TOKEN", "hunter2");
    assert_eq!(case.codes(), Vec::<&str>::new());
}

#[test]
fn a_slip_in_a_variables_name_is_a_warning() {
    let case = Case::new("").gateway(GOOD);
    assert_eq!(case.codes(), Vec::<&str>::new());
    let case = case
        .with("SCOPE_SHIM_LISTN", "x")
        .with("SCOPE_SHIM_PORT_18780_TCP", "tcp://10.0.0.1:18780")
        .with("SCOPE_SHIM_SERVICE_HOST", "10.0.0.1");
    assert_eq!(case.codes(), ["unknown-variable"]);
}

#[test]
fn names_that_no_gateway_knows_are_warnings() {
    let case =
        Case::new("[policy.clients.openclaw-contol-ui]\ngrant = ['operator.later']").gateway(GOOD);
    let config = case.load().unwrap();
    let fixes: Vec<_> = config
        .findings
        .iter()
        .filter_map(|finding| finding.fix.as_deref())
        .collect();
    assert_eq!(
        fixes,
        ["did you mean \"openclaw-control-ui\"?", "check the name"]
    );
}

#[test]
fn a_slip_in_a_scope_is_an_error_with_what_was_meant() {
    let case = Case::new("[policy]\nmax_scopes = ['operator.raed']").gateway(GOOD);
    let problems = case.load().unwrap_err().to_string();
    let hint = "found \"operator.raed\"\n  hint: did you mean \"operator.read\"?";
    assert!(problems.contains(hint), "{problems}");
}

#[test]
fn policy_adds_caps_and_switches_per_client() {
    let case = Case::new(
        "[policy]\nmax_scopes = ['operator.write']\ndevice_less = 'off'\n\
         [policy.clients.cli]\ngrant = ['operator.pairing']\nmax_scopes = ['operator.read', 'operator.pairing']\n\
         device_less = 'local'",
    )
    .gateway(GOOD);
    let policy = case.load().unwrap().policy;
    assert!(
        policy.allows("webchat", "operator.read") && policy.allows("webchat", "operator.write")
    );
    assert!(!policy.allows("webchat", "operator.admin"));
    assert!(policy.allows("cli", "operator.read"));
    assert!(
        !policy.allows("cli", "operator.write"),
        "its own cap is narrower"
    );
    assert!(
        !policy.allows("cli", "operator.pairing"),
        "the cap of all holds, too"
    );
    assert_eq!(policy.granted("cli").to_string(), "pairing");
    assert_eq!(policy.granted("webchat").to_string(), "none");
    assert_eq!(policy.device_less("cli"), DeviceLess::Local);
    assert_eq!(policy.device_less("webchat"), DeviceLess::Off);
}

#[test]
fn a_map_of_users_that_comes_to_nothing_is_told() {
    const USERS: &str = "[policy.users.alice]\nscopes = ['operator.read']";
    let proxied = |more: &str| {
        format!(
            "{{gateway: {{auth: {{mode: 'trusted-proxy', {more} trustedProxy: {{userHeader: 'x-user', allowLoopback: true}}}}, trustedProxies: ['127.0.0.2']}}}}"
        )
    };
    let doubt = |config: &str, gateway: &str| {
        let case = Case::new(config).gateway(gateway);
        case.codes().contains(&"users-without-effect")
    };
    let trusting = format!("trusted_proxies = ['127.0.0.1']\n{USERS}");
    assert!(doubt(USERS, GOOD), "not by a proxy");
    assert!(doubt(USERS, &proxied("password: 'p',")), "no proxy");
    assert!(doubt(&trusting, &proxied("")), "no way in");
    assert!(!doubt(&trusting, &proxied("password: 'p',")));
    let named = format!("{trusting}\n[gateway]\nuser = 'shim'");
    assert!(!doubt(&named, &proxied("")));
    assert!(!doubt("trusted_proxies = ['127.0.0.1']", &proxied("")));
}

#[test]
fn a_gateway_that_sees_the_shim_beyond_loopback_has_nothing_against_it() {
    const GATEWAY: &str = "{gateway: {auth: {mode: 'trusted-proxy', trustedProxy: {userHeader: 'x-user'}}, trustedProxies: ['192.0.2.7']}}";
    let told = |config: &str| {
        let case = Case::new(config).gateway(GATEWAY);
        case.codes().contains(&"gateway-trusted-proxy-loopback")
    };
    assert!(told(""));
    assert!(!told("[gateway]\nremote_source = '192.0.2.7'"));
}
