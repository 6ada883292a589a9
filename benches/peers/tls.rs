//! One certificate for every proxy, and clients that trust it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

/// Where the certificate and its key are; HAProxy wants both in one file.
#[derive(Clone)]
pub struct Files {
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub both: PathBuf,
}

/// Makes a certificate for 127.0.0.1.
pub fn certify(directory: &Path) -> Files {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let files = Files {
        certificate: directory.join("certificate.pem"),
        key: directory.join("certificate.key"),
        both: directory.join("both.pem"),
    };
    let (certificate, key) = (cert.pem(), signing_key.serialize_pem());
    fs::write(&files.certificate, &certificate).unwrap();
    fs::write(&files.key, &key).unwrap();
    fs::write(&files.both, format!("{certificate}{key}")).unwrap();
    files
}

/// A client that speaks TLS 1.3 with AES-256-GCM, which Node's clients prefer: every proxy has the same work to do.
pub fn client(certificate: &Path) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(certificate).unwrap())
        .unwrap();
    let mut provider = default_provider();
    provider.cipher_suites = vec![cipher_suite::TLS13_AES_256_GCM_SHA384];
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}
