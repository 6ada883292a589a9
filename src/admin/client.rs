//! The other end of the admin surface: how a command speaks with the shim that runs.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::token::{self, TokenError};
use crate::config::{self, Config};
use crate::text::safe;

/// Asks the shim that runs with this configuration.
#[derive(Clone, Debug)]
pub struct Client {
    place: Place,
    data: PathBuf,
}

/// Where the shim is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// At its Unix socket.
    Socket(PathBuf),
    /// At its port, with the token.
    Port(SocketAddr),
    /// The configuration leaves no way in.
    Nowhere,
}

/// Why there is no answer. The text says what to do.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Nobody is there.
    #[error(
        "no scope-shim answers at {}: {source}; start it with `scope-shim run`, or give the --config or --data that it \
         was started with", .socket.display()
    )]
    NotRunning {
        /// Where it would be: the path of its socket, or the address of its port.
        socket: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It broke off, or does not answer in time.
    #[error("the scope-shim at {} does not answer: {why}", .socket.display())]
    Silent {
        /// Where it is, in the same way.
        socket: PathBuf,
        /// What went wrong.
        why: String,
    },
    /// It cannot be asked: `admin.socket` and `admin.listen` are both off.
    #[error(
        "the configuration leaves no way to a running scope-shim; set admin.socket to \"auto\", or admin.listen"
    )]
    Off,
    /// There is no token for its port.
    #[error("no token for the admin port: {0}")]
    Token(#[from] TokenError),
    /// It said no.
    #[error("{message}")]
    Refused {
        /// The status of its answer.
        status: StatusCode,
        /// What it said.
        message: String,
    },
}

