//! What the gateway's own files say about it: state directory, port, credentials, trusted proxies.
//!
//! Nothing here is an error: a gateway may run without a configuration file, or on another machine. What cannot be
//! read or resolved becomes a [`Finding`] that says which setting to give the shim instead.

mod auth;
mod details;
mod document;
mod include;
mod paths;
mod variables;

use std::fmt;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde_json::Value;

use crate::config::{Environment, Finding, Warning, network};
use crate::secret::Secret;
pub use details::{Details, Place, Reader, details, environment_file, port_written};
use document::Document;
use variables::Variables;

/// How clients prove themselves to the gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum GatewayAuth {
    /// Not at all.
    None,
    /// With a shared token.
    Token(Secret),
    /// With a shared password.
    Password(Secret),
    /// A proxy names the user in a header.
    TrustedProxy {
        /// The header, in lower case.
        user_header: String,
        /// The headers that it wants beside it, in lower case.
        required_headers: Vec<String>,
        /// The users that may come in; none listed, all may.
        allow_users: Vec<String>,
        /// What lets a client of the gateway's own machine in without the proxy, from 2026.5.
        password: Option<Secret>,
    },
    /// The shim could not find out; a finding says why.
    #[default]
    Unknown,
}

impl GatewayAuth {
    /// The trusted-proxy mode with nothing but a user header.
    #[must_use]
    pub fn trusted_proxy(user_header: impl Into<String>) -> Self {
        Self::TrustedProxy {
            user_header: user_header.into(),
            required_headers: Vec::new(),
            allow_users: Vec::new(),
            password: None,
        }
    }

    /// Whether a proxy names the user.
    #[must_use]
    pub const fn takes_users(&self) -> bool {
        matches!(self, Self::TrustedProxy { .. })
    }

    /// Lets in no users but those that are let in now, and none at all where a proxy names them otherwise now, or nobody
    /// does. How the shim itself gets in stays.
    pub fn admit_users_of(&mut self, now: &Self) {
        let Self::TrustedProxy {
            user_header,
            required_headers,
            allow_users,
            password,
        } = self
        else {
            return;
        };
        match now {
            Self::TrustedProxy {
                user_header: header,
                required_headers: required,
                allow_users: allowed,
                ..
            } if header == user_header && required == required_headers => {
                allow_users.clone_from(allowed);
            }
            _ => *self = password.take().map_or(Self::Unknown, Self::Password),
        }
    }

    /// The shared secret that a client sends, whichever kind it is.
    #[must_use]
    pub fn secret(&self) -> Option<&Secret> {
        match self {
            Self::Token(secret) | Self::Password(secret) => Some(secret),
            Self::None | Self::TrustedProxy { .. } | Self::Unknown => None,
        }
    }
}

/// Names the kind; a secret shows as `***`.
impl fmt::Display for GatewayAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Token(secret) => write!(f, "token {secret}"),
            Self::Password(secret) => write!(f, "password {secret}"),
            Self::TrustedProxy { user_header, .. } => {
                write!(f, "trusted-proxy, user in {user_header}")
            }
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

/// What the gateway's files say. `None` where they say nothing or could not be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GatewayFacts {
    /// The state directory; it need not exist.
    pub state: Option<PathBuf>,
    /// What told the state directory.
    pub state_from: String,
    /// The gateway's configuration file, where there is one that can be read.
    pub config_file: Option<PathBuf>,
    /// The address to reach the gateway at, as far as `gateway.bind` tells it.
    pub host: Option<String>,
    /// The port.
    pub port: Option<u16>,
    /// What told the port.
    pub port_from: String,
    /// Whether the gateway speaks TLS itself.
    pub tls: Option<bool>,
    /// The certificate that it then shows, which it makes itself where there is none.
    pub tls_certificate: Option<PathBuf>,
    /// How clients prove themselves.
    pub auth: GatewayAuth,
    /// What told the credential.
    pub auth_from: String,
    /// Whether the configuration was read, asks for a token, and holds none.
    pub lacks_token: bool,
    /// The proxies whose forwarded headers the gateway believes.
    pub trusted_proxies: Option<Vec<IpNet>>,
    /// How many entries the list of them has, whether they are understood or not.
    pub trusted_proxies_listed: Option<usize>,
    /// Whether the gateway silently approves local devices; gateways before 2026.8 always do.
    pub auto_approve_local: Option<bool>,
    /// The origins from which browsers may connect.
    pub allowed_origins: Option<Vec<String>>,
    /// `meta.lastTouchedVersion`: the release that wrote the configuration file last, often that of the command line.
    pub last_touched: Option<String>,
    /// What an operator should know.
    pub findings: Vec<Finding>,
}

