//! The one refusal that happens before any handshake: HTTP 403, because the gateway cannot attribute the client (F10).
//!
//! Gateways from 2026.8.2 answer every request with forwarding headers so, unless `gateway.trustedProxies` lists the
//! address that it comes from; with a body that says neither which address nor where to list it.

use std::net::IpAddr;

use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use hyper::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

use super::headers::Attribution;
use super::{Body, Front, respond};
use crate::findings::Code;

/// Says what to change, where the response is this refusal; any other goes on as it is, unread.
pub(super) async fn explain(
    front: &Front,
    peer: IpAddr,
    attribution: Attribution,
    response: Response<Body>,
) -> Response<Body> {
    let length = response.body().size_hint().exact();
    if response.status() != StatusCode::FORBIDDEN
        || !length.is_some_and(|length| (1..=LONGEST).contains(&length))
        || response.headers().contains_key(CONTENT_ENCODING)
    {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(body) = body.collect().await else {
        return respond::gateway_unreachable("scope-shim: the gateway broke off");
    };
    let body = body.to_bytes();
    let explained = serde_json::from_slice(&body)
        .ok()
        .and_then(|error| explained(front, peer, attribution, error));
    match explained {
        Some(error) => {
            parts.headers.remove(CONTENT_LENGTH);
            Response::from_parts(parts, respond::full(error.to_string()))
        }
        None => Response::from_parts(parts, respond::full(body)),
    }
}

fn explained(
    front: &Front,
    peer: IpAddr,
    attribution: Attribution,
    mut message: Value,
) -> Option<Value> {
    let error = message.get_mut("error")?.as_object_mut()?;
    if error.get("type")? != "proxy_attribution_required" {
        return None;
    }
    let (code, text, command) = remedy(front, peer, attribution);
    let said = error.get("message").and_then(Value::as_str);
    let said = said.unwrap_or("Proxy client attribution is required");
    error.insert("message".to_owned(), json!(format!("{text} ({said})")));
    let entry = code.entry();
    let mut data = json!({"finding": entry.code, "family": entry.family, "address": peer});
    if let Some(command) = command {
        data["command"] = command.into();
    }
    error.insert("scopeShim".to_owned(), data);
    Some(message)
}

fn remedy(front: &Front, peer: IpAddr, attribution: Attribution) -> (Code, String, Option<String>) {
    if attribution == Attribution::Unattributed && front.trust.trusts(peer) {
        let text = format!(
            "scope-shim does not believe the forwarding headers of this request, although it trusts {peer}: they name no \
             client on another machine, or the Host names scope-shim's own port, as a web page does whose name was rebound \
             to this machine; let the proxy send X-Forwarded-For, and name such a Host in `hosts` of a [[gateway]]"
        );
        return (Code::UntrustedProxy, text, None);
    }
    if attribution == Attribution::Unattributed {
        let text = format!(
            "a proxy at {peer} added forwarding headers, and scope-shim was not told to trust it; add \
             trusted_proxies = [\"{peer}\"] to scope-shim's configuration, or let the proxy add none"
        );
        return (Code::UntrustedProxy, text, None);
    }
    let Some(source) = front.dialer.remote_source else {
        let text = "the gateway does not trust scope-shim; list the address that scope-shim reaches it from in \
                    gateway.trustedProxies of the gateway's openclaw.json";
        return (Code::ShimNotTrusted, text.to_owned(), None);
    };
    let text = format!(
        "the gateway does not trust scope-shim, which brings it remote clients from {source}; add \"{source}\" to \
         gateway.trustedProxies of the gateway's openclaw.json, and restart the gateway"
    );
    let listed = front.engine.rules().facts.trusted_proxies_listed;
    let command = listed.map(|listed| match listed {
        0 => format!("openclaw config set gateway.trustedProxies '[\"{source}\"]'"),
        next => format!("openclaw config set 'gateway.trustedProxies[{next}]' '{source}'"),
    });
    (Code::ShimNotTrusted, text, command)
}

/// The gateway's own is 200 bytes long.
const LONGEST: u64 = 4096;
