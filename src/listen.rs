//! Accepting clients: a place first, then a connection; one that fails never ends the others.

mod places;
pub mod proxy_protocol;
mod shift;
pub(crate) mod taken;
mod twin;

pub(crate) use taken::look as look_who_listens;
pub(crate) use twin::bind as bind_twin;
pub use twin::{listener as twin, of as twin_of};

use places::{Found, Place, Room};
use shift::Shift;

use std::error::Error;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::config::{Config, Problem};
use crate::http::Connection;
use crate::http::headers::Peer;
use crate::http::rebound::address_asked_for;
use crate::http::upgrade::is_upgrade;
use crate::served::Door;
use crate::stream::{Stream, fail_out_of_reach};
use crate::telemetry::meters::Connection as Counted;
use crate::tls;
use crate::workers::{Load, Workers};

/// How many clients, and how patient the shim is with each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Client connections at a time; more wait in the system's queue.
    pub connections: usize,
    /// Bytes of a request's head.
    pub header_bytes: usize,
    /// How long a request's head may take to arrive.
    pub header_timeout: Duration,
    /// How long a client may be out of reach; `None` leaves it to the system.
    pub vanished_timeout: Option<Duration>,
}

/// Serves clients until the door is closed, and then finishes the requests under way; sessions may run longer.
///
/// `twin` is the same port of the other loopback address, where there is one and it was free.
pub async fn serve(
    listener: TcpListener,
    twin: Option<TcpListener>,
    door: Arc<Door>,
    workers: Arc<Workers>,
) {
    let address = listener.local_addr().ok().and_then(twin_of);
    let room = Room::default();
    let beside = async {
        let listener = match twin {
            Some(listener) => listener,
            None => twin::bind(address?, door.closed()).await?,
        };
        serve_at(listener, room.clone(), &door, &workers).await;
        Some(())
    };
    tokio::join!(serve_at(listener, room.clone(), &door, &workers), beside);
}

async fn serve_at(listener: TcpListener, room: Room, door: &Arc<Door>, workers: &Arc<Workers>) {
    match listener.into_std() {
        Ok(listener) => {
            Shift::new(listener, room, Arc::clone(door), Arc::clone(workers))
                .run()
                .await;
        }
        Err(error) => warn!("cannot accept clients: {error}"),
    }
}

/// Serves one client, on the worker that let it in.
async fn attend(
    mut stream: TcpStream,
    address: IpAddr,
    door: Arc<Door>,
    found: Found,
    load: Load,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let (mut limits, closed) = (*door.limits().borrow(), door.closed().clone());
    let (place, full) = match found {
        Found::Place(place) => (place, false),
        Found::Refusal(place) => {
            door.turned_away(NO_PLACE);
            limits.header_timeout = limits.header_timeout.min(REFUSAL_PATIENCE);
            (place, true)
        }
    };
    stream.set_nodelay(true)?;
    // Of a peer on this machine the system knows that it is gone.
    if let Some(patience) = limits.vanished_timeout
        && !address.is_loopback()
    {
        fail_out_of_reach(&stream, patience)?;
    }
    let Some(client) = client(&mut stream, address, &door, limits).await else {
        return Ok(());
    };
    let Some((stream, mut connection)) = enter(stream, client, door, limits, &closed).await else {
        return Ok(());
    };
    connection.full = full;
    let admission = (place, load);
    Ok(serve_connection(stream, connection.into(), limits, closed, admission).await?)
}

/// One of the places for connections, and a worker's care.
type Admission = (Place, Load);

/// A client's place among the connections, held for as long as a clone of this is.
#[derive(Clone, Debug)]
pub struct Admitted(
    #[expect(dead_code, reason = "held, not read")] Arc<(Admission, Option<Counted>)>,
);

/// Who a connection is from; `None` for one that is not to be served.
async fn client(
    stream: &mut TcpStream,
    address: IpAddr,
    door: &Door,
    limits: Limits,
) -> Option<Peer> {
    let front = door.first()?.front();
    let peer = proxy_protocol::peer(stream, address, &front.trust, limits.header_timeout).await;
    peer.inspect_err(|refused| warn!(client = %address, "refused a connection: {refused}"))
        .ok()
}

