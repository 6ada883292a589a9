//! The gateway: what the operator said about it, completed by what its own files say.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::doubt;
use super::load::{absolute, read_file};
use super::problem::{Finding, Origin};
use super::reader::Reader;
use super::show::Show as _;
use super::tls::read_trust;
use super::value::{self, Read, Value, Wrong};
use super::warning::Warning;
use super::{Environment, Gateway, GatewayUrl, Sources, StoreKind, self_proxy};
use crate::gateway::{self, GatewayAuth, GatewayFacts};
use crate::secret::Secret;

/// Reads `[gateway]`.
pub(super) fn read_gateway(reader: &mut Reader<'_>, listen: SocketAddr) -> Gateway {
    let environment = reader.raw.environment;
    let url = reader.read_or_auto("gateway.url", gateway_url);
    let state = reader.read_or_auto("gateway.state", value::path);
    let state = state.map(|(text, origin)| (absolute(environment, &text, &origin), origin));
    if let Some((state, origin)) = &state
        && let Err(error) = fs::read_dir(state)
    {
        let message = format!(
            "`gateway.state`: expected the gateway's state directory, but {}: {error}",
            state.display()
        );
        let hint =
            "give the directory that holds openclaw.json, such as ~/.openclaw, or take it away";
        reader.problem(origin.clone(), message, Some(hint.to_owned()));
    }
    let mut facts = match reader.raw.entry {
        None => facts(url.as_ref(), state.as_ref(), environment, listen),
        Some(entry) => {
            if url.is_none() && state.is_none() {
                let message = "`gateway.url`: nothing tells which of the gateways this is";
                let hint =
                    "give its url = \"ws://127.0.0.1:18789\" or its state directory, or both";
                reader.problem(
                    entry.place.clone(),
                    message.to_owned(),
                    Some(hint.to_owned()),
                );
            }
            facts_of_one(state.as_ref(), environment, listen)
        }
    };
    let (url, origin) = url.unwrap_or_else(|| discovered_url(&facts));
    if self_proxy::is_itself(listen, &url) {
        let message = format!(
            "the shim would listen on the gateway's own address, {url}, and connect to itself"
        );
        let hint = "let the shim listen elsewhere (--listen 127.0.0.1:18780), or move the gateway (openclaw gateway run \
                    --port 18790) and say so (--gateway ws://127.0.0.1:18790)";
        let blamed = match reader.origin("listen") {
            Origin::Default => origin.clone(),
            said => said,
        };
        reader.problem(blamed, message, Some(hint.to_owned()));
    }
    reader.resolved("gateway.url", url.to_string(), origin.clone());
    let url_origin = origin;
    let (shown, origin) = match (&facts.state, state) {
        (Some(state), Some((_, origin))) => (state.show(), origin),
        (Some(state), None) => (state.show(), Origin::Discovery(facts.state_from.clone())),
        (None, _) => ("none".to_owned(), Origin::Default),
    };
    reader.resolved("gateway.state", shown, origin);
    let store = reader.read("gateway.store", StoreKind::Auto, value::word);
    if facts.state.is_none() && matches!(store, StoreKind::Json | StoreKind::Sqlite) {
        let message = format!(
            "`gateway.store`: {:?} is read in the gateway's state directory, and there is none",
            store.as_str()
        );
        let hint = "give gateway.state, or let store = \"control\" ask the gateway";
        reader.problem(
            reader.origin("gateway.store"),
            message,
            Some(hint.to_owned()),
        );
    }
    let auth = auth(reader, &mut facts);
    if reader.raw.entry.is_some() && facts.state.is_none() && matches!(auth, GatewayAuth::Unknown) {
        let message = format!("nothing tells the token or password of the gateway at {url}");
        let fix = "give token_file or password_file in its entry, or its state directory";
        reader
            .findings
            .push(Finding::new(Warning::GatewaySecretUnknown, message, fix));
    }
    let user = reader.read_or_auto("gateway.user", value::path);
    if let Some((user, origin)) = &user {
        reader.resolved("gateway.user", user.clone(), origin.clone());
    }
    let user = user.map(|(user, _)| user);
    let local = reader.read_or_auto("gateway.local_source", value::ip_address);
    let remote = reader.read_or_auto("gateway.remote_source", value::ip_address);
    let trusted = facts.trusted_proxies.as_deref();
    let (said_local, said_remote) = (local.as_ref().map(|s| s.0), remote.as_ref().map(|s| s.0));
    let sources = if url.is_loopback() {
        Sources::on_loopback(trusted, said_local, said_remote)
    } else {
        Sources {
            local: said_local,
            remote: said_remote,
            findings: Vec::new(),
        }
    };
    if !url.is_loopback() || sources.remote.is_some_and(|address| !address.is_loopback()) {
        // To the gateway it is no proxy on loopback.
        facts
            .findings
            .retain(|finding| finding.code != LOOPBACK.as_str());
    }
    for (key, said, chosen) in [
        ("gateway.local_source", local, sources.local),
        ("gateway.remote_source", remote, sources.remote),
    ] {
        let discovered = || Origin::Discovery("the gateway's trustedProxies".to_owned());
        let origin = match (said, chosen) {
            (Some((_, origin)), _) => origin,
            (None, Some(_)) if trusted.is_some() => discovered(),
            (None, _) => Origin::Default,
        };
        let shown = chosen.map_or_else(|| "any".to_owned(), |ip| ip.to_string());
        reader.resolved(key, shown, origin);
    }
    let connect_timeout = reader.read(
        "gateway.connect_timeout",
        Duration::from_secs(3),
        value::timeout,
    );
    let trust = read_trust(reader, &url, &url_origin, &facts);
    Gateway {
        url,
        trust,
        state: facts.state.clone(),
        store,
        auth,
        user,
        sources,
        connect_timeout,
        facts,
    }
}

