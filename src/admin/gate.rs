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
    /// The port on loopback, for whoever has the token.
    Port(Secret),
    /// The port for probes, for anybody.
    Probes,
}

impl Gate {
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Socket => "admin socket",
            Self::Port(_) => "admin port",
            Self::Probes => "probes",
        }
    }

    /// Whether somebody may be told why, not only whether.
    pub(super) const fn tells_details(&self) -> bool {
        !matches!(self, Self::Probes)
    }

    /// Whether a request may be answered.
    pub(super) fn admits<B>(&self, request: &Request<B>) -> Result<(), Refused> {
        let (method, path) = (request.method(), request.uri().path());
        match self {
            Self::Socket => Ok(()),
            Self::Probes if method == Method::GET && matches!(path, "/live" | "/ready") => Ok(()),
            Self::Probes => Err(Refused {
                status: StatusCode::NOT_FOUND,
                kind: "not_found",
                message: "there is nothing here but /live and /ready".to_owned(),
            }),
            Self::Port(token) => {
                from_here(request.headers())?;
                let open = method == Method::GET && matches!(path, "/" | "/live" | "/ready");
                if open || has_token(request.headers(), token) {
                    return Ok(());
                }
                Err(Refused {
                    status: StatusCode::UNAUTHORIZED,
                    kind: "unauthorized",
                    message: "this needs the header `Authorization: Bearer` and the token in admin.token in the data directory"
                        .to_owned(),
                })
            }
        }
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
            Ok(()) => 200,
            Err(refused) => refused.status.as_u16(),
        }
    }

    #[test]
    fn the_port_wants_the_token_for_everything_but_the_bare_page_and_probes() {
        let gate = Gate::Port(Secret::new("t0ken"));
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
        let gate = Gate::Port(Secret::new("t"));
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
