//! A client's first byte tells whether it speaks TLS, and one that is at the wrong port is told so.

use std::io;
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsStream};

use super::Listening;
use crate::stream::Stream;

/// A client that speaks what its port does.
#[derive(Debug)]
pub struct Accepted {
    /// The connection.
    pub stream: Stream,
    /// Whether it is under TLS.
    pub tls: bool,
    /// The host that it named in the TLS handshake, in lower case.
    pub sni: Option<String>,
}

/// Why a client was not let in. Its text is for the log.
#[derive(Debug, Error)]
pub enum TurnedAway {
    /// It said nothing in time, or left.
    #[error("a client said nothing")]
    Silent,
    /// It does not go on with what it began in time.
    #[error("a client's TLS handshake took longer than {0:?}")]
    Late(Duration),
    /// It speaks TLS on a port that does not.
    #[error(
        "a client speaks TLS, but this port does not: it has to use ws:// or http://, or the shim gets a certificate \
         (tls.certificate, tls.key)"
    )]
    TlsOnPlain,
    /// It does not speak TLS on a port that does.
    #[error(
        "a client speaks plaintext, but this port speaks TLS: it has to use wss:// or https://"
    )]
    PlainOnTls,
    /// It does not like the certificate.
    #[error("a client refuses the shim's TLS certificate: {0}")]
    Refused(rustls::Error),
    /// The handshake failed.
    #[error("a client's TLS handshake failed: {0}")]
    Handshake(io::Error),
}

impl TurnedAway {
    /// The name under which it is counted, where an operator will look for it: somebody has the wrong address or trusts
    /// the wrong certificate.
    #[must_use]
    pub const fn reason(&self) -> Option<&'static str> {
        match self {
            Self::TlsOnPlain => Some(REASONS[0]),
            Self::PlainOnTls => Some(REASONS[1]),
            Self::Refused(_) => Some(REASONS[2]),
            Self::Silent | Self::Late(_) | Self::Handshake(_) => None,
        }
    }
}

/// Why clients that speak are not let in.
pub(crate) const REASONS: [&str; 3] = ["tls_on_plain", "plain_on_tls", "certificate_refused"];

/// Lets a client in that came through a port which speaks TLS, or not.
///
/// `patience` is for its first byte, and again for the TLS handshake.
///
/// # Errors
///
/// When it speaks something else, or nothing.
pub async fn accept(
    stream: TcpStream,
    tls: Option<&Listening>,
    patience: Duration,
) -> Result<Accepted, TurnedAway> {
    let mut first = [0];
    match timeout(patience, stream.peek(&mut first)).await {
        Ok(Ok(1)) => {}
        _ => return Err(TurnedAway::Silent),
    }
    match (tls, first == HANDSHAKE) {
        (None, false) => Ok(Accepted {
            stream: stream.into(),
            tls: false,
            sni: None,
        }),
        (Some(tls), true) => shake_hands(stream, tls, patience).await,
        (None, true) => Err(TurnedAway::TlsOnPlain),
        (Some(_), false) => {
            let _ = timeout(patience, say_what_is_spoken(stream)).await;
            Err(TurnedAway::PlainOnTls)
        }
    }
}

async fn shake_hands(
    stream: TcpStream,
    tls: &Listening,
    patience: Duration,
) -> Result<Accepted, TurnedAway> {
    let handshake = TlsAcceptor::from(tls.config()).accept(stream);
    // A session is a small part of what its handshake takes.
    let stream = timeout(patience, Box::pin(handshake))
        .await
        .map_err(|_| TurnedAway::Late(patience))?
        .map_err(refused)?;
    let (_, session) = stream.get_ref();
    Ok(Accepted {
        tls: true,
        sni: session.server_name().map(str::to_ascii_lowercase),
        stream: TlsStream::from(stream).into(),
    })
}

fn refused(error: io::Error) -> TurnedAway {
    let alert = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match alert {
        Some(alert @ rustls::Error::AlertReceived(_)) => TurnedAway::Refused(alert.clone()),
        _ => TurnedAway::Handshake(error),
    }
}

/// Answers, and reads what the client still sends: a connection that is closed with bytes unread is reset, and the answer
/// lost.
async fn say_what_is_spoken(mut stream: TcpStream) -> io::Result<()> {
    stream.write_all(SPEAKS_TLS).await?;
    stream.shutdown().await?;
    tokio::io::copy(&mut stream.take(MOST_UNREAD), &mut tokio::io::sink()).await?;
    Ok(())
}

/// How a TLS record begins that holds a handshake (RFC 8446 §5.1). No HTTP method does.
const HANDSHAKE: [u8; 1] = [22];
const SPEAKS_TLS: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 44\r\nConnection: close\r\n\r\nthis port speaks TLS: use wss:// / https://\n";
/// More than the head of a request.
const MOST_UNREAD: u64 = 64 << 10;
