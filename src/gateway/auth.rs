//! The gateway's credential, by the gateway's own precedence.

use serde_json::Value;

use super::GatewayAuth;
use super::document::Document;
use super::variables::{Variables, is_name};
use crate::config::{Finding, Warning};
use crate::secret::Secret;

/// What the configuration says about one secret.
pub(super) enum Said {
    Nothing,
    Here(Secret, String),
    /// It is somewhere the shim cannot look; says why.
    Elsewhere(String),
}

/// How clients prove themselves, and what told it.
///
/// The gateway itself takes its file before `OPENCLAW_GATEWAY_TOKEN` and `OPENCLAW_GATEWAY_PASSWORD`, unlike its CLI.
/// Without `gateway.auth.mode`, a password decides for the password mode.
pub(super) fn resolve(
    document: Option<&Document>,
    variables: &Variables<'_>,
    findings: &mut Vec<Finding>,
) -> (GatewayAuth, String) {
    let get = |key: &str| document.and_then(|document| document.get(key));
    let origin = |key: &str| document.map_or_else(String::new, |document| document.origin(key));
    let read = |key: &str, variable: &str| {
        let said = said(get(key), &origin(key), variables);
        match (said, variables.get(variable)) {
            (Said::Nothing | Said::Elsewhere(_), Some((value, from))) => {
                Said::Here(Secret::new(value), from)
            }
            (said, _) => said,
        }
    };
    let mode = match get("gateway.auth.mode") {
        None => None,
        Some(Value::String(mode)) => Some(mode.trim()).filter(|mode| !mode.is_empty()),
        Some(_) => {
            findings.extend(document.map(|d| d.wrong("gateway.auth.mode", "a text")));
            return (GatewayAuth::Unknown, String::new());
        }
    };
    let lacks = document.is_some_and(|document| lacks_token(document, variables));
    let token = || read("gateway.auth.token", "OPENCLAW_GATEWAY_TOKEN");
    let password = || read("gateway.auth.password", "OPENCLAW_GATEWAY_PASSWORD");
    match mode {
        Some("none") => (GatewayAuth::None, origin("gateway.auth.mode")),
        Some("token") => known(token(), "token", GatewayAuth::Token, lacks, findings),
        Some("password") => known(
            password(),
            "password",
            GatewayAuth::Password,
            false,
            findings,
        ),
        None => match password() {
            Said::Nothing => known(token(), "token", GatewayAuth::Token, lacks, findings),
            password => known(password, "password", GatewayAuth::Password, false, findings),
        },
        Some("trusted-proxy") => {
            let key = "gateway.auth.trustedProxy.userHeader";
            if get("gateway.auth.trustedProxy.allowLoopback") != Some(&Value::Bool(true)) {
                findings.push(Finding::new(
                    Warning::GatewayTrustedProxyLoopback,
                    "gateway.auth.trustedProxy.allowLoopback is not true: a gateway from 2026.4.21 refuses every user \
                     that a proxy on the same machine names",
                    "gateway.auth.trustedProxy.allowLoopback: true in openclaw.json (gateways from 2026.5); for 2026.4.21, which \
                     has no such switch, gateway.remote_source: an address of this machine beyond loopback on which the \
                     gateway listens as well",
                ));
            }
            let header = get(key).and_then(Value::as_str).map(str::trim);
            match header.filter(|header| !header.is_empty()) {
                Some(header) => {
                    let user_header = header.to_ascii_lowercase();
                    let texts = |key: &str| -> Vec<String> {
                        let list = get(key).and_then(Value::as_array);
                        let texts = list.into_iter().flatten().filter_map(Value::as_str);
                        texts.map(|text| text.trim().to_owned()).collect()
                    };
                    let required = texts("gateway.auth.trustedProxy.requiredHeaders");
                    let auth = GatewayAuth::TrustedProxy {
                        user_header,
                        required_headers: required
                            .iter()
                            .map(|name| name.to_ascii_lowercase())
                            .collect(),
                        allow_users: texts("gateway.auth.trustedProxy.allowUsers"),
                        password: match password() {
                            Said::Here(password, _) => Some(password),
                            Said::Nothing | Said::Elsewhere(_) => None,
                        },
                    };
                    (auth, origin(key))
                }
                None => {
                    findings.push(Finding::new(
                        Warning::GatewayUserHeaderMissing,
                        format!(
                            "gateway.auth.mode is \"trusted-proxy\", but {key} names no header"
                        ),
                        format!("set {key} in openclaw.json"),
                    ));
                    (GatewayAuth::Unknown, String::new())
                }
            }
        }
        Some(_) => {
            findings.push(Finding::new(
                Warning::GatewayAuthModeUnknown,
                "gateway.auth.mode is none of \"none\", \"token\", \"password\" and \"trusted-proxy\"",
                "give the shim gateway.token or gateway.password",
            ));
            (GatewayAuth::Unknown, String::new())
        }
    }
}