fn gateway_url(value: &Value<'_>) -> Read<GatewayUrl> {
    let wrong = |found: Option<String>, hint: Option<String>| {
        vec![Wrong {
            expected: "an address such as \"ws://127.0.0.1:18789\"".to_owned(),
            found,
            hint,
            ..Wrong::default()
        }]
    };
    let text = value::path(value).map_err(|_| wrong(Some(value.describe()), None))?;
    GatewayUrl::parse(&text).map_err(|why| wrong(None, Some(why.to_owned())))
}

/// Files on this machine say nothing about a gateway on another one, unless the operator says that they do.
fn facts(
    url: Option<&(GatewayUrl, Origin)>,
    state: Option<&(PathBuf, Origin)>,
    environment: &Environment,
    listen: SocketAddr,
) -> GatewayFacts {
    let here = url.is_none_or(|(url, _)| url.ip().is_some_and(self_proxy::is_own));
    if !here && state.is_none() {
        return GatewayFacts::default();
    }
    gateway::discover(
        state.map(|(state, _)| state.as_path()),
        environment,
        listen.port(),
    )
}

/// With several gateways, this machine's usual places and variables tell nothing about any of them.
fn facts_of_one(
    state: Option<&(PathBuf, Origin)>,
    environment: &Environment,
    listen: SocketAddr,
) -> GatewayFacts {
    let Some((state, _)) = state else {
        return GatewayFacts::default();
    };
    gateway::discover(Some(state), &environment.of_no_gateway(), listen.port())
}

fn discovered_url(facts: &GatewayFacts) -> (GatewayUrl, Origin) {
    let url = GatewayUrl {
        tls: facts.tls == Some(true),
        host: facts.host.clone().unwrap_or_else(|| "127.0.0.1".to_owned()),
        port: facts.port.unwrap_or(DEFAULT_GATEWAY_PORT),
    };
    let origin = match (facts.port, &facts.config_file) {
        (Some(_), _) => Origin::Discovery(facts.port_from.clone()),
        (None, Some(file)) => Origin::Discovery(file.display().to_string()),
        (None, None) => Origin::Default,
    };
    (url, origin)
}

