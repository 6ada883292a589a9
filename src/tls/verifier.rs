//! Whether the gateway's certificate is the one that was meant.
//!
//! A pinned certificate needs neither the right name nor a date that still holds: so do the gateway's own clients, which
//! turn every other check off (`rejectUnauthorized: false` beside a fingerprint, 2026.2.19 to 2026.9.6). That the gateway
//! holds the key is checked in any case.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::{ParsedCertificate, VerifierBuilderError};
use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};

use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

use super::dialing::{Failure, Trust};
use super::expiry::Expiry;
use super::pair::certificates;
use super::{Fingerprint, provider};

/// Accepts what a [`Trust`] does, and says of everything else what it saw.
#[derive(Debug)]
pub(super) struct Verifier(Accepts);

#[derive(Debug)]
enum Accepts {
    Authorities {
        verifier: Arc<WebPkiServerVerifier>,
        /// Certificates that were named themselves.
        named: Vec<CertificateDer<'static>>,
        whose: String,
    },
    Pinned(Fingerprint),
    /// What a file has held since the shim runs: a gateway shows the old certificate until it is started anew.
    Own {
        file: PathBuf,
        seen: Mutex<Vec<Fingerprint>>,
    },
    /// There are no authorities to ask.
    Nothing,
}

impl Verifier {
    pub(super) fn new(trust: &Trust) -> Self {
        let authorities = |all: &[CertificateDer<'static>], named: &[_], whose: String| {
            verifier(all).map_or(Accepts::Nothing, |verifier| Accepts::Authorities {
                verifier,
                named: named.to_vec(),
                whose,
            })
        };
        Self(match trust {
            Trust::System => {
                let native = rustls_native_certs::load_native_certs();
                authorities(&native.certs, &[], "this machine trusts".to_owned())
            }
            Trust::Authorities { file, certificates } => {
                let whose = format!("is in {}", file.display());
                authorities(certificates, certificates, whose)
            }
            Trust::Pinned(fingerprint) => Accepts::Pinned(*fingerprint),
            Trust::Own(file) => Accepts::Own {
                file: file.clone(),
                seen: Mutex::default(),
            },
        })
    }

    fn check(
        &self,
        leaf: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        stapled: &[u8],
        now: UnixTime,
    ) -> Result<(), Failure> {
        let seen = Fingerprint::of(leaf);
        match &self.0 {
            Accepts::Authorities { named, whose, .. } if named.contains(leaf) => holds(leaf, name)
                .map_err(|error| Failure::Untrusted {
                    seen,
                    why: why(&error, leaf, whose),
                }),
            Accepts::Authorities {
                verifier, whose, ..
            } => verifier
                .verify_server_cert(leaf, between, name, stapled, now)
                .map(drop)
                .map_err(|error| Failure::Untrusted {
                    seen,
                    why: why(&error, leaf, whose),
                }),
            Accepts::Pinned(expected) if *expected == seen => Ok(()),
            Accepts::Pinned(expected) => Err(Failure::OtherThanPinned {
                seen,
                expected: *expected,
            }),
            Accepts::Own { file, seen: known } => {
                let read = certificates(file);
                let mut known = known
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner);
                if let Some(first) = read.as_ref().ok().and_then(|read| read.first()) {
                    let held = Fingerprint::of(first);
                    if !known.contains(&held) {
                        known.push(held);
                    }
                }
                if known.contains(&seen) {
                    return Ok(());
                }
                Err(Failure::OtherThanOwn {
                    seen,
                    file: file.clone(),
                    why: read.err(),
                })
            }
            Accepts::Nothing => Err(Failure::Untrusted {
                seen,
                why: "this machine has no list of authorities".to_owned(),
            }),
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        stapled: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.check(leaf, between, name, stapled, now) {
            Ok(()) => Ok(ServerCertVerified::assertion()),
            Err(failure) => Err(Error::InvalidCertificate(CertificateError::Other(
                OtherError(Arc::new(failure)),
            ))),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = provider().signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = provider().signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

fn verifier(
    certificates: &[CertificateDer<'static>],
) -> Result<Arc<WebPkiServerVerifier>, VerifierBuilderError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates.iter().cloned());
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build()
}

/// Whether a certificate that was named itself is for this name and has not ended. What `openssl req -x509` makes is marked
/// as an authority's, which would be refused as a server's.
fn holds(leaf: &CertificateDer<'_>, name: &ServerName<'_>) -> Result<(), Error> {
    verify_server_name(&ParsedCertificate::try_from(leaf)?, name)?;
    let ended = Expiry::of(leaf).is_none_or(|expiry| expiry.left().is_none());
    if ended {
        return Err(Error::InvalidCertificate(CertificateError::Expired));
    }
    Ok(())
}

/// The reason as a clause behind "is not trusted: ".
fn why(error: &Error, leaf: &CertificateDer<'_>, whose: &str) -> String {
    match error {
        Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        ) => "it has ended".to_owned(),
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "it is for another name than gateway.url has".to_owned(),
        _ if signs_itself(leaf) => "nobody but itself has signed it".to_owned(),
        Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => format!("no authority that {whose} has signed it"),
        error => error.to_string(),
    }
}

fn signs_itself(certificate: &[u8]) -> bool {
    X509Certificate::from_der(certificate)
        .is_ok_and(|(_, certificate)| certificate.issuer() == certificate.subject())
}