/// Reads what the gateway's files say.
///
/// `state` is the directory that the shim was told; without it, the gateway's own rules find it. `listen_port` is the
/// shim's own: operators export `OPENCLAW_GATEWAY_PORT` to send the CLI to the shim, so a value equal to it says
/// nothing about the gateway.
#[must_use]
pub fn discover(state: Option<&Path>, environment: &Environment, listen_port: u16) -> GatewayFacts {
    let mut facts = GatewayFacts::default();
    let Some((directory, from)) = paths::state_directory(state, environment) else {
        facts.findings.push(Finding::new(
            Warning::NoHome,
            "neither OPENCLAW_STATE_DIR nor a home directory tells where the gateway keeps its state",
            "give gateway.state",
        ));
        return facts;
    };
    let file = paths::config_file(&directory, state.is_some(), environment);
    let document = match document::load(&file, environment, &mut facts.findings) {
        Ok(document) => document,
        Err(finding) => {
            facts.findings.push(finding);
            None
        }
    };
    let variables = Variables::new(environment, &directory, document.as_ref());
    if let Some(document) = &document {
        facts.config_file = Some(file.clone());
        facts.read(document, &variables);
        facts.tls_certificate =
            facts.own_certificate(document, &variables, environment, &directory);
    }
    facts.find_port(document.as_ref(), environment, listen_port);
    let (auth, auth_from) = auth::resolve(document.as_ref(), &variables, &mut facts.findings);
    facts.lacks_token = document
        .as_ref()
        .is_some_and(|document| auth::lacks_token(document, &variables));
    facts.auth = auth;
    facts.auth_from = auth_from;
    facts.state = Some(directory);
    facts.state_from = from;
    facts
}

impl GatewayFacts {
    fn read(&mut self, document: &Document, variables: &Variables<'_>) {
        let mut reader = Lookup {
            document,
            variables,
            findings: &mut self.findings,
        };
        self.tls = Some(reader.flag("gateway.tls.enabled").unwrap_or(false));
        let auto_approve = reader.flag("gateway.nodes.pairing.autoApproveLocal");
        self.auto_approve_local = Some(auto_approve.unwrap_or(true));
        self.allowed_origins = Some(reader.texts("gateway.controlUi.allowedOrigins"));
        self.host = reader.host();
        let touched = document
            .get("meta.lastTouchedVersion")
            .and_then(Value::as_str);
        self.last_touched = touched.map(str::to_owned);
        let listed = reader.entries("gateway.trustedProxies");
        self.trusted_proxies_listed = match document.get("gateway.trustedProxies") {
            None => Some(0),
            Some(list) => list.as_array().map(Vec::len),
        };
        let mut proxies = Vec::new();
        for (written, text) in listed {
            match network(&text) {
                Some(network) => proxies.push(network),
                None => reader.findings.push(Finding::new(
                    Warning::GatewayTrustedProxyInvalid,
                    format!(
                        "the gateway ignores {written:?} in gateway.trustedProxies: it is neither an address nor a network"
                    ),
                    "write an address such as \"127.0.0.2\"",
                )),
            }
        }
        self.trusted_proxies = Some(proxies);
        if reader.text("gateway.mode").as_deref() == Some("remote") {
            self.findings.push(Finding::new(
                Warning::GatewayModeRemote,
                format!(
                    "{} belongs to a client: gateway.mode is \"remote\", so no gateway runs from it",
                    document.path.display()
                ),
                "give the gateway's address: gateway.url, --gateway",
            ));
        }
    }

    /// Where the gateway keeps the certificate that it shows: `gateway.tls.certPath`, else in its state directory
    /// (2026.2.19 to 2026.9.6). A relative path starts at the gateway's working directory, which nobody knows.
    fn own_certificate(
        &mut self,
        document: &Document,
        variables: &Variables<'_>,
        environment: &Environment,
        state: &Path,
    ) -> Option<PathBuf> {
        if self.tls != Some(true) {
            return None;
        }
        let mut reader = Lookup {
            document,
            variables,
            findings: &mut self.findings,
        };
        let Some(text) = reader.text("gateway.tls.certPath") else {
            return Some(state.join("gateway/tls/gateway-cert.pem"));
        };
        let path = environment.expand(text.trim(), Path::new(""));
        path.is_absolute().then_some(path)
    }

