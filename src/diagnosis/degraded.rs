//! A session that was let in with fewer scopes than it asked for, and could not be healed: why, and what would.
//!
//! Its client learns of it only when its calls fail, one by one, with `missing scope`. So the shim says it once, in the
//! log, and puts the reason into those answers.

use std::borrow::Cow;
use std::net::IpAddr;

use serde_json::{Value, json};

use super::Diagnosis;
use super::data::data;
use super::draft::{LONGEST_ID, client, device};
use super::text::{Secrets, harmless};

use crate::config::Mode;
use crate::decide::{Decision, Pass};
use crate::engine::Visit;
use crate::findings::Code;
use crate::gateway::GatewayAuth;
use crate::handshake::message::Claims;
use crate::identity::Unidentified;
use crate::profile::{Evidence, Profile, Version};
use crate::scope::ScopeSet;

/// Everything that is known about a session that the gateway has just let in.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// What it claims.
    pub claims: &'a Claims,
    /// What the shim decided before the gateway answered.
    pub decision: &'a Decision,
    /// The mode that the shim is in.
    pub mode: Mode,
    /// Where it came from.
    pub visit: &'a Visit,
    /// The client's address, as far as it is known.
    pub address: IpAddr,
    /// What the gateway asks of everyone.
    pub auth: &'a GatewayAuth,
    /// The gateway's `hello-ok`: the message, or no more of it than `payload.server` and `payload.auth`.
    pub hello: &'a Value,
}

/// Explains what a session lacks; `None` where it lacks nothing, or nobody can tell.
#[must_use]
pub fn diagnose(case: &Case<'_>) -> Option<Diagnosis> {
    let claims = case.claims;
    let requested = claims.requested();
    if !claims.is_operator() || requested.is_empty() {
        return None;
    }
    let gateway = gateway(case.hello);
    let missing = held(case, &gateway, &requested)?.missing(&requested);
    (!missing.is_empty()).then(|| explain(case, &gateway, &requested, &missing))
}

/// What `hello-ok` says of the gateway; better than what the shim has learned, which may be of another one.
fn gateway(hello: &Value) -> Profile {
    let server = hello.pointer("/payload/server").unwrap_or(&Value::Null);
    Profile::from_evidence(&Evidence {
        version: server
            .get("version")
            .and_then(Value::as_str)
            .map(str::to_owned),
        has_server_host: server.get("host").is_some(),
    })
}

/// The scopes of the connection, as far as they can be told (seen on the real gateways from 2026.2.19 to 2026.9.6).
///
/// `hello-ok.auth.scopes` is the connection's own list from 2026.8.2, and for a client without a device from 2026.4.21.
/// For a device it is its token's list up to 2026.7.1, and tells nothing.
fn held(case: &Case<'_>, gateway: &Profile, requested: &ScopeSet) -> Option<ScopeSet> {
    let listed = case.hello.pointer("/payload/auth/scopes");
    let listed = listed.and_then(Value::as_array).map(|scopes| {
        let scopes = scopes.iter().filter_map(Value::as_str);
        scopes.collect::<ScopeSet>()
    });
    if case.claims.device.is_some() {
        let own = gateway
            .version
            .is_some_and(|version| version >= FIRST_WITH_OWN_LIST);
        return listed.filter(|_| own);
    }
    match (listed, clears(case, gateway)?) {
        (Some(listed), _) => Some(listed),
        (None, true) => Some(ScopeSet::new()),
        (None, false) => Some(requested.clone()),
    }
}

/// Whether this gateway clears the scopes of a client without a device, where it does not tell; `None` where a switch
/// of the gateway's decides that nobody outside can see.
fn clears(case: &Case<'_>, gateway: &Profile) -> Option<bool> {
    let control_ui = case.claims.client_id == CONTROL_UI;
    if gateway.early {
        // `controlUi.allowInsecureAuth` lets a page keep them.
        return (!control_ui).then_some(true);
    }
    let Some(version) = gateway.version else {
        return Some(false); // 2026.2.26, the only one of the later ones that does not say its version
    };
    if version < FIRST_CLEARING {
        return Some(false);
    }
    match case.auth {
        GatewayAuth::TrustedProxy { .. } if version < FIRST_WITH_LIST => {
            Some(control_ui == (version >= FIRST_CLEARING_PROXIED_PAGES))
        }
        _ if control_ui && version < FIRST_WITH_LIST => None,
        _ => Some(true),
    }
}

