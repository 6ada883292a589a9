//! Who may ask for what, by where they come in.
//!
//! A port can be reached by every user of the machine, and by every web page that a browser on it shows. So it wants a
//! token; a Host that is loopback, which a page under a name that was rebound to 127.0.0.1 does not send; and no Origin
//! but its own.

use std::net::IpAddr;

use hyper::header::{AUTHORIZATION, HOST, HeaderName, ORIGIN};
use hyper::{HeaderMap, Method, Request, StatusCode};

use super::route::Refused;
use crate::secret::Secret;

/// A way in.
#[derive(Debug)]
pub(super) enum Gate {
    /// The Unix socket: the system has seen to it that it is the owner.
    Socket,
    /// The port on loopback, for whoever has a token.
    Port(Tokens),
    /// The port for probes, for anybody.
    Probes,
}

/// The tokens of a port.
#[derive(Debug)]
pub(super) struct Tokens {
    /// For everything.
    pub(super) all: Secret,
    /// To look at the metrics; `None` where there are none.
    pub(super) metrics: Option<Secret>,
}

/// How much somebody who is answered is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// Whether, and why.
    Everything,
    /// Whether.
    Little,
}

impl Gate {
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Socket => "admin socket",
            Self::Port(_) => "admin port",
            Self::Probes => "probes",
        }
    }

    /// Whether a request may be answered, and how much it is told.
    pub(super) fn admits<B>(&self, request: &Request<B>) -> Result<Told, Refused> {
        let (method, path) = (request.method(), request.uri().path());
        match self {
            Self::Socket => Ok(Told::Everything),
            Self::Probes if method == Method::GET && matches!(path, "/live" | "/ready") => {
                Ok(Told::Little)
            }
            Self::Probes => Err(Refused {
                status: StatusCode::NOT_FOUND,
                kind: "not_found",
                message: "there is nothing here but /live and /ready".to_owned(),
            }),
            Self::Port(tokens) => {
                from_here(request.headers())?;
                tokens.admit(request.headers(), method, path)
            }
        }
    }

    /// Whether a visitor comes for one question alone, and goes.
    pub(super) const fn is_brief(&self) -> bool {
        matches!(self, Self::Probes)
    }
}

impl Tokens {
    fn admit(&self, headers: &HeaderMap, method: &Method, path: &str) -> Result<Told, Refused> {
        let looks = |paths: &[&str]| method == Method::GET && paths.contains(&path);
        if has_token(headers, &self.all) {
            return Ok(Told::Everything);
        }
        let metrics = self.metrics.as_ref();
        let may_look = metrics.is_some_and(|token| has_token(headers, token));
        if may_look && looks(&["/metrics", "/live", "/ready"]) {
            return Ok(Told::Everything);
        }
        if looks(&["/", "/live", "/ready"]) {
            return Ok(Told::Little);
        }
        if may_look {
            return Err(forbidden("this token is for /metrics alone"));
        }
        Err(Refused {
            status: StatusCode::UNAUTHORIZED,
            kind: "unauthorized",
            message: "this needs the header `Authorization: Bearer` and the token in admin.token in the data directory"
                .to_owned(),
        })
    }
}

fn from_here(headers: &HeaderMap) -> Result<(), Refused> {
    let host = text(headers, &HOST).filter(|host| is_loopback(host));
    let Some(host) = host else {
        return Err(forbidden("the Host is not this machine's loopback"));
    };
    match text(headers, &ORIGIN) {
        None if headers.contains_key(ORIGIN) => Err(forbidden("the Origin is not text")),
        Some(origin) if origin != format!("http://{host}") => {
            Err(forbidden("another page's script asks for this"))
        }
        _ => Ok(()),
    }
}

fn is_loopback(host: &str) -> bool {
    if let Some(v6) = host.strip_prefix('[') {
        let address = v6.split_once(']').map(|(address, _)| address);
        return address.is_some_and(is_loopback_address);
    }
    let name = host.split_once(':').map_or(host, |(name, _)| name);
    name.eq_ignore_ascii_case("localhost") || is_loopback_address(name)
}

fn is_loopback_address(text: &str) -> bool {
    text.parse::<IpAddr>()
        .is_ok_and(|ip| ip.to_canonical().is_loopback())
}