    fn find_port(
        &mut self,
        document: Option<&Document>,
        environment: &Environment,
        listen_port: u16,
    ) {
        let variable = environment
            .get(PORT_VARIABLE)
            .and_then(port_of_variable)
            .filter(|port| *port != listen_port);
        let written = document.and_then(|document| document.get("gateway.port"));
        let port = written.and_then(|value| match value.as_f64() {
            Some(port) if port.fract() == 0.0 && (1.0..=65535.0).contains(&port) => {
                value.as_u64().or(Some(port as u64))
            }
            _ => None,
        });
        let port = port.and_then(|port| u16::try_from(port).ok());
        if let (Some(_), None, Some(document)) = (written, port, document) {
            self.findings
                .push(document.wrong("gateway.port", "a port number"));
        }
        if let (Some(port), Some(document)) = (port, document) {
            self.port = Some(port);
            self.port_from = document.origin("gateway.port");
            if let Some(other) = variable.filter(|other| *other != port) {
                self.findings.push(Finding::new(
                    Warning::GatewayPortDoubt,
                    format!(
                        "{PORT_VARIABLE} says {other} and openclaw.json says {port}; the shim takes {port}, \
                         the gateway itself would take the variable if it has it"
                    ),
                    "if the gateway listens elsewhere, give its address: gateway.url, --gateway",
                ));
            }
        } else if let Some(port) = variable {
            self.port = Some(port);
            self.port_from = PORT_VARIABLE.to_owned();
        }
    }
}

/// Typed answers from the gateway's configuration; a wrong type is a finding and counts as unset.
struct Lookup<'a> {
    document: &'a Document,
    variables: &'a Variables<'a>,
    findings: &'a mut Vec<Finding>,
}

impl<'a> Lookup<'a> {
    fn flag(&mut self, key: &str) -> Option<bool> {
        let value = self.document.get(key)?;
        let flag = value.as_bool();
        if flag.is_none() {
            self.findings
                .push(self.document.wrong(key, "true or false"));
        }
        flag
    }

    fn text(&mut self, key: &str) -> Option<String> {
        match self.document.get(key)? {
            Value::String(text) => self.substituted(key, text),
            _ => {
                self.findings.push(self.document.wrong(key, "a text"));
                None
            }
        }
    }

    fn texts(&mut self, key: &str) -> Vec<String> {
        let entries = self.entries(key).into_iter();
        entries.map(|(_, text)| text).collect()
    }

    /// The texts of a list, each as it is written and as it is meant: what a variable holds may be a secret.
    fn entries(&mut self, key: &str) -> Vec<(&'a str, String)> {
        let Some(value) = self.document.get(key) else {
            return Vec::new();
        };
        let Some(items) = value.as_array() else {
            self.findings
                .push(self.document.wrong(key, "a list of texts"));
            return Vec::new();
        };
        let mut entries = Vec::new();
        for item in items {
            match item {
                Value::String(written) => {
                    let text = self.substituted(key, written);
                    entries.extend(text.map(|text| (written.as_str(), text)));
                }
                _ => self
                    .findings
                    .push(self.document.wrong(key, "a list of texts")),
            }
        }
        entries
    }

    fn substituted(&mut self, key: &str, text: &str) -> Option<String> {
        match self.variables.substitute(text) {
            Ok(text) => Some(text),
            Err(missing) => {
                self.findings.push(Finding::new(
                    Warning::GatewayVariableUnset,
                    format!(
                        "{}: {key} needs the variable {missing}, which the shim does not have",
                        self.document.path.display()
                    ),
                    format!("start the shim with {missing} set"),
                ));
                None
            }
        }
    }

    /// Where to dial, for a gateway that listens on more or other than loopback.
    fn host(&mut self) -> Option<String> {
        let loopback = || Some("127.0.0.1".to_owned());
        match self.text("gateway.bind").as_deref() {
            // All of these are reached on loopback, too, or fall back to it.
            None | Some("loopback" | "lan" | "auto") => loopback(),
            Some("custom") => {
                let host = self.text("gateway.customBindHost");
                host.filter(|host| host != "0.0.0.0" && host.parse::<std::net::Ipv4Addr>().is_ok())
                    .or_else(loopback)
            }
            Some("tailnet") => {
                self.findings.push(Finding::new(
                    Warning::GatewayBindTailnet,
                    "gateway.bind is \"tailnet\": the gateway listens on this machine's tailnet address, which the \
                     shim does not look up",
                    "give the address (gateway.url, --gateway): ws://<tailnet address>:<port>",
                ));
                loopback()
            }
            Some(host) => host
                .parse::<std::net::Ipv4Addr>()
                .ok()
                .filter(|ip| !ip.is_unspecified())
                .map(|ip| ip.to_string())
                .or_else(loopback),
        }
    }
}

/// A port, or `host:port` as container set-ups write it; gateways from 2026.3.24 read both.
fn port_of_variable(text: &str) -> Option<u16> {
    let port = text.rsplit_once(':').map_or(text, |(_, port)| port);
    port.parse().ok().filter(|port| *port != 0)
}

const PORT_VARIABLE: &str = "OPENCLAW_GATEWAY_PORT";

#[cfg(test)]
mod tests;