fn explain(
    case: &Case<'_>,
    gateway: &Profile,
    requested: &ScopeSet,
    missing: &ScopeSet,
) -> Diagnosis {
    let Cause { code, why, remedy } = cause(case, missing);
    let secrets = Secrets::of(case.claims, None);
    let client = client(case.claims, &secrets);
    let (asked, lacks) = (secrets.scopes(requested), secrets.scopes(missing));
    let sentence = format!(
        "this session of {client} from {} asked for {asked} and lacks {lacks} on {gateway}: {why}; {remedy}",
        case.address
    );
    let data = data(
        code,
        [
            ("device", json!(device(case.claims, &secrets, LONGEST_ID))),
            ("client", json!(client)),
            ("address", json!(case.address)),
            ("asked", json!(secrets.list(requested))),
            ("missing", json!(secrets.list(missing))),
            ("why", json!(why)),
            ("remedy", json!(remedy)),
        ],
    );
    Diagnosis {
        code,
        short: code.entry().title.to_owned(),
        sentence,
        command: None,
        data,
    }
}

struct Cause {
    code: Code,
    /// Why it lacks what it lacks, and why the shim could do nothing about it.
    why: String,
    /// What would end it.
    remedy: Cow<'static, str>,
}

fn cause(case: &Case<'_>, missing: &ScopeSet) -> Cause {
    let capped = case
        .visit
        .cap
        .as_ref()
        .filter(|cap| !cap.implies_all(missing));
    if let Some(cap) = capped {
        return Cause {
            code: Code::ScopeCap,
            why: format!(
                "the header x-openclaw-scopes of its proxy allows {}",
                Secrets::default().scopes(cap)
            ),
            remedy: "widen the header in the proxy that sets it".into(),
        };
    }
    if let Decision::Pass(Pass::Capped { by, .. }) = case.decision {
        return Cause {
            code: Code::ScopeCap,
            why: format!("{} keeps them from it", harmless(by)),
            remedy: "allow them there, and run scope-shim reload".into(),
        };
    }
    if case.claims.device.is_some() {
        return Cause {
            code: Code::NarrowToken,
            why: "the gateway let its device have no more".to_owned(),
            remedy: Code::NarrowToken.entry().remedy.into(),
        };
    }
    if matches!(case.auth, GatewayAuth::TrustedProxy { .. }) {
        return proxied_user(case);
    }
    device_less(case)
}

/// The gateway lets in whom a proxy authenticated, and takes the scopes; the operator's map gives them back.
fn proxied_user(case: &Case<'_>) -> Cause {
    const NO_SCOPES: &str =
        "a session that a proxy authenticated has no scopes without a device of its own";
    let (code, because, remedy) = match (case.decision, &case.visit.user) {
        (Decision::Rewrite(_), _) if case.mode == Mode::Observe => (
            Code::ProxyUser,
            "scope-shim only observes",
            "switch scope-shim on (mode = \"on\")",
        ),
        (Decision::Pass(Pass::NoDelegate(_)), _) => (
            Code::DelegateNotPaired,
            "scope-shim's own device is not paired for them",
            Code::DelegateNotPaired.entry().remedy,
        ),
        (Decision::Pass(Pass::NotEntitled(_)), Some(_)) => (
            Code::ProxyUser,
            "policy.users maps its user to none of them",
            "map the user to more in policy.users",
        ),
        (_, Some(_)) => (
            Code::ProxyUser,
            "policy.users does not map its user",
            "map the user to scopes in policy.users, or let the user's client keep a device identity and approve it",
        ),
        (_, None) => (
            Code::ProxyUser,
            "no proxy that scope-shim trusts named its user",
            "list the proxy that authenticates in scope-shim's trusted_proxies and map the user in policy.users, or \
             let the user's client keep a device identity and approve it",
        ),
    };
    Cause {
        code,
        why: format!("{NO_SCOPES}, and {because}"),
        remedy: remedy.into(),
    }
}

