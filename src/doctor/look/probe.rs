//! How far the gateway answers, and what that tells of its version.
//!
//! Nothing is sent that a browser would not send on opening the page: plain GET requests, and a WebSocket that is
//! closed before it says anything. Paths and answers as seen on 2026.2.19 to 2026.9.6.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt as _;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::time::timeout;
use tokio_tungstenite::client_async;

use crate::clock;
use crate::config::Config;
use crate::dial::{Dialer, Failures, Side};
use crate::doctor::known::{FIRST_TALKATIVE, LAST_SILENT};
use crate::gateway::GatewayAuth;
use crate::handshake::message::{Challenge, challenge};
use crate::profile::Version;

/// How far the gateway answers.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    /// Why no connection came about; `None` where one did.
    pub refused: Option<String>,
    /// What its HTTP side showed.
    pub http: Seen,
    /// The challenge that a WebSocket gets, or why none came; `None` where it was not asked for.
    pub challenge: Option<Result<ChallengeSeen, String>>,
}

/// The challenge, without the nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChallengeSeen {
    /// How long it took to come.
    pub took: Duration,
    /// How far the gateway's clock is ahead of this one, in milliseconds.
    pub ahead_ms: Option<i64>,
}

/// What the HTTP side showed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The status of `/healthz`.
    pub health: Option<u16>,
    /// Whether `/healthz` answers with JSON; gateways up to 2026.2.26 answer with the page.
    pub health_is_json: Option<bool>,
    /// Whether the gateway says that it is ready.
    pub ready: Option<bool>,
    /// What it is not ready for.
    pub failing: Vec<String>,
    /// The version that it says, and where.
    pub version: Option<(Version, String)>,
    /// Whether it knows a path that was given up between 2026.2.19 and 2026.2.21.
    pub early_path: Option<bool>,
}

impl Reach {
    /// Whether anything answered.
    #[must_use]
    pub const fn answers(&self) -> bool {
        self.refused.is_none()
    }

    /// The version that the gateway says.
    #[must_use]
    pub fn version(&self) -> Option<(Version, String)> {
        self.http.version.clone()
    }

    /// The earliest version that does what this one does.
    #[must_use]
    pub fn at_least(&self) -> Option<Version> {
        match (self.http.health_is_json, self.http.early_path) {
            (Some(true), _) => Some(FIRST_TALKATIVE),
            (Some(false), Some(false)) => Some(Version::v2026(2, 20)),
            _ => None,
        }
    }

    /// The latest version that does what this one does.
    #[must_use]
    pub fn at_most(&self) -> Option<Version> {
        match (self.http.health_is_json, self.http.early_path) {
            (Some(false), Some(true)) => Some(Version::v2026(2, 20)),
            (Some(false), _) => Some(LAST_SILENT),
            _ => None,
        }
    }

    /// What was reached, step by step.
    #[must_use]
    pub fn words(&self) -> String {
        if let Some(why) = &self.refused {
            return format!("no ({why})");
        }
        let http = match (self.http.health, self.http.ready) {
            (None, _) => "HTTP does not answer".to_owned(),
            (Some(_), Some(true)) => "HTTP ready".to_owned(),
            (Some(_), Some(false)) => "HTTP answers, but not ready".to_owned(),
            (Some(status), None) => format!("HTTP {status}"),
        };
        let challenge = match &self.challenge {
            Some(Ok(seen)) => format!("WebSocket challenge in {} ms", seen.took.as_millis()),
            Some(Err(why)) => format!("no WebSocket challenge ({why})"),
            None => "WebSocket not tried".to_owned(),
        };
        format!("yes: TCP, {http}, {challenge}")
    }
}

/// Asks the gateway what anybody may ask.
pub(super) async fn reach(config: &Config) -> Reach {
    let dialer = Dialer {
        gateway: config.gateway.url.clone(),
        local_source: config.gateway.sources.local,
        remote_source: None,
        connect_timeout: config.gateway.connect_timeout,
        failures: Failures::default(),
    };
    if let Err(error) = dialer.dial(Side::Local).await {
        return Reach {
            refused: Some(error.to_string()),
            ..Reach::default()
        };
    }
    let challenge = timeout(PATIENCE, ask_challenge(&dialer)).await;
    let challenge =
        challenge.unwrap_or_else(|_| Err(format!("none within {} s", PATIENCE.as_secs())));
    Reach {
        refused: None,
        http: http(&dialer, &config.gateway.auth).await,
        challenge: Some(challenge),
    }
}

