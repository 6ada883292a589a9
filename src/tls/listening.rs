//! The side on which clients come in.

use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::sign::SingleCertAndKey;
use tokio::sync::Notify;

use super::{Files, Fingerprint, Pair, PairError, protocols, provider};

/// What clients are shown: a certificate that can be renewed while sessions go on.
#[derive(Debug)]
pub struct Listening {
    files: ArcSwap<Files>,
    current: ArcSwap<Current>,
    /// Told when the files are others.
    pub(super) moved: Notify,
}

#[derive(Debug)]
struct Current {
    pair: Pair,
    config: Arc<ServerConfig>,
}

impl Listening {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// When they are no pair.
    pub fn open(files: Files) -> Result<Self, PairError> {
        let current = Current::of(files.read()?, &files)?;
        Ok(Self {
            files: ArcSwap::from_pointee(files),
            current: ArcSwap::from_pointee(current),
            moved: Notify::new(),
        })
    }

    /// What the next client is shown.
    #[must_use]
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.load().config)
    }

    /// The fingerprint of the certificate in use.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.current.load().pair.fingerprint
    }

    /// When the certificate in use ends.
    #[must_use]
    pub fn expires(&self) -> SystemTime {
        self.pair().expiry.at()
    }

    /// The pair in use.
    #[must_use]
    pub fn pair(&self) -> Pair {
        self.current.load().pair.clone()
    }

    /// Where the pair is read.
    #[must_use]
    pub fn files(&self) -> Arc<Files> {
        self.files.load_full()
    }

    /// Reads the files again. Returns whether they hold another certificate, which the next client is shown; those that
    /// are here keep what they have.
    ///
    /// # Errors
    ///
    /// When they are no pair; the one in use stays.
    pub fn renew(&self) -> Result<bool, PairError> {
        self.take(&self.files())
    }

    /// Reads other files from now on. Returns whether they hold another certificate.
    ///
    /// # Errors
    ///
    /// When they are no pair; the files and the pair in use stay.
    pub fn replace(&self, files: Files) -> Result<bool, PairError> {
        let new = self.take(&files)?;
        self.files.store(Arc::new(files));
        self.moved.notify_one();
        Ok(new)
    }

    fn take(&self, files: &Files) -> Result<bool, PairError> {
        let pair = files.read()?;
        if pair.certified.cert == self.current.load().pair.certified.cert {
            return Ok(false);
        }
        self.current.store(Arc::new(Current::of(pair, files)?));
        Ok(true)
    }
}

impl Current {
    fn of(pair: Pair, files: &Files) -> Result<Self, PairError> {
        let config = config(&pair).map_err(|error| PairError::Key {
            file: files.key.clone(),
            why: error.to_string(),
        })?;
        Ok(Self {
            config: Arc::new(config),
            pair,
        })
    }
}

/// Sessions are resumed by ticket, those of TLS 1.2 without tickets from memory; a new certificate starts anew.
fn config(pair: &Pair) -> Result<ServerConfig, rustls::Error> {
    let resolver = SingleCertAndKey::from(Arc::clone(&pair.certified));
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(resolver));
    config.alpn_protocols = protocols();
    config.ticketer = Ticketer::new()?;
    Ok(config)
}
