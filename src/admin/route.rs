//! What the admin surface answers: one line for each thing that can be asked.

use std::sync::Arc;

use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::Value;

use super::gate::Told;
use super::{approve, live, metrics, mode, older, page, ready, reload, status, unpair, upgrade};
use crate::app::Shim;
use crate::http::Body;
use crate::http::respond::{error, full};

/// What a request may ask for, taken apart.
pub(super) struct Asked {
    /// The JSON that came with it; null where none did.
    pub(super) body: Value,
}

impl Asked {
    /// The gateway that is meant; `None` for all of them.
    pub(super) fn gateway(&self) -> Option<&str> {
        self.body.get("gateway").and_then(Value::as_str)
    }
}

/// What is answered: JSON, or why not.
pub(super) type Answer = Result<Value, Refused>;

/// Why something was not done, for whoever asked.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) status: StatusCode,
    pub(super) kind: &'static str,
    pub(super) message: String,
}

impl Refused {
    /// The shim itself failed.
    pub(super) fn broken() -> Self {
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            kind: "internal",
            message: "this failed for a reason that is the shim's own; its log may say more"
                .to_owned(),
        }
    }

    /// The request makes no sense.
    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            kind: "bad_request",
            message: message.into(),
        }
    }
}

/// Answers one request that may be answered, and tells so much.
pub(super) async fn answer(
    shim: &Arc<Shim>,
    told: Told,
    request: Request<Incoming>,
) -> Response<Body> {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    // Whoever only looks has nothing to send, and is not waited for.
    let asked = match method {
        Method::GET => Ok(Asked { body: Value::Null }),
        _ => read(request).await,
    };
    let asked = match asked {
        Ok(asked) => asked,
        Err(refused) => return respond(Err(refused)),
    };
    match (&method, path.as_str()) {
        (&Method::GET, "/") => page::page(),
        (&Method::GET, "/live") => respond(Ok(live::live(shim, told))),
        (&Method::GET, "/ready") => ready::answer(shim, told).await,
        (&Method::GET, "/metrics") => metrics::answer(shim).await,
        (&Method::GET, "/status") => respond(Ok(status::status(shim).await)),
        (&Method::GET, "/mode") => respond(Ok(mode::show(shim))),
        (&Method::POST, "/mode") => respond(change(shim, mode::switch(shim, &asked)).await),
        (&Method::POST, "/approve") => respond(change(shim, approve::approve(shim, &asked)).await),
        (&Method::POST, "/reload") => respond(change(shim, reload::reload(shim)).await),
        (&Method::POST, "/upgrade") => respond(upgrade::upgrade(shim).await),
        (&Method::POST, "/unpair") => respond(change(shim, unpair::unpair(shim, &asked)).await),
        (&Method::POST, "/older/mode") => respond(older::mode(shim, &asked)),
        (&Method::POST, "/older/reload") => respond(older::reload(shim).await),
        (&Method::POST, "/older/retire") => respond(older::retire(shim, &asked).await),
        _ => respond(Err(Refused {
            status: StatusCode::NOT_FOUND,
            kind: "not_found",
            message: format!("there is no {method} {}", path.escape_debug()),
        })),
    }
}

/// Changes something, where it is this process's to change: not while another takes over, nor when one has.
async fn change(shim: &Shim, work: impl Future<Output = Answer>) -> Answer {
    let _turn = shim.change().await.map_err(|successor| Refused {
        status: StatusCode::CONFLICT,
        kind: "succeeded",
        message: format!("process {successor} has taken over from this one; run this again"),
    })?;
    work.await
}

/// Takes a request apart.
pub(super) async fn read(request: Request<Incoming>) -> Result<Asked, Refused> {
    let body = request.into_body();
    if body
        .size_hint()
        .upper()
        .is_none_or(|size| size > MOST_BYTES)
    {
        return Err(Refused::bad(
            "the body is too large, or its length is not said",
        ));
    }
    let body = body.collect().await;
    let bytes = body
        .map_err(|_| Refused::bad("the body broke off"))?
        .to_bytes();
    if bytes.is_empty() {
        return Ok(Asked { body: Value::Null });
    }
    let body = serde_json::from_slice(&bytes).map_err(|_| Refused::bad("the body is not JSON"))?;
    Ok(Asked { body })
}

/// An answer, in JSON.
pub(super) fn respond(answer: Answer) -> Response<Body> {
    match answer {
        Ok(value) => json(StatusCode::OK, &value),
        Err(refused) => error(refused.status, refused.kind, &refused.message),
    }
}

/// JSON that is of this moment.
pub(super) fn json(status: StatusCode, value: &Value) -> Response<Body> {
    let mut response = Response::new(full(value.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, text) in [
        (CONTENT_TYPE, "application/json; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        headers.insert(name, HeaderValue::from_static(text));
    }
    response
}

/// No request of the admin surface needs more.
const MOST_BYTES: u64 = 64 * 1024;
