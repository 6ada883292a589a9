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

/// Files that were read, and what of it is new.
#[derive(Debug)]
pub struct Renewed {
    files: Files,
    current: Option<Current>,
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

    /// Reads other files, and shows nobody what is in them yet.
    ///
    /// # Errors
    ///
    /// When they are no pair.
    pub fn prepare(&self, files: Files) -> Result<Renewed, PairError> {
        let current = self.read(&files)?;
        Ok(Renewed { files, current })
    }

    /// Shows the next client what was prepared, and reads those files from now on. Returns whether they held another
    /// certificate.
    pub fn show(&self, renewed: Renewed) -> bool {
        let Renewed { files, current } = renewed;
        let new = self.adopt(current);
        self.files.store(Arc::new(files));
        self.moved.notify_one();
        new
    }

    fn take(&self, files: &Files) -> Result<bool, PairError> {
        let current = self.read(files)?;
        Ok(self.adopt(current))
    }

    /// What the files hold, where it is another certificate than the one in use.
    fn read(&self, files: &Files) -> Result<Option<Current>, PairError> {
        let pair = files.read()?;
        if pair.certified.cert == self.current.load().pair.certified.cert {
            return Ok(None);
        }
        Current::of(pair, files).map(Some)
    }

    fn adopt(&self, current: Option<Current>) -> bool {
        let new = current.is_some();
        if let Some(current) = current {
            self.current.store(Arc::new(current));
        }
        new
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
