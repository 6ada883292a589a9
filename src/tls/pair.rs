//! A certificate and its key, read from PEM files.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use thiserror::Error;

use super::expiry::Expiry;
use super::{Fingerprint, provider};
use crate::config::{Finding, Warning};

/// Where a certificate and its key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The certificate and those between it and its authority, as PEM.
    pub certificate: PathBuf,
    /// Its private key, as PEM: PKCS#8, PKCS#1 or SEC1, without a passphrase.
    pub key: PathBuf,
}

/// A certificate with the key that belongs to it.
#[derive(Clone, Debug)]
pub struct Pair {
    /// Both, ready for use.
    pub certified: Arc<CertifiedKey>,
    /// When the certificate ends.
    pub expiry: Expiry,
    /// The certificate's fingerprint.
    pub fingerprint: Fingerprint,
}

/// Why two files are no pair.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PairError {
    /// The certificate cannot be read.
    #[error("{}: {why}", .file.display())]
    Certificate {
        /// Its file.
        file: PathBuf,
        /// What is the matter.
        why: String,
    },
    /// The key cannot be read.
    #[error("{}: {why}", .file.display())]
    Key {
        /// Its file.
        file: PathBuf,
        /// What is the matter; never anything of the key.
        why: String,
    },
    /// Each can be read, but they do not belong together.
    #[error("{} is not the key of the certificate in {}", .0.key.display(), .0.certificate.display())]
    Mismatch(Files),
}

impl Files {
    /// Reads both.
    ///
    /// # Errors
    ///
    /// When one cannot be read, or they do not belong together.
    pub fn read(&self) -> Result<Pair, PairError> {
        let certificate = |why| PairError::Certificate {
            file: self.certificate.clone(),
            why,
        };
        let chain = certificates(&self.certificate).map_err(certificate)?;
        let first = chain.first().ok_or_else(|| certificate(NONE.to_owned()))?;
        let fingerprint = Fingerprint::of(first);
        let expiry = Expiry::of(first).ok_or_else(|| certificate(NO_X509.to_owned()))?;
        let key = |why| PairError::Key {
            file: self.key.clone(),
            why,
        };
        let private = private_key(&self.key).map_err(key)?;
        let certified =
            CertifiedKey::from_der(chain, private, &provider()).map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => PairError::Mismatch(self.clone()),
                error => key(error.to_string()),
            })?;
        Ok(Pair {
            certified: Arc::new(certified),
            expiry,
            fingerprint,
        })
    }

    /// What an operator should know about the pair.
    #[must_use]
    pub fn findings(&self, pair: &Pair) -> Vec<Finding> {
        let key = open_to_others(&self.key).then(|| {
            Finding::new(
                Warning::TlsKeyReadable,
                format!(
                    "every user of this machine may read the private key {}",
                    self.key.display()
                ),
                format!("chmod o= {}", self.key.display()),
            )
        });
        key.into_iter()
            .chain(pair.expiry.finding(&self.certificate))
            .collect()
    }
}

/// Every certificate of a PEM file.
pub(super) fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = fs::read(file).map_err(|error| error.to_string())?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match read {
        Ok(certificates) if certificates.is_empty() => Err(NONE.to_owned()),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(broken(&error)),
    }
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let text = fs::read(file).map_err(|error| error.to_string())?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        pem::Error::NoItemsFound if contains(&text, b"ENCRYPTED PRIVATE KEY") => {
            "the key has a passphrase, which nobody can give at start; take it away with openssl pkey -in … -out …"
                .to_owned()
        }
        pem::Error::NoItemsFound => {
            "there is no private key in it: expected PEM, as in -----BEGIN PRIVATE KEY-----".to_owned()
        }
        error => broken(&error),
    })
}

/// The library's words for some errors repeat a line of the file.
fn broken(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { .. } => "it ends in the middle of a PEM section",
        pem::Error::Base64Decode(_) => "a PEM section holds something else than base64",
        _ => "it is not PEM",
    }
    .to_owned()
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

#[cfg(unix)]
fn open_to_others(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(file).is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0)
}

#[cfg(not(unix))]
const fn open_to_others(_: &Path) -> bool {
    false
}

const NONE: &str = "there is no certificate in it: expected PEM, as in -----BEGIN CERTIFICATE-----";
const NO_X509: &str = "its first certificate is none that X.509 knows";