/// Without a device there are no scopes; the shim stands in only for whom it can vouch.
fn device_less(case: &Case<'_>) -> Cause {
    const NO_DEVICE: &str = "it has no device, so the gateway took them away";
    let plain_page = case
        .visit
        .origin
        .as_deref()
        .is_some_and(|origin| origin.starts_with("http://") && !is_localhost(origin));
    let (code, because, remedy) = match case.decision {
        Decision::Rewrite(_) if case.mode == Mode::Observe => (
            Code::DeviceLess,
            "scope-shim only observes",
            "switch scope-shim on (mode = \"on\")",
        ),
        Decision::Pass(Pass::Unidentified(Unidentified::DeviceLessOff)) => (
            Code::DeviceLess,
            "policy.device_less = \"off\" leaves such clients alone",
            "set policy.device_less = \"local\", or let the client keep a device identity",
        ),
        Decision::Pass(Pass::Unidentified(Unidentified::NothingSilent)) => (
            Code::DeviceLess,
            "autoApproveLocal is off, so the gateway approves no local device without asking",
            "run `openclaw status` on the gateway's machine once and approve its device",
        ),
        Decision::Pass(Pass::Unidentified(Unidentified::StoreUnreadable)) => (
            Code::StoreUnreadable,
            "scope-shim cannot read the pairing store",
            Code::StoreUnreadable.entry().remedy,
        ),
        Decision::Pass(Pass::NotEntitled(_)) => (
            Code::DeviceLess,
            "this machine's own device is not approved for them",
            "approve more for it: openclaw devices list",
        ),
        Decision::Pass(Pass::NoDelegate(_)) => (
            Code::DelegateNotPaired,
            "scope-shim's own device is not paired for them",
            Code::DelegateNotPaired.entry().remedy,
        ),
        _ if plain_page => (
            Code::InsecureContext,
            "a web page on plain HTTP cannot prove a device",
            Code::InsecureContext.entry().remedy,
        ),
        _ if case.visit.circumstances.has_origin => (
            Code::DeviceLess,
            "scope-shim stands in for no web page",
            "let the page keep a device identity and approve it",
        ),
        _ if !case.visit.circumstances.direct_local => (
            Code::DeviceLess,
            "scope-shim stands in for direct clients on the gateway's own machine only",
            "let the client keep a device identity and approve it (openclaw devices approve), or run it there",
        ),
        _ => (
            Code::DeviceLess,
            "scope-shim stands in for clients with the gateway's shared secret only",
            Code::DeviceLess.entry().remedy,
        ),
    };
    Cause {
        code,
        why: format!("{NO_DEVICE}, and {because}"),
        remedy: remedy.into(),
    }
}

fn is_localhost(origin: &str) -> bool {
    let host = origin.trim_start_matches("http://");
    ["localhost", "127.", "[::1]"]
        .iter()
        .any(|local| host.starts_with(local))
}

const CONTROL_UI: &str = "openclaw-control-ui";
/// From here on a client without a device loses its scopes again (GHSA-rqpp-rjj8-7wv8).
const FIRST_CLEARING: Version = Version::v2026(3, 12);
/// From here on a Control UI behind a trusted proxy does, too, and others behind one keep theirs until the next.
const FIRST_CLEARING_PROXIED_PAGES: Version = Version::v2026(3, 22);
/// From here on `hello-ok` lists the scopes of a connection without a device; 2026.3.24 does not yet.
const FIRST_WITH_LIST: Version = Version::v2026(4, 0);
/// From here on `hello-ok` lists the scopes of every connection; 2026.7.1 does not yet.
const FIRST_WITH_OWN_LIST: Version = Version::v2026(8, 0);

#[cfg(test)]
mod tests;
