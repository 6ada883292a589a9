//! What the address of a page lacks: F8, F9, and a page of another build (F16).

use std::net::IpAddr;

use super::Case;
use super::draft::Draft;
use super::text::Secrets;
use crate::findings::Code;
use crate::gateway::GatewayAuth;
use crate::profile::Version;

pub(super) fn no_device(case: &Case<'_>) -> Draft {
    if matches!(case.auth, GatewayAuth::TrustedProxy { .. }) {
        return super::proxy::proxy_user(case);
    }
    let secrets = Secrets::of(case.claims, case.challenge);
    let Some(origin) = case.visit.origin.as_deref() else {
        return device_required(case);
    };
    let shown = secrets.clean(origin, LONGEST_ORIGIN);
    let Some(page) = Page::parse(origin).filter(Page::is_insecure) else {
        return Draft::new(
            Code::DeviceRequired,
            format!("comes from the page {shown}, which could prove a device, but sent none"),
            "reload the page, and let the browser keep its site data (no private window)",
            format!("{shown} sent no device identity; reload, and allow its site data"),
        )
        .evidence("origin", shown);
    };
    let port = page.port.unwrap_or(80);
    // A port below 1024 is not everybody's to listen on.
    let here = if port < 1024 { 18789 } else { port };
    let host = page.host.trim_matches(['[', ']']);
    let tunnel = format!("ssh -N -L {here}:127.0.0.1:{port} {host}");
    let way_out = format!(
        "open it as https:// (TLS in scope-shim or in a proxy before it), or through a tunnel: {tunnel}, then \
         http://localhost:{here}"
    );
    Draft::new(
        Code::InsecureContext,
        format!(
            "comes from {shown}, which is no secure context, so the browser cannot prove a device"
        ),
        way_out,
        "a page on plain HTTP has none; use https, or localhost",
    )
    .command(tunnel)
    .evidence("origin", shown)
}

fn device_required(case: &Case<'_>) -> Draft {
    let auth = &case.claims.auth;
    let shared = auth.token.is_some() || auth.password.is_some();
    let what = match (shared, auth.device_token.is_some()) {
        (_, true) => "sent a device token, which is of no use without its device",
        (true, false) => "is not let in by a shared secret alone",
        (false, false) => "sent no credential either",
    };
    Draft::new(
        Code::DeviceRequired,
        what,
        "use a client that keeps a device identity, or, on the gateway's machine, one with the shared secret",
        "use a client that keeps one, or the shared secret on the gateway's machine",
    )
}

pub(super) fn origin(case: &Case<'_>) -> Draft {
    let secrets = Secrets::of(case.claims, case.challenge);
    let Some(origin) = case.visit.origin.as_deref() else {
        return Draft::new(
            Code::OriginNotAllowed,
            "says that it is a page, but sent no Origin header",
            "let it send one that gateway.controlUi.allowedOrigins lists, or connect under a client id that is no page's",
            "a page's client id without an Origin header",
        );
    };
    let shown = secrets.clean(origin, LONGEST_ORIGIN);
    let Some(page) = Page::parse(origin) else {
        return Draft::new(
            Code::OriginNotAllowed,
            format!("comes from the page {shown}, which no entry of gateway.controlUi.allowedOrigins can name"),
            "open the Control UI from the gateway's own address",
            format!("the origin {shown} cannot be allowed"),
        )
        .evidence("origin", shown);
    };
    let entry = page.origin();
    if !page.is_of_the_web() && !lists_any_scheme(case) {
        return no_such_entry(case, entry);
    }
    let command = allow(case, &entry);
    let proviso = proviso(case, &page);
    Draft::new(
        Code::OriginNotAllowed,
        format!(
            "comes from the page {entry}, which gateway.controlUi.allowedOrigins does not list"
        ),
        match &command {
            Some(command) => {
                format!("add \"{entry}\" to it with: {command}{proviso}")
            }
            None => format!("add \"{entry}\" to it in the gateway's openclaw.json{proviso}"),
        },
        format!("add \"{entry}\" to gateway.controlUi.allowedOrigins"),
    )
    .command(command)
    .evidence("origin", entry)
}

