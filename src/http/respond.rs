//! The shim's own responses: few, short, and each says what to do.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use serde_json::json;

use super::Body;

/// A JSON error in the form of the gateway's own: `{error:{message,type}}`.
#[must_use]
pub fn error(status: StatusCode, kind: &'static str, message: &str) -> Response<Body> {
    let body = json!({"error": {"message": message, "type": kind}}).to_string();
    let mut response = Response::new(full(body));
    *response.status_mut() = status;
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/json; charset=utf-8"),
    );
    response
}

/// The gateway cannot be reached.
#[must_use]
pub fn gateway_unreachable(message: &str) -> Response<Body> {
    error(StatusCode::BAD_GATEWAY, "gateway_unreachable", message)
}

/// There are too many clients already.
#[must_use]
pub fn no_place(message: &str) -> Response<Body> {
    let mut response = error(StatusCode::SERVICE_UNAVAILABLE, "no_place", message);
    let headers = response.headers_mut();
    headers.insert(RETRY_AFTER, HeaderValue::from_static("5"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// The host that was asked for is none of the gateways'.
#[must_use]
pub fn misdirected() -> Response<Body> {
    let text = "scope-shim: no gateway is configured for this host; its operator names it in `hosts` of a [[gateway]]";
    error(StatusCode::MISDIRECTED_REQUEST, "misdirected_request", text)
}

/// Who is where is judged by the host, and a gateway may look at the other one: RFC 9112, 3.2.
#[must_use]
pub fn two_hosts() -> Response<Body> {
    let text = "scope-shim: a request names one host, in one Host header";
    error(StatusCode::BAD_REQUEST, "invalid_request_error", text)
}

/// A body that is all there.
#[must_use]
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed()
}
