//! Just enough HTTP/1.1 to serve what a gateway serves beside its WebSocket, parsed by hand so that
//! header names, order and bytes are seen as they arrived.

use std::io;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A socket with what was read from it and not used yet.
pub(super) struct Wire {
    pub(super) stream: TcpStream,
    pub(super) buffer: Vec<u8>,
}

/// A request head.
#[derive(Clone, Debug, Default)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) headers: Vec<(String, String)>,
}

impl Request {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The path, without the query.
    pub(super) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    pub(super) fn is_upgrade(&self) -> bool {
        self.header("upgrade")
            .is_some_and(|value| value.eq_ignore_ascii_case("websocket"))
            && self.header("sec-websocket-key").is_some()
    }

    fn parse(head: &str) -> Option<Self> {
        let mut lines = head.split("\r\n");
        let mut start = lines.next()?.splitn(3, ' ');
        let (method, target) = (start.next()?.to_owned(), start.next()?.to_owned());
        start
            .next()
            .filter(|version| version.starts_with("HTTP/1."))?;
        let headers = lines
            .filter(|line| !line.is_empty())
            .map(|line| line.split_once(':'))
            .map(|pair| pair.map(|(name, value)| (name.to_owned(), value.trim().to_owned())))
            .collect::<Option<Vec<_>>>()?;
        Some(Self {
            method,
            target,
            headers,
        })
    }
}

impl Wire {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
        }
    }

    /// Reads more into the buffer; `false` at the end of the stream. Safe to cancel.
    pub(super) async fn fill(&mut self) -> io::Result<bool> {
        Ok(self.stream.read_buf(&mut self.buffer).await? > 0)
    }

    /// The next request head, or `None` if the client has gone.
    pub(super) async fn request(&mut self) -> io::Result<Option<Request>> {
        let end = loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                break end;
            }
            if self.buffer.len() > HEAD_LIMIT {
                return Err(io::Error::other("request head too large"));
            }
            if !self.fill().await? {
                return Ok(None);
            }
        };
        let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
        let head = String::from_utf8_lossy(&head[..end]).into_owned();
        Request::parse(&head)
            .map(Some)
            .ok_or_else(|| io::Error::other("malformed request"))
    }

    /// The request's body, by length or in chunks.
    pub(super) async fn body(&mut self, request: &Request) -> io::Result<Vec<u8>> {
        if request.header("transfer-encoding").is_some() {
            return self.chunked_body().await;
        }
        let length = request
            .header("content-length")
            .and_then(|value| value.parse().ok());
        self.take(length.unwrap_or(0)).await
    }

    async fn chunked_body(&mut self) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        loop {
            let line = self.line().await?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16).map_err(io::Error::other)?;
            out.extend(self.take(size).await?);
            self.line().await?;
            if size == 0 {
                return Ok(out);
            }
        }
    }

    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..end + 2).collect();
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            if !self.fill().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    async fn take(&mut self, length: usize) -> io::Result<Vec<u8>> {
        if length > BODY_LIMIT {
            return Err(io::Error::other("body too large"));
        }
        while self.buffer.len() < length {
            if !self.fill().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.buffer.drain(..length).collect())
    }

    /// Sends a whole response.
    pub(super) async fn respond(
        &mut self,
        status: &str,
        kind: &str,
        body: &[u8],
    ) -> io::Result<()> {
        let head = format!(
            "HTTP/1.1 {status}\r\nX-Content-Type-Options: nosniff\r\nContent-Type: {kind}\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        self.stream
            .write_all(&[head.as_bytes(), body].concat())
            .await
    }

    pub(super) async fn respond_json(
        &mut self,
        status: &str,
        body: &serde_json::Value,
    ) -> io::Result<()> {
        self.respond(
            status,
            "application/json; charset=utf-8",
            body.to_string().as_bytes(),
        )
        .await
    }

    /// Refuses an upgrade the way the gateway does: an answer, then the end.
    pub(super) async fn refuse(&mut self, status: &str, kind: &str, body: &str) -> io::Result<()> {
        let answer = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        self.stream.write_all(answer.as_bytes()).await?;
        self.stream.shutdown().await
    }

    pub(super) async fn start_chunks(&mut self) -> io::Result<()> {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n\
                    Transfer-Encoding: chunked\r\n\r\n";
        self.stream.write_all(head.as_bytes()).await
    }

    pub(super) async fn chunk(&mut self, body: &str) -> io::Result<()> {
        let chunk = format!("{:x}\r\n{body}\r\n", body.len());
        self.stream.write_all(chunk.as_bytes()).await?;
        self.stream.flush().await
    }
}

/// What 2026.8 and later say to proxy headers they cannot trust.
pub(super) fn attribution_required() -> String {
    json!({ "error": {
        "message": "Proxy client attribution is required. Configure gateway.trustedProxies narrowly and \
                    make the proxy overwrite or safely rebuild forwarded client headers.",
        "type": "proxy_attribution_required",
    } })
    .to_string()
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

const HEAD_LIMIT: usize = 64 * 1024;
const BODY_LIMIT: usize = 64 * 1024 * 1024;
