//! The side on which the gateway is reached.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, ServerName};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client};

use super::pair::certificates;
use super::verifier::Verifier;
use super::{Fingerprint, protocols, provider};
use crate::config::GatewayUrl;

/// Which certificate the gateway has to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// One for its name, from an authority that this machine trusts.
    System,
    /// One for its name, from one of these authorities.
    Authorities {
        /// Where they were read.
        file: PathBuf,
        /// Never none.
        certificates: Vec<CertificateDer<'static>>,
    },
    /// This one.
    Pinned(Fingerprint),
    /// The one in the gateway's own file, read whenever it is shown.
    Own(PathBuf),
}

impl Trust {
    /// Reads the authorities of a PEM file.
    ///
    /// # Errors
    ///
    /// When it holds none, as a clause behind its name.
    pub fn authorities(file: &Path) -> Result<Self, String> {
        Ok(Self::Authorities {
            file: file.to_owned(),
            certificates: certificates(file)?,
        })
    }
}

/// How the gateway is spoken to under TLS. Sessions are resumed.
#[derive(Clone, Debug)]
pub struct Dialing {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

/// Why TLS with the gateway did not come about. Its text is one clause, for "the gateway at … does not answer: …".
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Failure {
    /// No authority vouches for its certificate.
    #[error(
        "its TLS certificate is not trusted: {why}; give gateway.ca_file, or, where {COMPARE} says the same, \
         gateway.fingerprint = \"{seen}\""
    )]
    Untrusted {
        /// Its fingerprint.
        seen: Fingerprint,
        /// What the check said.
        why: String,
    },
    /// It is another one than was said.
    #[error(
        "its TLS certificate is {seen}, but gateway.fingerprint is {expected}; where {COMPARE} says the former, change \
         the setting"
    )]
    OtherThanPinned {
        /// Its fingerprint.
        seen: Fingerprint,
        /// The one that was expected.
        expected: Fingerprint,
    },
    /// It is another one than its own file holds.
    #[error(
        "its TLS certificate is {seen}, which is not the one in {}{}; restart the gateway if that is new, or give \
         gateway.fingerprint", .file.display(), in_brackets(.why.as_deref())
    )]
    OtherThanOwn {
        /// Its fingerprint.
        seen: Fingerprint,
        /// The gateway's file.
        file: PathBuf,
        /// Why the file cannot be read.
        why: Option<String>,
    },
    /// It does not speak TLS.
    #[error(
        "it does not speak TLS: give gateway.url as ws://, or switch gateway.tls on in openclaw.json"
    )]
    Plain,
    /// It left.
    #[error(
        "it closed the connection within the TLS handshake, as one does that does not speak TLS"
    )]
    Closed,
    /// The handshake failed otherwise.
    #[error("the TLS handshake failed: {0}")]
    Handshake(String),
}

impl Dialing {
    /// How this gateway is spoken to, where its address says that it speaks TLS.
    ///
    /// # Errors
    ///
    /// When no certificate can be for its host.
    pub fn new(url: &GatewayUrl, trust: &Trust) -> Result<Self, Failure> {
        let failed = |error: &dyn std::error::Error| Failure::Handshake(error.to_string());
        let name = ServerName::try_from(url.host.clone()).map_err(|error| failed(&error))?;
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| failed(&error))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Verifier::new(trust)))
            .with_no_client_auth();
        config.alpn_protocols = protocols();
        Ok(Self {
            config: Arc::new(config),
            name,
        })
    }

    /// Begins TLS on a connection.
    ///
    /// # Errors
    ///
    /// When the gateway shows another certificate or does not speak TLS.
    pub async fn handshake(
        &self,
        stream: TcpStream,
    ) -> Result<client::TlsStream<TcpStream>, Failure> {
        TlsConnector::from(Arc::clone(&self.config))
            .connect(self.name.clone(), stream)
            .await
            .map_err(|error| failure(&error))
    }
}

fn failure(error: &io::Error) -> Failure {
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(rustls::CertificateError::Other(said))) => said
            .0
            .downcast_ref::<Failure>()
            .cloned()
            .unwrap_or_else(|| Failure::Handshake(error.to_string())),
        // The first byte of an answer in HTTP is no kind of TLS record.
        Some(rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)) => {
            Failure::Plain
        }
        None if is_end(error.kind()) => Failure::Closed,
        _ => Failure::Handshake(error.to_string()),
    }
}

const fn is_end(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset
    )
}

fn in_brackets(why: Option<&str>) -> String {
    why.map_or_else(String::new, |why| format!(" ({why})"))
}

/// How to see the fingerprint where the gateway is.
const COMPARE: &str = "openssl x509 -noout -fingerprint -sha256 -in ~/.openclaw/gateway/tls/gateway-cert.pem on the gateway's machine";
