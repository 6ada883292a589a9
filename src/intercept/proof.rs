//! Proof that a redirect works: a connection to the gateway's port arrives at the shim, and the gateway answers it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::Redirect;
use super::sockets;

/// A redirect that works.
#[derive(Clone, Copy, Debug)]
pub struct Proof {
    /// Which.
    pub redirect: Redirect,
    /// From the connection to the gateway's answer.
    pub took: Duration,
}

/// A redirect that does not. The text is one clause.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Unproven {
    /// Nobody accepts.
    #[error("a connection to {0} does not come about: {1}")]
    Refused(SocketAddr, std::io::Error),
    /// Another rule of this machine sends it elsewhere, most likely.
    #[error(
        "a connection to {0} does not arrive at the shim on port {1}; another rule may send it elsewhere (nft list \
         ruleset)"
    )]
    Astray(SocketAddr, u16),
    /// The shim has it, but does not get through to the gateway.
    #[error("a connection to {0} arrives at the shim, but {1}")]
    Unanswered(SocketAddr, String),
}

/// Proves them one after the other.
pub(super) async fn prove_all(redirects: &[Redirect]) -> Result<Vec<Proof>, Unproven> {
    let mut proofs = Vec::new();
    for redirect in redirects {
        proofs.push(prove(*redirect).await?);
    }
    Ok(proofs)
}

async fn prove(redirect: Redirect) -> Result<Proof, Unproven> {
    let begun = Instant::now();
    let gateway = redirect.gateway();
    let stream = timeout(TIME_TO_CONNECT, TcpStream::connect(gateway)).await;
    let mut stream = stream
        .map_err(std::io::Error::from)
        .and_then(|connected| connected)
        .map_err(|error| Unproven::Refused(gateway, error))?;
    if !arrives(&stream, redirect.to).await {
        return Err(Unproven::Astray(gateway, redirect.to));
    }
    let status = timeout(TIME_TO_ANSWER, ask(&mut stream, gateway)).await;
    let unanswered = |why: String| Unproven::Unanswered(gateway, why);
    match status {
        Err(_) => Err(unanswered(format!(
            "nothing answers within {TIME_TO_ANSWER:?}"
        ))),
        Ok(Err(error)) => Err(unanswered(format!("breaks off: {error}"))),
        Ok(Ok(status)) => match status.as_str() {
            // What the shim answers in the gateway's stead.
            "502" | "421" => Err(unanswered("the shim does not reach the gateway".to_owned())),
            digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => Ok(Proof {
                redirect,
                took: begun.elapsed(),
            }),
            _ => Err(unanswered(
                "what answers does not speak plain HTTP".to_owned(),
            )),
        },
    }
}

/// Whether the other end of the connection is a socket of the shim's port.
async fn arrives(stream: &TcpStream, port: u16) -> bool {
    let Ok(own) = stream.local_addr() else {
        return false;
    };
    for _ in 0..LOOKS {
        if sockets::arrived(own, port) {
            return true;
        }
        sleep(BETWEEN_LOOKS).await;
    }
    false
}

/// The status that a request for the gateway's health is answered with; early gateways answer every path.
async fn ask(stream: &mut TcpStream, gateway: SocketAddr) -> std::io::Result<String> {
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {gateway}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut head = [0; "HTTP/1.1 200".len()];
    stream.read_exact(&mut head).await?;
    Ok(String::from_utf8_lossy(&head)
        .strip_prefix("HTTP/1.1 ")
        .unwrap_or("not HTTP")
        .to_owned())
}

const TIME_TO_CONNECT: Duration = Duration::from_secs(3);
/// A gateway that is busy starting has taken seconds.
const TIME_TO_ANSWER: Duration = Duration::from_secs(10);
const LOOKS: u32 = 20;
const BETWEEN_LOOKS: Duration = Duration::from_millis(25);
