//! What is encrypted: `[tls]` for clients, and for the gateway which certificate it has to show.
//!
//! Secrets cross both sides, so that plaintext ends at this machine unless the operator says otherwise.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::load::absolute;
use super::problem::{Finding, Origin};
use super::reader::Reader;
use super::show::Show as _;
use super::value::{self, Read, Value};
use super::warning::Warning;
use super::{GatewayUrl, Plaintext, self_proxy};
use crate::gateway::GatewayFacts;
use crate::tls::{Files, Fingerprint, PairError, Trust};

/// How clients speak to the shim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The certificate that clients are shown; without one, they speak plaintext.
    pub files: Option<Files>,
    /// Whether they may do so from other machines.
    pub plaintext: Plaintext,
}

/// Reads `[tls]`.
pub(super) fn read_tls(reader: &mut Reader<'_>, listen: SocketAddr) -> Tls {
    let certificate = read_path(reader, "tls.certificate");
    let key = read_path(reader, "tls.key");
    let plaintext = reader.read("tls.plaintext", Plaintext::Refused, value::word);
    let files = match (&certificate, &key) {
        (Some((certificate, _)), Some((key, _))) => Some(Files {
            certificate: certificate.clone(),
            key: key.clone(),
        }),
        (None, None) => None,
        (Some((_, origin)), None) => {
            one_without_the_other(reader, origin, "tls.certificate", "tls.key")
        }
        (None, Some((_, origin))) => {
            one_without_the_other(reader, origin, "tls.key", "tls.certificate")
        }
    };
    if let (Some(files), Some((_, certificate)), Some((_, key))) = (&files, &certificate, &key) {
        match files.read() {
            Ok(pair) => reader.findings.extend(files.findings(&pair)),
            Err(error) => {
                let (name, origin) = match error {
                    PairError::Certificate { .. } => ("tls.certificate", certificate),
                    PairError::Key { .. } | PairError::Mismatch(_) => ("tls.key", key),
                };
                reader.problem(origin.clone(), format!("`{name}`: {error}"), None);
            }
        }
    }
    let encrypted = certificate.is_some() || key.is_some();
    if !encrypted && plaintext == Plaintext::Refused && !listen.ip().to_canonical().is_loopback() {
        let message = format!(
            "`listen`: {listen} is reached from other machines, whose secrets would cross the network unencrypted"
        );
        let hint = "give tls.certificate and tls.key; or listen on 127.0.0.1; or, where something else protects that network, \
                    say tls.plaintext = \"allowed\"";
        reader.problem(reader.origin("listen"), message, Some(hint.to_owned()));
    }
    Tls { files, plaintext }
}

