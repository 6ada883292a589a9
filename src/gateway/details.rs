//! What the gateway's files say that running the shim does not need, but somebody who looks for a fault does.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::auth::{Said, said};
use super::document::{self, Document};
use super::variables::{Variables, dotenv};
use super::{GatewayAuth, GatewayFacts};
use crate::config::Environment;
use crate::secret::Secret;

/// What somebody who looks for a fault wants to know of the gateway's configuration.
#[derive(Clone, Debug, Default)]
pub struct Details {
    /// `gateway.bind`; for "custom" the address that it stands for.
    pub bind: Option<String>,
    /// Whether a page is allowed when its host is the one it asks for.
    pub host_origin_allowed: bool,
    /// Every place that holds the shared secret, as far as the gateway's files and this environment go.
    pub secrets: Vec<Place>,
}

/// A place that holds the shared secret.
#[derive(Clone, Debug)]
pub struct Place {
    /// What a person calls it.
    pub name: String,
    /// Who takes the secret from there.
    pub reader: Reader,
    /// The secret.
    pub secret: Secret,
}

/// Who takes the shared secret from a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// The gateway and its command line: each has its own order, but both know the place.
    Both,
    /// A gateway that a service manager starts.
    Service,
    /// The gateway's process that runs now.
    Running,
    /// The command line, when it connects to another machine.
    RemoteCli,
    /// The shim.
    Shim,
}

/// Reads the details of a gateway that [`super::discover`] found.
#[must_use]
pub fn details(facts: &GatewayFacts, environment: &Environment) -> Details {
    let (Some(state), Some(file)) = (&facts.state, &facts.config_file) else {
        return Details::default();
    };
    // What is wrong with the file has been said when the facts were read.
    let document = document::load(file, environment, &mut Vec::new())
        .ok()
        .flatten();
    let variables = Variables::new(environment, state, document.as_ref());
    let Some(document) = &document else {
        return Details::default();
    };
    let text = |key: &str| document.get(key).and_then(Value::as_str).map(str::to_owned);
    let fallback = "gateway.controlUi.dangerouslyAllowHostHeaderOriginFallback";
    Details {
        bind: match text("gateway.bind") {
            Some(bind) if bind == "custom" => text("gateway.customBindHost").or(Some(bind)),
            bind => bind,
        },
        host_origin_allowed: document.get(fallback) == Some(&Value::Bool(true)),
        secrets: secrets(facts, document, &variables, environment),
    }
}

fn secrets(
    facts: &GatewayFacts,
    document: &Document,
    variables: &Variables<'_>,
    environment: &Environment,
) -> Vec<Place> {
    let (key, variable) = match facts.auth {
        GatewayAuth::Password(_) => ("password", PASSWORD_VARIABLE),
        GatewayAuth::Token(_) | GatewayAuth::Unknown => ("token", TOKEN_VARIABLE),
        GatewayAuth::None | GatewayAuth::TrustedProxy { .. } => return Vec::new(),
    };
    let mut places = Vec::new();
    let mut put = |name: String, reader, secret| {
        places.push(Place {
            name,
            reader,
            secret,
        });
    };
    let file = document.path.display();
    let is_remote = document.get("gateway.mode").and_then(Value::as_str) == Some("remote");
    for (key, reader) in [
        (format!("gateway.auth.{key}"), Reader::Both),
        (format!("gateway.remote.{key}"), Reader::RemoteCli),
    ] {
        // A gateway's own machine reads `remote` only once it is told to be a client.
        if reader == Reader::RemoteCli && !is_remote {
            continue;
        }
        let origin = document.origin(&key);
        if let Said::Here(secret, _) = said(document.get(&key), &origin, variables) {
            put(format!("{key} in {file}"), reader, secret);
        }
    }
    if let Some(value) = environment.get(variable) {
        let name = format!("{variable} in this environment");
        put(name, Reader::Both, Secret::new(value));
    }
    for (value, place) in variables.in_files(variable) {
        let name = match place {
            ".env" => format!("{variable} in .env beside {file}"),
            place => format!("{variable} in `{place}` of {file}"),
        };
        put(name, Reader::Both, Secret::new(value));
    }
    places
}

/// The port in a gateway's configuration file, if it says one.
#[must_use]
pub fn port_written(config: &Path) -> Option<u16> {
    let document = document::parse_file(config).ok()?;
    let port = document.pointer("/gateway/port")?.as_u64()?;
    u16::try_from(port).ok()
}

/// The variables in a file such as systemd's `EnvironmentFile=` names; empty where it cannot be read.
#[must_use]
pub fn environment_file(path: &Path) -> BTreeMap<String, String> {
    dotenv(&document::read(path).unwrap_or_default())
}

const TOKEN_VARIABLE: &str = "OPENCLAW_GATEWAY_TOKEN";
const PASSWORD_VARIABLE: &str = "OPENCLAW_GATEWAY_PASSWORD";