fn auth(reader: &mut Reader<'_>, facts: &mut GatewayFacts) -> GatewayAuth {
    let mut given = Vec::new();
    for (key, file_key, make) in [
        (
            "gateway.token",
            "gateway.token_file",
            GatewayAuth::Token as fn(Secret) -> GatewayAuth,
        ),
        (
            "gateway.password",
            "gateway.password_file",
            GatewayAuth::Password,
        ),
    ] {
        if let Some((secret, origin)) = reader.read_or_auto(key, value::secret) {
            given.push((key, make(secret), origin));
        }
        if let Some((path, origin)) = reader.read_or_auto(file_key, value::path) {
            let path = absolute(reader.raw.environment, &path, &origin);
            match read_secret(&path) {
                Ok(secret) => {
                    doubt::secret_file(reader, file_key, &path);
                    given.push((file_key, make(secret), origin));
                }
                Err(why) => {
                    let message = format!("`{file_key}`: {}: {why}", path.display());
                    let mut hint =
                        "give a file that holds the secret, or run this as a user who can read it"
                            .to_owned();
                    // The file of this machine's service, which another user's commands need not go by.
                    if matches!(&origin, Origin::File { path, .. } if path.starts_with("/etc")) {
                        hint.push_str(", or leave this configuration out: --config /dev/null");
                    }
                    reader.problem(origin, message, Some(hint));
                }
            }
        }
    }
    if let [(first, ..), (second, _, origin), ..] = given.as_slice() {
        let message = format!("`{second}`: `{first}` is given, too; expected one of the two");
        let hint =
            format!("take one of the two away: the gateway knows one secret, {first} or {second}");
        reader.problem(origin.clone(), message, Some(hint));
    }
    if !given.is_empty() {
        // What the files do not tell, the operator does.
        let unknown = Warning::GatewaySecretUnknown.as_str();
        facts.findings.retain(|finding| finding.code != unknown);
    }
    let discovered = || {
        let origin = match &facts.auth {
            GatewayAuth::Unknown => Origin::Default,
            _ => Origin::Discovery(facts.auth_from.clone()),
        };
        ("gateway.auth", facts.auth.clone(), origin)
    };
    let (_, mut auth, origin) = given.into_iter().next().unwrap_or_else(discovered);
    if let (GatewayAuth::Password(given), GatewayAuth::TrustedProxy { .. }) = (&auth, &facts.auth) {
        // The one that lets clients past the proxy, which is not how the others come in.
        let mut proxied = facts.auth.clone();
        if let GatewayAuth::TrustedProxy { password, .. } = &mut proxied {
            *password = Some(given.clone());
        }
        auth = proxied;
    }
    reader.resolved("gateway.auth", auth.to_string(), origin);
    let same_kind = std::mem::discriminant(&auth) == std::mem::discriminant(&facts.auth);
    if !same_kind && !matches!(facts.auth, GatewayAuth::Unknown) {
        let name = |auth: &GatewayAuth| {
            let text = auth.to_string();
            text.split([' ', ',']).next().unwrap_or_default().to_owned()
        };
        let message = format!(
            "the shim was given a {}, but the gateway's own configuration says {}",
            name(&auth),
            name(&facts.auth)
        );
        reader.findings.push(Finding::new(
            Warning::AuthMismatch,
            message,
            "take the setting away to use what the gateway's configuration says",
        ));
    }
    auth
}

fn read_secret(path: &Path) -> Result<Secret, String> {
    let text = read_file(path)?;
    match text.trim() {
        "" => Err("expected a secret, found nothing".to_owned()),
        secret => Ok(Secret::new(secret)),
    }
}

const LOOPBACK: Warning = Warning::GatewayTrustedProxyLoopback;
const DEFAULT_GATEWAY_PORT: u16 = 18_789;