/// Reads which certificate the gateway has to show, and whether it may do without.
pub(super) fn read_trust(
    reader: &mut Reader<'_>,
    url: &GatewayUrl,
    url_origin: &Origin,
    facts: &GatewayFacts,
) -> Trust {
    let authorities = reader.read_or_auto("gateway.ca_file", value::path);
    let pinned = reader.read_or_auto("gateway.fingerprint", fingerprint);
    let plaintext = reader.read("gateway.plaintext", Plaintext::Refused, value::word);
    if let (Some(_), Some((_, origin))) = (&authorities, &pinned) {
        let message =
            "`gateway.fingerprint`: `gateway.ca_file` is given, too; expected one of the two";
        reader.problem(origin.clone(), message.to_owned(), None);
    }
    for (key, said) in [
        ("gateway.ca_file", authorities.as_ref().map(|said| &said.1)),
        ("gateway.fingerprint", pinned.as_ref().map(|said| &said.1)),
    ] {
        if let (Some(origin), false) = (said, url.tls) {
            let message =
                format!("`{key}`: {url} is not encrypted, so that there is no certificate");
            let hint = format!("write wss://{} as gateway.url", url.authority());
            reader.problem(origin.clone(), message, Some(hint));
        }
    }
    if !url.tls {
        refuse_plaintext(reader, url, url_origin, plaintext);
        doubt_plaintext(reader, url, facts);
    } else if rustls::pki_types::ServerName::try_from(url.host.as_str()).is_err() {
        let message = format!(
            "`gateway.url`: no certificate can be for the name {}",
            url.host
        );
        reader.problem(url_origin.clone(), message, None);
    }
    let (trust, shown, origin) = match (authorities, pinned, &facts.tls_certificate) {
        (Some((file, origin)), _, _) => {
            let file = absolute(reader.raw.environment, &file, &origin);
            let trust = Trust::authorities(&file).unwrap_or_else(|why| {
                let message = format!("`gateway.ca_file`: {}: {why}", file.display());
                reader.problem(origin.clone(), message, None);
                Trust::System
            });
            let shown = format!("from an authority of {}", file.display());
            (trust, shown, origin)
        }
        (None, Some((fingerprint, origin)), _) => {
            let shown = format!("pinned {fingerprint}");
            (Trust::Pinned(fingerprint), shown, origin)
        }
        _ if !url.tls => (Trust::System, "none".to_owned(), Origin::Default),
        (None, None, Some(file)) if is_gateways_own(url, facts) => {
            let origin = Origin::Discovery("the gateway's gateway.tls".to_owned());
            let shown = format!("pinned to {}", file.display());
            (Trust::Own(file.clone()), shown, origin)
        }
        (None, None, _) => {
            let shown = "from an authority that this machine trusts".to_owned();
            (Trust::System, shown, Origin::Default)
        }
    };
    reader.resolved("gateway.certificate", shown, origin);
    trust
}

fn refuse_plaintext(
    reader: &mut Reader<'_>,
    url: &GatewayUrl,
    origin: &Origin,
    plaintext: Plaintext,
) {
    let here = url.is_loopback() || url.ip().is_some_and(self_proxy::is_own);
    if here || plaintext == Plaintext::Allowed {
        return;
    }
    let message = format!(
        "`gateway.url`: {url} is not this machine, and every secret would cross the network unencrypted"
    );
    let hint = "give its wss:// address; or, where something else protects that network, say gateway.plaintext = \
                \"allowed\"";
    reader.problem(origin.clone(), message, Some(hint.to_owned()));
}

fn doubt_plaintext(reader: &mut Reader<'_>, url: &GatewayUrl, facts: &GatewayFacts) {
    if facts.tls != Some(true) || !is_gateways_own(url, facts) {
        return;
    }
    reader.findings.push(Finding::new(
        Warning::GatewaySpeaksTls,
        format!(
            "gateway.url is {url}, but the gateway's own configuration switches gateway.tls on"
        ),
        format!("write wss://{} as gateway.url", url.authority()),
    ));
}

/// Whether an address is that of the gateway whose files were read, and not of something before it.
fn is_gateways_own(url: &GatewayUrl, facts: &GatewayFacts) -> bool {
    facts.port.is_none_or(|port| port == url.port)
}

fn read_path(reader: &mut Reader<'_>, key: &'static str) -> Option<(PathBuf, Origin)> {
    let said = reader.read_or_auto(key, value::path);
    let said = said.map(|(text, origin)| {
        let path = absolute(reader.raw.environment, &text, &origin);
        (path, origin)
    });
    let (shown, origin) = match &said {
        Some((path, origin)) => (path.show(), origin.clone()),
        None => ("none".to_owned(), Origin::Default),
    };
    reader.resolved(key, shown, origin);
    said
}

fn one_without_the_other<T>(
    reader: &mut Reader<'_>,
    origin: &Origin,
    given: &str,
    missing: &str,
) -> Option<T> {
    let message = format!("`{given}`: `{missing}` is not given; expected both or none");
    reader.problem(origin.clone(), message, None);
    None
}

fn fingerprint(value: &Value<'_>) -> Read<Fingerprint> {
    let text = value::path(value).unwrap_or_default();
    Fingerprint::parse(&text).ok_or_else(|| {
        vec![value.wrong(
            "the SHA-256 of a certificate, as openssl x509 -noout -fingerprint -sha256 prints it",
        )]
    })
}
