//! Accepting clients: a place first, then a connection; one that fails never ends the others.

mod twin;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::http::Connection;
use crate::served::Door;
use crate::stream::Stream;

/// How many clients, and how patient the shim is with each.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Client connections at a time; more wait in the system's queue.
    pub connections: usize,
    /// Bytes of a request's head.
    pub header_bytes: usize,
    /// How long a request's head may take to arrive.
    pub header_timeout: Duration,
}

/// Serves clients until `stop`; returns when no more are accepted, while sessions may still run.
pub async fn serve(
    listener: TcpListener,
    door: Arc<Door>,
    limits: Limits,
    stop: CancellationToken,
) {
    let twin = listener.local_addr().ok().and_then(twin::of);
    let beside = async {
        let address = twin?;
        let listener = twin::bind(address, &stop).await?;
        serve_at(listener, &door, limits, &stop).await;
        Some(())
    };
    tokio::join!(serve_at(listener, &door, limits, &stop), beside);
}

async fn serve_at(
    listener: TcpListener,
    door: &Arc<Door>,
    limits: Limits,
    stop: &CancellationToken,
) {
    // Its own for each address: whoever waits for a client holds a place for it.
    let places = Arc::new(Semaphore::new(limits.connections));
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept(&listener, &places) => accepted,
        };
        let Some((stream, peer, place)) = accepted else {
            continue;
        };
        let (door, stop) = (Arc::clone(door), stop.clone());
        connections.spawn(async move {
            let connection = Arc::new(Connection::new(door, peer.ip()));
            if let Err(error) = serve_connection(stream, connection, limits, stop, place).await {
                debug!(client = %peer.ip(), "a client connection ended: {error}");
            }
        });
    }
}

type Place = tokio::sync::OwnedSemaphorePermit;

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, std::net::SocketAddr, Place)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => {
            let _ = stream.set_nodelay(true);
            Some((stream, peer, place))
        }
        Err(error) => {
            // Out of descriptors, mostly: the connection stays in the queue, so a pause is all that helps.
            warn!("cannot accept a client: {error}");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

async fn serve_connection(
    stream: TcpStream,
    connection: Arc<Connection>,
    limits: Limits,
    stop: CancellationToken,
    place: Place,
) -> Result<(), hyper::Error> {
    let place = Arc::new(place);
    let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        // An upgraded session keeps its client's place: the extension travels with the request.
        request.extensions_mut().insert(Arc::clone(&place));
        Arc::clone(&connection).serve(request)
    });
    let served = http1::Builder::new()
        .preserve_header_case(true)
        .auto_date_header(false)
        .half_close(true)
        .max_buf_size(limits.header_bytes.max(SMALLEST_BUFFER))
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .serve_connection(TokioIo::new(Stream::from(stream)), service)
        .with_upgrades();
    tokio::pin!(served);
    tokio::select! {
        result = &mut served => return result,
        () = stop.cancelled() => {}
    }
    served.as_mut().graceful_shutdown();
    served.await
}

/// Binds where clients connect.
///
/// # Errors
///
/// When the address is taken or not this machine's.
pub async fn bind(address: std::net::SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What hyper needs at the least.
const SMALLEST_BUFFER: usize = 8192;
