//! Certificates, and what speaks TLS for somebody who does not.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use scope_shim::tls::{Files, Fingerprint};
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector, client};

/// A certificate for 127.0.0.1 that nobody but itself vouches for, and its key.
#[derive(Clone)]
pub struct Certified {
    pub files: Files,
    pub certificate: CertificateDer<'static>,
}

impl Certified {
    /// Writes a new pair: `<name>.pem` and `<name>.key`.
    pub fn new(directory: &Path, name: &str) -> Self {
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        Self::write(directory, name, &cert, &signing_key)
    }

    /// The same, signed by an authority of its own; where that is.
    pub fn issued(directory: &Path, name: &str) -> (Self, PathBuf) {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, format!("{name} authority"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let authority = params.self_signed(&key).unwrap();
        let file = directory.join(format!("{name}-authority.pem"));
        fs::write(&file, authority.pem()).unwrap();
        let issuer = Issuer::new(params, key);
        let params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &issuer).unwrap();
        (Self::write(directory, name, &cert, &key), file)
    }

    fn write(directory: &Path, name: &str, cert: &Certificate, key: &KeyPair) -> Self {
        let files = Files {
            certificate: directory.join(format!("{name}.pem")),
            key: directory.join(format!("{name}.key")),
        };
        fs::write(&files.certificate, cert.pem()).unwrap();
        fs::write(&files.key, key.serialize_pem()).unwrap();
        Self {
            files,
            certificate: cert.der().clone(),
        }
    }

    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.certificate)
    }

    /// The lines of a configuration that show it to clients.
    pub fn section(&self) -> String {
        let Files { certificate, key } = &self.files;
        format!("[tls]\ncertificate = {certificate:?}\nkey = {key:?}\n")
    }

    /// A client that trusts it, and keeps its tickets.
    pub fn client(&self) -> Arc<ClientConfig> {
        self.client_of(&rustls::version::TLS13)
    }

    /// The same of one version of TLS.
    pub fn client_of(&self, version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Arc::new(config)
    }

    /// A server that shows it, as gateways do: TLS 1.3 alone.
    pub fn server(&self) -> Arc<ServerConfig> {
        let key = PrivateKeyDer::from_pem_file(&self.files.key).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.clone()], key)
            .unwrap();
        Arc::new(config)
    }
}

/// Speaks TLS with whoever listens there.
pub async fn connect(
    addr: SocketAddr,
    config: &Arc<ClientConfig>,
) -> std::io::Result<client::TlsStream<TcpStream>> {
    let stream = TcpStream::connect(addr).await?;
    stream.set_nodelay(true)?;
    TlsConnector::from(Arc::clone(config))
        .connect(ServerName::from(addr.ip()), stream)
        .await
}

/// A plain port whose clients are taken to a TLS one.
pub async fn into_tls(to: SocketAddr, shown: &Certified) -> SocketAddr {
    let config = shown.client();
    listen(move |client| {
        let config = Arc::clone(&config);
        async move {
            let server = connect(to, &config).await?;
            both_ways(client, server).await
        }
    })
    .await
}

/// A TLS port before a plain one.
pub async fn out_of_tls(to: SocketAddr, shows: &Certified) -> SocketAddr {
    let config = shows.server();
    listen(move |client| {
        let config = Arc::clone(&config);
        async move {
            let client = TlsAcceptor::from(config).accept(client).await?;
            both_ways(client, TcpStream::connect(to).await?).await
        }
    })
    .await
}

async fn listen<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = std::io::Result<()>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let _ = client.set_nodelay(true);
            tokio::spawn(serve(client));
        }
    });
    addr
}

async fn both_ways<A, B>(mut left: A, mut right: B) -> std::io::Result<()>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    copy_bidirectional(&mut left, &mut right).await.map(drop)
}