/// Whether the gateway is to ask for a token that neither its configuration nor its variables hold, as far as they are to
/// be seen. Gateways from 2026.7.35 then make themselves one for the run, and write it nowhere.
pub(super) fn lacks_token(document: &Document, variables: &Variables<'_>) -> bool {
    let nothing = |kind: &str, variable: &str| {
        let value = document.get(&format!("gateway.auth.{kind}"));
        matches!(said(value, "", variables), Said::Nothing) && variables.get(variable).is_none()
    };
    let no_token = || nothing("token", "OPENCLAW_GATEWAY_TOKEN");
    match document.get("gateway.auth.mode") {
        None => no_token() && nothing("password", "OPENCLAW_GATEWAY_PASSWORD"),
        Some(mode) => mode.as_str() == Some("token") && no_token(),
    }
}

fn known(
    said: Said,
    name: &'static str,
    make: fn(Secret) -> GatewayAuth,
    lacks: bool,
    findings: &mut Vec<Finding>,
) -> (GatewayAuth, String) {
    let upper = name.to_ascii_uppercase();
    let why = match said {
        Said::Here(secret, from) => return (make(secret), from),
        Said::Elsewhere(why) => why,
        Said::Nothing => {
            format!(
                "neither gateway.auth.{name} nor OPENCLAW_GATEWAY_{upper} is set where the shim can see it"
            )
        }
    };
    let give = format!("give SCOPE_SHIM_GATEWAY_{upper}, or gateway.{name}_file");
    let fix = match lacks {
        true => format!(
            "openclaw config set gateway.auth.{name} <{name}>, and restart the gateway, which makes itself one for each \
             run otherwise; if it has one from elsewhere, {give}"
        ),
        false => give,
    };
    findings.push(Finding::new(
        Warning::GatewaySecretUnknown,
        format!("the gateway's {name} is not known: {why}"),
        fix,
    ));
    (GatewayAuth::Unknown, String::new())
}

pub(super) fn said(value: Option<&Value>, origin: &str, variables: &Variables<'_>) -> Said {
    let from_variable = |name: &str| match variables.get(name) {
        Some((value, from)) => Said::Here(Secret::new(value), format!("{origin}, {from}")),
        None => Said::Elsewhere(format!(
            "it is in the variable {name}, which the shim does not have"
        )),
    };
    match value {
        None => Said::Nothing,
        Some(Value::String(text)) => {
            let text = text.trim();
            if text.is_empty() {
                return Said::Nothing;
            }
            // A `$NAME` without braces names a variable since 2026.6.
            if let Some(name) = text.strip_prefix('$').filter(|name| is_name(name)) {
                return from_variable(name);
            }
            match variables.substitute(text) {
                Ok(secret) => Said::Here(Secret::new(secret.trim()), origin.to_owned()),
                Err(missing) => from_variable(&missing),
            }
        }
        Some(Value::Object(reference)) => {
            let text = |key: &str| reference.get(key).and_then(Value::as_str);
            match (text("source"), text("id")) {
                (Some("env"), Some(name)) => from_variable(name.trim()),
                (Some(source @ ("file" | "exec" | "store")), _) => Said::Elsewhere(format!(
                    "it is a secret reference of the kind \"{source}\", which only the gateway can follow"
                )),
                _ => Said::Elsewhere("it is an object, but no secret reference".to_owned()),
            }
        }
        Some(_) => Said::Elsewhere("it is neither a text nor a secret reference".to_owned()),
    }
}
