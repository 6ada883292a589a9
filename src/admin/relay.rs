//! The status page where the shim has no port for it: one on loopback, for as long as a command runs, that passes on what
//! the page needs and nothing else.
//!
//! It wants what the shim's own port wants (the gate), with a token made for this one run.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tracing::debug;

use super::gate::{Gate, Tokens};
use super::page;
use super::route::{self, Answer, Refused};
use super::{Client, ClientError};
use crate::http::Body;
use crate::secret::Secret;

/// A port that is open, and not served yet.
#[derive(Debug)]
pub struct Relay {
    listener: TcpListener,
    address: SocketAddr,
    token: Secret,
    client: Client,
}

impl Relay {
    /// Opens a free port of the loopback interface in front of the shim that `client` reaches.
    ///
    /// # Errors
    ///
    /// When there is no port, or no randomness for a token.
    pub async fn open(client: Client) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        Ok(Self {
            address: listener.local_addr()?,
            listener,
            token: fresh_token()?,
            client,
        })
    }

    /// The page's address. It ends with the token: whoever has it may do everything.
    #[must_use]
    pub fn url(&self) -> Secret {
        Secret::new(format!(
            "http://{}/#token={}",
            self.address,
            self.token.reveal()
        ))
    }

    /// Serves whoever comes, until it is dropped.
    pub async fn serve(self) -> Infallible {
        let desk = Arc::new(Desk {
            gate: Gate::Port(Tokens {
                all: self.token,
                metrics: None,
            }),
            client: self.client,
        });
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    tokio::spawn(serve_one(stream, Arc::clone(&desk)));
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    }
}

fn fresh_token() -> io::Result<Secret> {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| io::Error::other("no randomness"))?;
    Ok(Secret::new(URL_SAFE_NO_PAD.encode(bytes)))
}

async fn serve_one(stream: TcpStream, desk: Arc<Desk>) {
    let service = service_fn(move |request| {
        let desk = Arc::clone(&desk);
        async move { Ok::<_, Infallible>(desk.answer(request).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(LONGEST_HEAD)
        .max_buf_size(MOST_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = served.await {
        debug!("a connection of the status page ended: {error}");
    }
}

#[derive(Debug)]
struct Desk {
    gate: Gate,
    client: Client,
}

impl Desk {
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        if let Err(refused) = self.gate.admits(&request) {
            return route::respond(Err(refused));
        }
        if (request.method(), request.uri().path()) == (&Method::GET, "/") {
            return page::page();
        }
        route::respond(self.pass_on(request).await)
    }

    async fn pass_on(&self, request: Request<Incoming>) -> Answer {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let answered = match (&method, path.as_str()) {
            (&Method::GET, "/status" | "/mode") => self.client.get(&path).await,
            (&Method::POST, "/mode" | "/approve" | "/reload") => {
                let asked = route::read(request).await?;
                self.client.post(&path, &asked.body).await
            }
            _ => {
                return Err(Refused {
                    status: StatusCode::NOT_FOUND,
                    kind: "not_found",
                    message: "the status page needs nothing else".to_owned(),
                });
            }
        };
        answered.map_err(|error| match error {
            ClientError::Refused { status, message } => Refused {
                status,
                kind: "refused",
                message,
            },
            other => Refused {
                status: StatusCode::BAD_GATEWAY,
                kind: "not_running",
                message: other.to_string(),
            },
        })
    }
}

const MOST_HEAD_BYTES: usize = 16 * 1024;
/// Also how long a connection may be idle.
const LONGEST_HEAD: Duration = Duration::from_secs(10);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