impl Client {
    /// A client of the shim that runs with this configuration.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self::of(&config.admin, &config.base)
    }

    /// A client of the shim that is asked in this way, and keeps its own data there.
    #[must_use]
    pub fn of(admin: &config::Admin, data: &Path) -> Self {
        let place = match (&admin.socket, admin.listen) {
            (Some(path), _) => Place::Socket(path.clone()),
            (None, Some(address)) => Place::Port(address),
            (None, None) => Place::Nowhere,
        };
        Self {
            place,
            data: data.to_owned(),
        }
    }

    /// A client of the shim that runs with this data directory, as far as nothing else is known of it.
    #[must_use]
    pub fn of_data(data: &std::path::Path) -> Self {
        Self {
            place: Place::Socket(super::socket(data)),
            data: data.to_owned(),
        }
    }

    /// A client of the shim whose admin socket this is.
    #[must_use]
    pub fn at(socket: &Path) -> Self {
        Self {
            place: Place::Socket(socket.to_owned()),
            data: socket.parent().unwrap_or(socket).to_owned(),
        }
    }

    /// The directory of its own data.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Asks for something.
    ///
    /// # Errors
    ///
    /// When no shim answers, or it refuses.
    pub async fn get(&self, path: &str) -> Result<Value, ClientError> {
        self.call(Method::GET, path, None).await
    }

    /// Has something done.
    ///
    /// # Errors
    ///
    /// When no shim answers, or it refuses.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, ClientError> {
        self.call(Method::POST, path, Some(body)).await
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, ClientError> {
        let patience = match method {
            Method::GET => PATIENCE,
            _ => LONGEST_WORK,
        };
        let (status, bytes) = timeout(patience, self.exchange(method, path, body))
            .await
            .unwrap_or_else(|_| Err(self.silent(format!("nothing within {patience:?}"))))?;
        let answer: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        if status.is_success() {
            return Ok(answer);
        }
        let said = answer.pointer("/error/message").and_then(Value::as_str);
        Err(ClientError::Refused {
            status,
            message: printable(said.unwrap_or("it refused, and did not say why")),
        })
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let request = Request::builder().method(method).uri(path);
        let request = request.header(CONTENT_TYPE, "application/json");
        let body = Full::new(Bytes::from(body.map(Value::to_string).unwrap_or_default()));
        match &self.place {
            #[cfg(unix)]
            Place::Socket(path) => {
                let stream = tokio::net::UnixStream::connect(path).await;
                let request = request.header(HOST, "scope-shim").body(body);
                self.ask(stream.map_err(|error| self.not_running(error))?, request)
                    .await
            }
            #[cfg(not(unix))]
            Place::Socket(_) => Err(self.not_running(io::ErrorKind::Unsupported.into())),
            Place::Port(address) => {
                let token = token::load(&self.data)?;
                let stream = TcpStream::connect(address).await;
                self.check_listener(*address)?;
                let request = request
                    .header(HOST, address.to_string())
                    .header(AUTHORIZATION, format!("Bearer {}", token.reveal()))
                    .body(body);
                self.ask(stream.map_err(|error| self.not_running(error))?, request)
                    .await
            }
            Place::Nowhere => Err(ClientError::Off),
        }
    }

    /// While the shim is down, anybody may take its port: nobody gets the token who could not read its file.
    #[cfg(target_os = "linux")]
    fn check_listener(&self, address: SocketAddr) -> Result<(), ClientError> {
        let owner = token::owner(&self.data);
        match owner.and_then(|owner| crate::intercept::stranger(address, owner)) {
            Some(user) => Err(self.silent(format!(
                "a process of user {user} listens there, which gets no token"
            ))),
            None => Ok(()),
        }
    }

    #[cfg(not(target_os = "linux"))]
    const fn check_listener(&self, _address: SocketAddr) -> Result<(), ClientError> {
        Ok(())
    }

    async fn ask(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        request: hyper::http::Result<Request<Full<Bytes>>>,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let request = request.map_err(|error| self.silent(error.to_string()))?;
        let silent = |error: hyper::Error| self.silent(error.to_string());
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(silent)?;
        tokio::spawn(connection);
        let response = sender.send_request(request).await.map_err(silent)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MOST_BYTES);
        let body = body.collect().await;
        let body = body.map_err(|error| self.silent(error.to_string()))?;
        Ok((status, body.to_bytes()))
    }

    fn shown(&self) -> PathBuf {
        match &self.place {
            Place::Socket(path) => path.clone(),
            Place::Port(address) => address.to_string().into(),
            Place::Nowhere => PathBuf::new(),
        }
    }

    fn not_running(&self, source: io::Error) -> ClientError {
        ClientError::NotRunning {
            socket: self.shown(),
            source,
        }
    }

    fn silent(&self, why: String) -> ClientError {
        ClientError::Silent {
            socket: self.shown(),
            why,
        }
    }
}

/// What somebody else's process says, as it may reach a terminal or a log: whoever asks as root need not trust who answers.
fn printable(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(safe).collect();
    lines.join("\n")
}

/// How large an answer may be: that of thousands of sessions is smaller.
const MOST_BYTES: usize = 16 << 20;
/// How long a running shim may take to answer: it does nothing that takes long, but the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long what changes something may take: an approval asks the gateway several times, and that may be busy, too.
const LONGEST_WORK: Duration = Duration::from_secs(65);

#[cfg(all(test, unix))]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixListener;

    use super::*;

    /// What the client makes of an answer whose body is this.
    async fn refusal(status: &str, body: Vec<u8>) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let length = body.len();
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n");
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await.unwrap();
            stream.write_all(head.as_bytes()).await.unwrap();
            // Whoever reads no further has closed it.
            let _ = stream.write_all(&body).await;
        });
        let answer = Client::at(&path).get("/status").await;
        answer.unwrap_err().to_string()
    }

    #[tokio::test]
    async fn what_another_users_process_answers_moves_no_cursor() {
        let body = r#"{"error":{"message":"one\u001b[2J\u202e\n  hint: two"}}"#;
        let said = refusal("409 Conflict", body.into()).await;
        assert_eq!(said, "one\\u{1b}[2J\\u{202e}\n  hint: two");
    }

    #[tokio::test]
    async fn an_answer_without_end_is_not_read_to_the_end() {
        let said = refusal("200 OK", vec![b' '; MOST_BYTES + 1]).await;
        assert!(said.contains("length limit exceeded"), "{said}");
    }
}
