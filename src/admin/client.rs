//! The other end of the admin surface: how a command speaks with the shim that runs.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use thiserror::Error;
use tokio::time::timeout;

use crate::config::Config;

/// Asks the shim that runs with this configuration.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

/// Why there is no answer. The text says what to do.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Nobody is there.
    #[error(
        "no scope-shim answers at {}: {source}; start it with `scope-shim run`, or give the --config or --data that it was \
         started with", .socket.display()
    )]
    NotRunning {
        /// Where it would be.
        socket: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It broke off, or does not answer in time.
    #[error("the scope-shim at {} does not answer: {why}", .socket.display())]
    Silent {
        /// Where it is.
        socket: PathBuf,
        /// What went wrong.
        why: String,
    },
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
        Self {
            socket: super::socket(&config.data),
        }
    }

    /// A client of the shim whose admin socket this is.
    #[must_use]
    pub fn at(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
        }
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
        let (status, bytes) = timeout(PATIENCE, self.exchange(method, path, body))
            .await
            .unwrap_or_else(|_| Err(self.silent(format!("nothing within {PATIENCE:?}"))))?;
        let answer: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        if status.is_success() {
            return Ok(answer);
        }
        let said = answer.pointer("/error/message").and_then(Value::as_str);
        Err(ClientError::Refused {
            status,
            message: said.unwrap_or("it refused, and did not say why").to_owned(),
        })
    }

    #[cfg(unix)]
    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let stream = tokio::net::UnixStream::connect(&self.socket)
            .await
            .map_err(|source| ClientError::NotRunning {
                socket: self.socket.clone(),
                source,
            })?;
        let silent = |error: hyper::Error| self.silent(error.to_string());
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(silent)?;
        tokio::spawn(connection);
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "scope-shim")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| self.silent(error.to_string()))?;
        let response = sender.send_request(request).await.map_err(silent)?;
        let status = response.status();
        let body = response.into_body().collect().await.map_err(silent)?;
        Ok((status, body.to_bytes()))
    }

    #[cfg(not(unix))]
    async fn exchange(
        &self,
        _method: Method,
        _path: &str,
        _body: Option<&Value>,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        Err(ClientError::NotRunning {
            socket: self.socket.clone(),
            source: io::ErrorKind::Unsupported.into(),
        })
    }

    fn silent(&self, why: String) -> ClientError {
        ClientError::Silent {
            socket: self.socket.clone(),
            why,
        }
    }
}

/// How long a running shim may take to answer: it does nothing that takes long, but the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(10);