fn has_token(headers: &HeaderMap, token: &Secret) -> bool {
    let given = text(headers, &AUTHORIZATION).and_then(|value| value.split_once(' '));
    given.is_some_and(|(scheme, given)| {
        scheme.eq_ignore_ascii_case("bearer") && token.matches(given.trim())
    })
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn forbidden(message: &str) -> Refused {
    Refused {
        status: StatusCode::FORBIDDEN,
        kind: "forbidden",
        message: message.to_owned(),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    fn status(gate: &Gate, request: &str) -> u16 {
        let mut lines = request.split(" | ");
        let (method, path) = lines.next().unwrap().split_once(' ').unwrap();
        let mut built = Request::builder().method(method).uri(path);
        for header in lines {
            let (name, value) = header.split_once(": ").unwrap();
            built = built.header(name, value);
        }
        match gate.admits(&built.body(()).unwrap()) {
            Ok(_) => 200,
            Err(refused) => refused.status.as_u16(),
        }
    }

    fn port(all: &str) -> Gate {
        Gate::Port(Tokens {
            all: Secret::new(all),
            metrics: Some(Secret::new("look")),
        })
    }

    fn told(gate: &Gate, path: &str, token: Option<&str>) -> Option<Told> {
        let request = Request::get(path).header("host", "[::1]:1");
        let request = match token {
            Some(token) => request.header("authorization", format!("Bearer {token}")),
            None => request,
        };
        gate.admits(&request.body(()).unwrap()).ok()
    }

    #[test]
    fn why_is_for_those_with_a_token_and_whether_for_all() {
        let gate = port("all");
        for path in ["/live", "/ready"] {
            for (token, expected) in [
                (None, Told::Little),
                (Some("wrong"), Told::Little),
                (Some("look"), Told::Everything),
                (Some("all"), Told::Everything),
            ] {
                assert_eq!(told(&gate, path, token), Some(expected), "{path} {token:?}");
            }
            assert_eq!(told(&Gate::Probes, path, Some("all")), Some(Told::Little));
            assert_eq!(told(&Gate::Socket, path, None), Some(Told::Everything));
        }
    }

    #[test]
    fn the_token_for_the_metrics_switches_and_shows_nothing_else() {
        let gate = port("all");
        let with =
            |request: &str| format!("{request} | host: 127.0.0.1:1 | authorization: Bearer look");
        assert_eq!(status(&gate, &with("GET /metrics")), 200);
        for request in [
            "GET /status",
            "GET /mode",
            "POST /mode",
            "POST /metrics",
            "POST /approve",
            "POST /reload",
            "POST /upgrade",
            "POST /unpair",
        ] {
            assert_eq!(status(&gate, &with(request)), 403, "{request}");
        }
        let relay = Gate::Port(Tokens {
            all: Secret::new("all"),
            metrics: None,
        });
        assert_eq!(status(&relay, &with("GET /metrics")), 401);
    }

    #[test]
    fn the_port_wants_the_token_for_everything_but_the_bare_page_and_probes() {
        let gate = port("t0ken");
        for (request, expected) in [
            ("GET / | host: localhost:1", 200),
            ("GET /live | host: 127.0.0.1:1", 200),
            ("GET /ready | host: [::1]:1", 200),
            ("POST / | host: localhost:1", 401),
            ("GET /status | host: localhost:1", 401),
            ("GET /metrics | host: localhost:1", 401),
            (
                "GET /status | host: localhost:1 | authorization: Bearer t0ken",
                200,
            ),
            (
                "GET /status | host: localhost:1 | authorization: bearer t0ken",
                200,
            ),
            (
                "POST /mode | host: localhost:1 | authorization: Bearer t0ken",
                200,
            ),
            (
                "GET /status | host: localhost:1 | authorization: Bearer t0ke",
                401,
            ),
            (
                "GET /status | host: localhost:1 | authorization: Bearer t0ken0",
                401,
            ),
            (
                "GET /status | host: localhost:1 | authorization: Bearer",
                401,
            ),
            (
                "GET /status | host: localhost:1 | authorization: Basic t0ken",
                401,
            ),
            ("GET /status?token=t0ken | host: localhost:1", 401),
        ] {
            assert_eq!(status(&gate, request), expected, "{request}");
        }
    }

    #[test]
    fn a_rebound_name_and_another_page_get_nothing_from_the_port_not_even_with_the_token() {
        let gate = port("t");
        for (headers, expected) in [
            ("host: evil.example", 403),
            ("host: localhost.evil.example:1", 403),
            ("host: 127.0.0.1.evil.example", 403),
            ("host: 10.0.0.1:1", 403),
            ("accept: */*", 403),
            ("host: localhost:1 | origin: http://evil.example", 403),
            ("host: localhost:1 | origin: null", 403),
            ("host: localhost:1 | origin: http://localhost:2", 403),
            ("host: localhost:1 | origin: https://localhost:1", 403),
            ("host: localhost:1 | origin: http://localhost:1", 200),
            ("host: 127.8.8.8:1 | origin: http://127.8.8.8:1", 200),
            ("host: [::1]:1 | origin: http://[::1]:1", 200),
        ] {
            for path in ["/", "/live", "/status"] {
                let request = format!("GET {path} | {headers} | authorization: Bearer t");
                assert_eq!(status(&gate, &request), expected, "{request}");
            }
        }
    }

    #[test]
    fn probes_get_probes_and_nothing_else() {
        let granted = ["GET /live", "GET /ready"];
        for method in ["GET", "POST", "PUT", "HEAD"] {
            for path in [
                "/", "/live", "/ready", "/status", "/metrics", "/mode", "/live/x",
            ] {
                let request = format!("{method} {path}");
                let expected = if granted.contains(&request.as_str()) {
                    200
                } else {
                    404
                };
                assert_eq!(status(&Gate::Probes, &request), expected, "{request}");
            }
        }
    }
}