/// Finds out what the client speaks, and lets it in where its port speaks the same.
async fn enter(
    stream: TcpStream,
    peer: Peer,
    door: Arc<Door>,
    limits: Limits,
    stop: &CancellationToken,
) -> Option<(Stream, Connection)> {
    let asked = address_asked_for(&stream).unwrap_or(door.address);
    let accepted = tokio::select! {
        () = after_a_moment(stop) => return None,
        accepted = tls::accept(stream, door.tls.as_deref(), limits.header_timeout) => accepted,
    };
    match accepted {
        Ok(accepted) => {
            let connection = Connection {
                asked,
                tls: accepted.tls,
                sni: accepted.sni,
                ..Connection::new(door, peer)
            };
            Some((accepted.stream, connection))
        }
        // Whoever has the wrong address, or trusts another certificate, tries again and again.
        Err(why) => {
            if let Some(reason) = why.reason() {
                door.turned_away(reason);
            }
            debug!(client = %peer.address, "{why}");
            None
        }
    }
}

async fn serve_connection(
    stream: Stream,
    connection: Arc<Connection>,
    limits: Limits,
    stop: CancellationToken,
    place: Admission,
) -> Result<(), hyper::Error> {
    // It counts for as long as it holds its place.
    let counted = match connection.full {
        false => connection.door.connection(),
        true => None,
    };
    let admitted = Admitted(Arc::new((place, counted)));
    let (asked, mut waiting) = watch::channel(Asked::Nothing);
    let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        asked.send_replace(Asked::of(&request));
        // An upgraded session keeps its client's place: the extension travels with the request.
        request.extensions_mut().insert(admitted.clone());
        let (asked, answer) = (asked.clone(), Arc::clone(&connection).serve(request));
        answer.inspect(move |_| {
            asked.send_replace(Asked::Request);
        })
    });
    let served = http1::Builder::new()
        .preserve_header_case(true)
        .auto_date_header(false)
        .max_buf_size(limits.header_bytes.max(SMALLEST_BUFFER))
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(served);
    tokio::select! {
        result = &mut served => return result,
        () = stop.cancelled() => {}
    }
    // Whoever came in just before the end has its answer, too; waiting for a second request would be waiting for ever.
    tokio::select! {
        result = &mut served => return result,
        _ = waiting.wait_for(|asked| *asked != Asked::Nothing) => {}
        () = after_a_moment(&stop) => {}
    }
    // hyper would add `Connection: close` to the agreement to an upgrade, and clients would refuse that.
    tokio::select! {
        result = &mut served => return result,
        _ = waiting.wait_for(|asked| *asked != Asked::Upgrade) => {}
    }
    served.as_mut().graceful_shutdown();
    served.await
}

/// What the client of a connection has asked for last.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Nothing,
    /// Another protocol; it has no answer yet.
    Upgrade,
    Request,
}

impl Asked {
    fn of<B>(request: &hyper::Request<B>) -> Self {
        if is_upgrade(request.headers()) {
            Self::Upgrade
        } else {
            Self::Request
        }
    }
}

/// Completes when nobody is to come in any more, and those who just did have had time to say what they want.
async fn after_a_moment(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(A_MOMENT).await;
}

/// Binds where clients connect.
///
/// # Errors
///
/// When the address is taken or not this machine's.
pub async fn bind(address: std::net::SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Why a gateway's clients cannot connect where the configuration says, who said so, and what to do.
#[must_use]
pub fn unavailable(config: &Config, error: &io::Error) -> Problem {
    let listen = config.listen;
    let (why, hint) = match error.kind() {
        io::ErrorKind::AddrInUse => {
            let holder = taken::holder(listen);
            let holder = holder.unwrap_or_else(|| "another process".to_owned());
            let hint = "stop that one, or listen elsewhere: listen = \"127.0.0.1:18781\"";
            (format!("{holder} listens there already"), hint.to_owned())
        }
        io::ErrorKind::AddrNotAvailable => {
            let hint = "give an address of this machine (ip address shows them), or 127.0.0.1 for clients on it";
            let why = format!("{} is no address of this machine", listen.ip());
            (why, hint.to_owned())
        }
        io::ErrorKind::PermissionDenied => {
            let hint = "take a port from 1024 on, or let systemd open it (AmbientCapabilities=CAP_NET_BIND_SERVICE)";
            let why = format!(
                "the user that runs the shim may not open port {}",
                listen.port()
            );
            (why, hint.to_owned())
        }
        _ => (
            error.to_string(),
            "listen elsewhere: listen = \"127.0.0.1:18780\"".to_owned(),
        ),
    };
    Problem {
        origin: config.origin("listen"),
        message: format!("cannot listen on {listen}: {why}"),
        hint: Some(hint),
    }
}

/// The name under which clients are counted that found no place.
pub(crate) const NO_PLACE: &str = "no_place";
/// How long a client may take to say what it wants that is only to be told that there is no place.
const REFUSAL_PATIENCE: Duration = Duration::from_secs(2);
/// How long a client that came in just before the end may take to ask for something.
const A_MOMENT: Duration = Duration::from_secs(1);
/// What hyper needs at the least.
const SMALLEST_BUFFER: usize = 8192;
