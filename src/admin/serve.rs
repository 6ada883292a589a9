//! Serving the admin surface, with limits that keep one visitor from shutting out the others.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use super::gate::{Gate, Told};
use super::route::{self, Refused};
use crate::app::Shim;
use crate::http::Body;
use crate::http::respond::error;

/// What is served to those who come in by one gate.
#[derive(Clone, Debug)]
pub(super) struct Surface {
    pub(super) shim: Arc<Shim>,
    pub(super) gate: Arc<Gate>,
    pub(super) stop: CancellationToken,
    places: Arc<Semaphore>,
    calls: TaskTracker,
}

impl Surface {
    pub(super) fn new(
        shim: Arc<Shim>,
        gate: Gate,
        stop: CancellationToken,
        calls: TaskTracker,
    ) -> Self {
        Self {
            shim,
            gate: Arc::new(gate),
            stop,
            places: Arc::new(Semaphore::new(MOST_CONNECTIONS)),
            calls,
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let told = match self.gate.admits(&request) {
            Ok(told) => told,
            Err(refused) => return route::respond(Err(refused)),
        };
        let answered = if request.method() == Method::GET {
            timeout(LONGEST_ANSWER, self.look(request, told)).await
        } else {
            timeout(LONGEST_ANSWER, self.work(request, told)).await
        };
        let late = "this took too long, and nobody waits for it any more";
        answered.unwrap_or_else(|_| error(StatusCode::GATEWAY_TIMEOUT, "timeout", late))
    }

    async fn look(&self, request: Request<Incoming>, told: Told) -> Response<Body> {
        route::answer(&self.shim, told, request).await
    }

    /// What changes something is finished, whether or not the one who asked for it stays: half of it must not hold.
    async fn work(&self, request: Request<Incoming>, told: Told) -> Response<Body> {
        let surface = self.clone();
        let work = self
            .calls
            .spawn(async move { surface.look(request, told).await })
            .await;
        work.unwrap_or_else(|_| route::respond(Err(Refused::broken())))
    }
}

/// Where visitors come from.
pub(super) trait Listen: Send + 'static {
    /// What they speak over.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next one.
    fn next(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Listen for TcpListener {
    type Stream = TcpStream;

    async fn next(&self) -> io::Result<TcpStream> {
        Ok(self.accept().await?.0)
    }
}

#[cfg(unix)]
impl Listen for tokio::net::UnixListener {
    type Stream = tokio::net::UnixStream;

    async fn next(&self) -> io::Result<Self::Stream> {
        Ok(self.accept().await?.0)
    }
}

/// Serves whoever comes, until the surface ends.
pub(super) async fn serve(listener: impl Listen, surface: Surface) {
    let stop = surface.stop.clone();
    let accept = async {
        loop {
            let Ok(place) = Arc::clone(&surface.places).acquire_owned().await else {
                return;
            };
            let Ok(stream) = listener.next().await else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let visitor = serve_one(stream, surface.clone());
            surface.calls.spawn(async move {
                visitor.await;
                drop(place);
            });
        }
    };
    let _ = stop.run_until_cancelled(accept).await;
}

/// What was asked before the surface ends is answered.
async fn serve_one(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, surface: Surface) {
    let stop = surface.stop.clone();
    let brief = surface.gate.is_brief();
    let longest = if brief { LONGEST_PROBE } else { LONGEST_VISIT };
    let service = service_fn(move |request| {
        let surface = surface.clone();
        async move { Ok::<_, Infallible>(surface.answer(request).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(LONGEST_HEAD.min(longest))
        .keep_alive(!brief)
        .max_buf_size(MOST_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(served);
    let visit = async {
        tokio::select! {
            ended = &mut served => return ended,
            () = stop.cancelled() => {}
        }
        served.as_mut().graceful_shutdown();
        served.await
    };
    if let Ok(Err(error)) = timeout(longest, visit).await {
        debug!("an admin connection ended: {error}");
    }
}

const MOST_CONNECTIONS: usize = 64;
const MOST_HEAD_BYTES: usize = 16 * 1024;
/// Also how long a connection may be idle.
const LONGEST_HEAD: Duration = Duration::from_secs(10);
/// An approval asks the gateway several times, ten seconds each at the most.
const LONGEST_ANSWER: Duration = Duration::from_secs(60);
/// Somebody who does not read what was asked for gives the place up at last; a page simply connects again.
const LONGEST_VISIT: Duration = Duration::from_secs(600);
/// A probe asks once, and its patience is one second by default: those that hang must not fill the places of the others.
const LONGEST_PROBE: Duration = Duration::from_secs(3);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