/// Whether an entry can name a page of another scheme, as a browser's extensions have: from 2026.7.35. Up to 2026.3.24 the
/// gateway takes all of them for the same, which has no name.
fn lists_any_scheme(case: &Case<'_>) -> bool {
    !case.profile.is_before(FIRST_WITH_ANY_SCHEME)
}

/// What else is to be known of an entry, which depends on the gateway's version.
fn proviso(case: &Case<'_>, page: &Page) -> &'static str {
    if page.is_of_the_web() {
        return " (up to 2026.5, restart the gateway)";
    }
    match case.profile.version {
        Some(_) => "",
        None => " (gateways before 2026.7 take no such entry)",
    }
}

fn no_such_entry(case: &Case<'_>, entry: String) -> Draft {
    let takes_all = case
        .profile
        .version
        .is_some_and(|version| version >= FIRST_WITH_WILDCARD);
    let way_out = match takes_all {
        true => {
            "update the gateway (from 2026.7 it takes such an entry), or allow \"*\" there, which lets pages from anywhere \
             ask"
        }
        false => "update the gateway (from 2026.7 it takes such an entry)",
    };
    Draft::new(
        Code::OriginNotAllowed,
        format!(
            "comes from the page {entry}, which no entry of gateway.controlUi.allowedOrigins can name by itself on this \
             gateway"
        ),
        way_out,
        format!("update the gateway to allow {entry} by itself"),
    )
    .evidence("origin", entry)
}

/// Adds one entry and leaves the others as they are written (`config set` tried on 2026.2.19, 2026.3.13, 2026.5.7 and
/// 2026.9.6).
fn allow(case: &Case<'_>, entry: &str) -> Option<String> {
    let listed = case.facts.allowed_origins.as_ref()?;
    Some(match listed.len() {
        0 => format!("openclaw config set gateway.controlUi.allowedOrigins '[\"{entry}\"]'"),
        next => format!("openclaw config set 'gateway.controlUi.allowedOrigins[{next}]' '{entry}'"),
    })
}

pub(super) fn stale_build() -> Draft {
    Draft::new(
        Code::StaleBuild,
        "is a page of another build than the gateway, which was updated meanwhile",
        "reload the page without its cache (Ctrl+Shift+R)",
        "Control UI updated; reload the page (Ctrl+Shift+R)",
    )
}

/// An `Origin` that can stand in a command line.
struct Page {
    scheme: String,
    host: String,
    port: Option<u16>,
}

impl Page {
    fn parse(origin: &str) -> Option<Self> {
        let (scheme, rest) = origin.trim().split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        let bracket = rest.rfind(']').map_or(0, |at| at + 1);
        let (host, port) = match rest.get(bracket..)?.rfind(':') {
            Some(colon) => {
                let (host, port) = rest.split_at(bracket + colon);
                (host, Some(port.get(1..)?.parse().ok()?))
            }
            None => (rest, None),
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._[]:".contains(c);
        let known = scheme.starts_with(|c: char| c.is_ascii_lowercase())
            && scheme.len() <= LONGEST_SCHEME
            && scheme
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
        let sane = !host.is_empty()
            && host.len() <= LONGEST_ORIGIN
            && host.chars().all(plain)
            // It becomes an argument of a command.
            && !host.starts_with('-');
        (known && sane).then(|| Self {
            scheme,
            host: host.to_ascii_lowercase(),
            port,
        })
    }

    fn origin(&self) -> String {
        let Self { scheme, host, port } = self;
        match port {
            Some(port) => format!("{scheme}://{host}:{port}"),
            None => format!("{scheme}://{host}"),
        }
    }

    fn is_of_the_web(&self) -> bool {
        matches!(self.scheme.as_str(), "http" | "https")
    }

    /// Browsers give pages their keys only on HTTPS and on this machine (Secure Contexts, W3C, §3.1).
    fn is_insecure(&self) -> bool {
        let name = self.host.trim_matches(['[', ']']);
        let local = name == "localhost"
            || name.ends_with(".localhost")
            || name
                .parse::<IpAddr>()
                .is_ok_and(|address| address.is_loopback());
        self.scheme == "http" && !local
    }
}

const LONGEST_ORIGIN: usize = 120;
const LONGEST_SCHEME: usize = 40;
const FIRST_WITH_ANY_SCHEME: Version = Version::v2026(7, 0);
const FIRST_WITH_WILDCARD: Version = Version::v2026(3, 13);
