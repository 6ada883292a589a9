use super::*;
use crate::tls::Fingerprint;

const TLS_ON: &str = "{gateway: {port: 19001, auth: {token: 'tok'}, tls: {enabled: true}, \
                      trustedProxies: ['127.0.0.2']}}";

fn certificate(config: &Config) -> &Setting {
    let mut settings = config.settings.iter();
    settings
        .find(|setting| setting.key == "gateway.certificate")
        .unwrap()
}

#[test]
fn a_gateway_of_this_machine_that_speaks_tls_is_pinned_to_its_own_certificate() {
    let case = Case::new("").gateway(TLS_ON);
    let config = case.load().unwrap();
    let own = case
        .directory
        .path()
        .join(".openclaw/gateway/tls/gateway-cert.pem");
    assert_eq!(config.gateway.url.to_string(), "wss://127.0.0.1:19001");
    assert_eq!(config.gateway.trust, Trust::Own(own.clone()));
    let shown = certificate(&config);
    assert_eq!(shown.value, format!("pinned to {}", own.display()));
    assert_eq!(shown.origin.to_string(), "the gateway's gateway.tls");
}

#[test]
fn the_gateway_may_keep_its_certificate_elsewhere() {
    let elsewhere = TLS_ON.replace("enabled: true", "enabled: true, certPath: '~/tls/own.pem'");
    let case = Case::new("").gateway(&elsewhere);
    let own = case.directory.path().join("tls/own.pem");
    assert_eq!(case.load().unwrap().gateway.trust, Trust::Own(own));
}

#[test]
fn what_is_before_the_gateway_shows_a_certificate_of_an_authority() {
    let case = Case::new("[gateway]\nurl = 'wss://127.0.0.1:443'").gateway(TLS_ON);
    assert_eq!(case.load().unwrap().gateway.trust, Trust::System);
}

#[test]
fn a_fingerprint_wins_over_the_gateways_own_file() {
    let fingerprint = Fingerprint::of(b"a certificate");
    let case =
        Case::new(&format!("[gateway]\nfingerprint = 'sha256:{fingerprint}'")).gateway(TLS_ON);
    let config = case.load().unwrap();
    assert_eq!(config.gateway.trust, Trust::Pinned(fingerprint));
    assert_eq!(certificate(&config).value, format!("pinned {fingerprint}"));
}

#[test]
fn plaintext_to_a_gateway_that_says_tls_is_doubted() {
    let case = Case::new("[gateway]\nurl = 'ws://127.0.0.1:19001'").gateway(TLS_ON);
    assert_eq!(case.codes(), ["gateway-speaks-tls"]);
}

#[test]
fn plaintext_stays_on_this_machine_unless_somebody_says_otherwise() {
    for (listen, url) in [
        ("127.0.0.9:1", "ws://localhost:2"),
        ("[::1]:1", "ws://[::1]:2"),
    ] {
        let case = Case::new(&format!("listen = '{listen}'\n[gateway]\nurl = '{url}'"));
        case.load().unwrap();
    }
    for listen in ["0.0.0.0:1", "[::]:1", "192.0.2.1:1", "[::ffff:10.0.0.1]:1"] {
        let text = format!("listen = '{listen}'\n[gateway]\nurl = 'ws://localhost:2'\n");
        let refused = Case::new(&text).problems();
        assert!(
            refused.starts_with("DIR/shim.toml:1:10: `listen`: "),
            "{refused}"
        );
        assert!(
            refused.contains("say tls.plaintext = \"allowed\""),
            "{refused}"
        );
        let said = format!("{text}[tls]\nplaintext = 'allowed'");
        Case::new(&said).load().unwrap();
        let encrypted = format!("{text}[tls]\ncertificate = 'certificate.pem'\nkey = 'key.pem'");
        Case::new(&encrypted).certified().load().unwrap();
    }
    for url in ["ws://gateway:2", "ws://10.0.0.1:2", "ws://[fe80::1]:2"] {
        let text = format!("[gateway]\nurl = '{url}'\n");
        let refused = Case::new(&text).problems();
        assert!(
            refused.starts_with("DIR/shim.toml:2:7: `gateway.url`: "),
            "{refused}"
        );
        assert!(
            refused.contains("say gateway.plaintext = \"allowed\""),
            "{refused}"
        );
        Case::new(&format!("{text}plaintext = 'allowed'"))
            .load()
            .unwrap();
        Case::new(&text.replace("ws://", "wss://")).load().unwrap();
    }
}

#[test]
fn an_address_of_this_machine_is_this_machine() {
    // Nothing is sent: the system says which of its own addresses it would send from.
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    if socket.connect("192.0.2.1:9").is_err() {
        return;
    }
    let own = socket.local_addr().unwrap().ip();
    Case::new(&format!("[gateway]\nurl = 'ws://{own}:2'\n"))
        .load()
        .unwrap();
}

#[test]
fn permission_for_one_side_is_none_for_the_other() {
    let case =
        Case::new("listen = '0.0.0.0:1'\n[gateway]\nurl = 'ws://g:2'\nplaintext = 'allowed'");
    assert!(case.problems().contains("`listen`: "));
    let case = Case::new(
        "listen = '0.0.0.0:1'\n[gateway]\nurl = 'ws://g:2'\n[tls]\nplaintext = 'allowed'",
    );
    assert!(case.problems().contains("`gateway.url`: "));
}

#[test]
fn a_key_that_is_not_the_certificates_is_refused() {
    let case = Case::new("[tls]\ncertificate = 'certificate.pem'\nkey = 'other.pem'").certified();
    let other = rcgen::KeyPair::generate().unwrap().serialize_pem();
    fs::write(case.directory.path().join("other.pem"), other).unwrap();
    assert_eq!(
        case.problems(),
        "DIR/shim.toml:3:7: `tls.key`: DIR/other.pem is not the key of the certificate in DIR/certificate.pem"
    );
}

#[cfg(unix)]
#[test]
fn a_key_that_everybody_reads_is_a_warning_and_one_for_a_group_is_not() {
    use std::os::unix::fs::PermissionsExt as _;
    let case = Case::new("[tls]\ncertificate = 'certificate.pem'\nkey = 'key.pem'")
        .gateway(GOOD)
        .certified();
    assert_eq!(case.codes(), Vec::<&str>::new());
    let key = case.directory.path().join("key.pem");
    fs::set_permissions(key, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(case.codes(), ["tls-key-readable"]);
}