async fn ask_challenge(dialer: &Dialer) -> Result<ChallengeSeen, String> {
    let started = Instant::now();
    let stream = dialer.dial(Side::Local).await;
    let stream = stream.map_err(|error| error.to_string())?;
    let url = format!("ws://{}/", dialer.gateway.authority());
    let opened = client_async(url, stream).await;
    let (mut socket, _) = opened.map_err(|error| error.to_string())?;
    while let Some(message) = socket.next().await {
        let payload = message.map_err(|error| error.to_string())?.into_data();
        if let Some(challenge) = challenge(&payload) {
            let _ = socket.close(None).await;
            return Ok(seen(&challenge, started.elapsed()));
        }
    }
    Err("the gateway closed the connection".to_owned())
}

fn seen(challenge: &Challenge, took: Duration) -> ChallengeSeen {
    ChallengeSeen {
        took,
        ahead_ms: challenge.ts_ms.map(|ts| ts.saturating_sub(clock::now_ms())),
    }
}

async fn http(dialer: &Dialer, auth: &GatewayAuth) -> Seen {
    let mut seen = Seen::default();
    let Some(health) = get(dialer, "/healthz", None).await else {
        return seen;
    };
    seen.health = Some(health.status.as_u16());
    seen.health_is_json = health.is_page_or_json();
    match seen.health_is_json {
        Some(true) => {
            seen.ask_ready(dialer).await;
            seen.ask_version(dialer, auth).await;
        }
        Some(false) => {
            let early = get(dialer, "/control-ui-config.json", None).await;
            seen.early_path = early.map(|answer| answer.status == StatusCode::OK);
        }
        None => {}
    }
    seen
}

impl Seen {
    async fn ask_ready(&mut self, dialer: &Dialer) {
        let Some(answer) = get(dialer, "/ready", None).await else {
            return;
        };
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        self.ready = body.get("ready").and_then(Value::as_bool);
        let failing = body.get("failing").and_then(Value::as_array);
        let names = failing.into_iter().flatten().filter_map(Value::as_str);
        self.failing = names.map(str::to_owned).collect();
    }

    /// From 2026.3.13 the page's settings name the version; from 2026.5.7 they want the shared secret, from 2026.8.2
    /// the page itself names it.
    async fn ask_version(&mut self, dialer: &Dialer, auth: &GatewayAuth) {
        let settings = get(dialer, SETTINGS, None).await;
        let mut version = settings.as_ref().and_then(Answer::server_version);
        let closed = settings.is_some_and(|answer| answer.status == StatusCode::UNAUTHORIZED);
        if version.is_none() && closed {
            let page = get(dialer, "/", None).await;
            version = page.as_ref().and_then(Answer::build);
        }
        if version.is_none()
            && closed
            && let Some(secret) = auth.secret()
        {
            let settings = get(dialer, SETTINGS, Some(secret.reveal())).await;
            version = settings.as_ref().and_then(Answer::server_version);
        }
        self.version = version.map(|version| (version, "the gateway itself".to_owned()));
    }
}

struct Answer {
    status: StatusCode,
    content_type: String,
    body: Bytes,
}

impl Answer {
    fn is_page_or_json(&self) -> Option<bool> {
        let is_json = self.content_type.contains("json");
        (is_json || (self.status == StatusCode::OK && self.content_type.contains("html")))
            .then_some(is_json)
    }

    fn server_version(&self) -> Option<Version> {
        let body: Value = serde_json::from_slice(&self.body).ok()?;
        Version::parse(body.get("serverVersion")?.as_str()?)
    }

    fn build(&self) -> Option<Version> {
        let page = std::str::from_utf8(&self.body).ok()?;
        let (_, rest) = page.split_once("data-openclaw-control-ui-build-id=\"")?;
        Version::parse(rest.split(['-', '"']).next()?)
    }
}

async fn get(dialer: &Dialer, path: &str, bearer: Option<&str>) -> Option<Answer> {
    timeout(PATIENCE, try_get(dialer, path, bearer))
        .await
        .ok()?
}

async fn try_get(dialer: &Dialer, path: &str, bearer: Option<&str>) -> Option<Answer> {
    let stream = dialer.dial(Side::Local).await.ok()?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .ok()?;
    let driving = tokio::spawn(connection);
    let mut request = Request::get(path).header(HOST, dialer.gateway.authority());
    if let Some(bearer) = bearer {
        request = request.header(AUTHORIZATION, format!("Bearer {bearer}"));
    }
    let response = sender.send_request(request.body(Empty::<Bytes>::new()).ok()?);
    let (head, body) = response.await.ok()?.into_parts();
    let content_type = head.headers.get(CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let answer = Answer {
        status: head.status,
        content_type: content_type.unwrap_or_default().to_owned(),
        body: Limited::new(body, MOST_BYTES)
            .collect()
            .await
            .ok()?
            .to_bytes(),
    };
    driving.abort();
    Some(answer)
}

const SETTINGS: &str = "/__openclaw/control-ui-config.json";
/// How long one question may take. A busy gateway takes seconds to answer its first.
const PATIENCE: Duration = Duration::from_secs(5);
/// More than any of these answers has.
const MOST_BYTES: usize = 1 << 20;
