//! The delegate: the shim's own device, which signs what the shim rewrites.
//!
//! Its key is made on the first start and kept in the data directory, readable by its owner alone. Its signature is
//! payload version 2, the one that every gateway from 2026.2.17 to 2026.9.6 takes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::device::DeviceId;
use crate::handshake::message::{Claims, DeviceProof};
use crate::identity::proof::{self, PayloadVersion};
use crate::private;

/// The platform that the delegate always claims. Gateways from 2026.2.26 pin it at pairing, so it is one constant
/// whatever machine the shim runs on.
pub const PLATFORM: &str = "linux";

/// The shim's own device.
#[derive(Debug)]
pub struct Delegate {
    path: PathBuf,
    key: ArcSwap<Key>,
    discarded: AtomicBool,
}

/// A delegate that is about to be used. Dropped before it is kept, it leaves everything as it was.
#[derive(Debug)]
#[must_use]
pub struct Claim {
    delegate: Arc<Delegate>,
    /// Whether there was no key before.
    made: bool,
    /// Whether it was out of use before.
    unmarked: bool,
}

impl Claim {
    /// Lets it hold.
    pub fn keep(mut self) {
        (self.made, self.unmarked) = (false, false);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.made {
            // Nobody knows it yet, so nothing is lost with it.
            let _ = fs::remove_file(&self.delegate.path);
        }
        if self.unmarked
            && let Err(error) = self.delegate.retire()
        {
            tracing::error!("{error}; the shim's device could be paired again");
        }
    }
}

struct Key {
    pair: Ed25519KeyPair,
    device_id: DeviceId,
    public_key: String,
}

/// Why the delegate's key cannot be used.
#[derive(Debug, Error)]
pub enum DelegateError {
    /// The file or its directory cannot be read or written.
    #[error("cannot {action} the delegate's key {}: {source}; check the data directory (--data)", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Not a key file of ours.
    #[error(
        "{} is not an Ed25519 private key; move it away and the shim makes a new one, which has to be paired again",
        .0.display()
    )]
    NotAKey(PathBuf),
    /// Others may read the key.
    #[error("others can read the delegate's key {} (mode {mode:o}); run: chmod 600 {}", path.display(), path.display())]
    Exposed {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Somebody else has put it there.
    #[error(transparent)]
    Foreign(#[from] private::NotOwn),
    /// The system has no randomness to give.
    #[error("this system gave no random bytes for a new key")]
    NoRandomness,
}

impl Delegate {
    /// Loads the key from the data directory, or makes one.
    ///
    /// # Errors
    ///
    /// When the directory cannot be used, or the key in it is broken or readable by others.
    pub fn load_or_create(data: &Path) -> Result<Self, DelegateError> {
        let path = data.join(KEY_FILE);
        let key = match read(&path) {
            Err(DelegateError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                private::directory(data).map_err(failed("write", data))?;
                create(&path)?;
                read(&path)
            }
            read => read,
        };
        Ok(Self {
            key: ArcSwap::from_pointee(key?),
            path,
            discarded: AtomicBool::new(false),
        })
    }

    /// The same without leaving anything behind: where there is no key, one that is kept nowhere before
    /// [`Self::restore`].
    ///
    /// # Errors
    ///
    /// When the key that is there is broken or readable by others, or none can be made.
    pub fn load_or_dream(data: &Path) -> Result<Self, DelegateError> {
        if let Some(delegate) = Self::load(data)? {
            return Ok(delegate);
        }
        let pem = fresh()?;
        let path = data.join(KEY_FILE);
        let key = Key::from_pem(&pem).ok_or_else(|| DelegateError::NotAKey(path.clone()))?;
        Ok(Self {
            key: ArcSwap::from_pointee(key),
            path,
            discarded: AtomicBool::new(true),
        })
    }

    /// Loads the key, if there is one.
    ///
    /// # Errors
    ///
    /// When it is there and broken, or readable by others.
    pub fn load(data: &Path) -> Result<Option<Self>, DelegateError> {
        let path = data.join(KEY_FILE);
        match read(&path) {
            Ok(key) => Ok(Some(Self {
                key: ArcSwap::from_pointee(key),
                path,
                discarded: AtomicBool::new(false),
            })),
            Err(DelegateError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Becomes another device with a key of its own, for a gateway that holds a record which can no longer be used.
    /// The old key is kept beside the new one. Returns the old id.
    ///
    /// # Errors
    ///
    /// When the key cannot be written; the delegate stays who it was.
    pub fn renew(&self) -> Result<DeviceId, DelegateError> {
        let old = self.device_id();
        let kept = self.path.with_extension(format!("{}.old", old.short()));
        fs::rename(&self.path, &kept).map_err(failed("write", &self.path))?;
        let renewed = create(&self.path).and_then(|()| read(&self.path));
        match renewed {
            Ok(key) => {
                self.key.store(Arc::new(key));
                Ok(old)
            }
            Err(error) => {
                let _ = fs::rename(&kept, &self.path);
                Err(error)
            }
        }
    }

    /// The devices that the delegate was before: their keys lie beside its own.
    #[must_use]
    pub fn former(&self) -> Vec<DeviceId> {
        let kept = self.kept().into_iter();
        kept.filter_map(|path| Some(read(&path).ok()?.device_id))
            .collect()
    }

    /// Deletes the key and those of former devices: no gateway knows them any more, and a key that opens nothing is
    /// only there to be stolen. The next start makes another.
    ///
    /// # Errors
    ///
    /// When a file cannot be deleted.
    pub fn discard(&self) -> Result<(), DelegateError> {
        for path in self.kept().iter().chain([&self.path]) {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(failed("delete", path)(error));
                }
                _ => {}
            }
        }
        self.discarded.store(true, Ordering::Release);
        Ok(())
    }

    /// Whether its key was deleted since it was loaded.
    #[must_use]
    pub fn is_discarded(&self) -> bool {
        self.discarded.load(Ordering::Acquire)
    }

    /// Marks it as out of use, in the data directory: whoever has loaded its key, in this process or another, does not
    /// pair it any more.
    ///
    /// # Errors
    ///
    /// When the directory cannot be written.
    pub fn retire(&self) -> Result<(), DelegateError> {
        use io::ErrorKind::{AlreadyExists, NotFound};
        let mark = self.mark();
        match private::create(&mark, b"") {
            // Where there is no directory there is no key that anybody could have loaded.
            Err(error) if !matches!(error.kind(), AlreadyExists | NotFound) => {
                Err(failed("retire", &mark)(error))
            }
            _ => Ok(()),
        }
    }

    /// Whether anybody has marked it as out of use.
    #[must_use]
    pub fn is_retired(&self) -> bool {
        self.mark().exists()
    }

    /// Whether the delegate of this data directory is out of use, also where its key is gone.
    #[must_use]
    pub fn is_retired_in(data: &Path) -> bool {
        data.join(RETIRED_FILE).exists()
    }

    /// Takes the mark away again.
    ///
    /// # Errors
    ///
    /// When it is there and stays.
    pub fn reinstate(&self) -> Result<(), DelegateError> {
        Self::reinstate_in(self.path.parent().unwrap_or(&self.path))
    }

    /// The same in a data directory, also where the key is gone.
    ///
    /// # Errors
    ///
    /// As for [`Self::reinstate`].
    pub fn reinstate_in(data: &Path) -> Result<(), DelegateError> {
        let mark = data.join(RETIRED_FILE);
        match fs::remove_file(&mark) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failed("reinstate", &mark)(error))
            }
            _ => Ok(()),
        }
    }

    /// Becomes the device whose key is kept now: another process, or another engine of this one, may have made a new
    /// one. Where there is none, it stays who it was.
    ///
    /// # Errors
    ///
    /// When there is a key, and it cannot be used.
    pub fn look_again(&self) -> Result<(), DelegateError> {
        match read(&self.path) {
            Ok(kept) => {
                if kept.device_id != self.key.load().device_id {
                    self.key.store(Arc::new(kept));
                }
                self.discarded.store(false, Ordering::Release);
                Ok(())
            }
            Err(DelegateError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Becomes the device whose key is kept, and a fresh one where there is none.
    ///
    /// # Errors
    ///
    /// When no key can be made.
    pub fn restore(&self) -> Result<(), DelegateError> {
        if !self.path.exists() {
            let data = self.path.parent().unwrap_or(&self.path);
            private::directory(data).map_err(failed("write", data))?;
            create(&self.path)?;
        }
        self.key.store(Arc::new(read(&self.path)?));
        self.discarded.store(false, Ordering::Release);
        Ok(())
    }

    /// Has the data directory hold what a shim that is switched on needs: a key, and no mark, as whoever wants that wants
    /// the delegate used again, too.
    ///
    /// # Errors
    ///
    /// When no key can be made, or the mark stays; then everything is as it was.
    pub fn claim(self: &Arc<Self>) -> Result<Claim, DelegateError> {
        let mut claim = Claim {
            delegate: Arc::clone(self),
            made: !self.path.exists(),
            unmarked: false,
        };
        self.restore()?;
        claim.unmarked = self.is_retired();
        self.reinstate()?;
        Ok(claim)
    }

    fn mark(&self) -> PathBuf {
        self.path.with_file_name(RETIRED_FILE)
    }

    /// The files of former keys.
    fn kept(&self) -> Vec<PathBuf> {
        let entries = self.path.parent().and_then(|data| fs::read_dir(data).ok());
        let paths = entries.into_iter().flatten().flatten();
        paths
            .map(|entry| entry.path())
            .filter(|path| {
                let name = path.file_name().and_then(|name| name.to_str());
                name.is_some_and(|name| name.starts_with("delegate.") && name.ends_with(".old"))
            })
            .collect()
    }

    /// The delegate's device id.
    #[must_use]
    pub fn device_id(&self) -> DeviceId {
        self.key.load().device_id.clone()
    }

    /// Proves to the gateway that the delegate makes these claims, for the challenge with this nonce.
    #[must_use]
    pub fn prove(&self, claims: &Claims, nonce: &str, now_ms: i64) -> DeviceProof {
        let key = self.key.load();
        let mut device = DeviceProof {
            id: key.device_id.as_str().to_owned(),
            public_key: key.public_key.clone(),
            signature: String::new(),
            signed_at_ms: now_ms,
            nonce: Some(nonce.to_owned()),
        };
        let payload = proof::payload(PayloadVersion::V2, claims, &device, nonce);
        device.signature = URL_SAFE_NO_PAD.encode(key.pair.sign(payload.as_bytes()));
        device
    }
}

impl Key {
    fn from_pem(pem: &str) -> Option<Self> {
        let base64: String = pem
            .lines()
            .filter(|line| !line.starts_with("-----"))
            .collect();
        let base64 = Zeroizing::new(base64);
        let der = Zeroizing::new(STANDARD.decode(base64.trim()).ok()?);
        let pair = Ed25519KeyPair::from_pkcs8(&der).ok()?;
        let raw: [u8; 32] = pair.public_key().as_ref().try_into().ok()?;
        Some(Self {
            device_id: proof::device_id(&raw),
            public_key: URL_SAFE_NO_PAD.encode(raw),
            pair,
        })
    }
}

/// Shows the device id; the key never.
impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key")
            .field("device_id", &self.device_id)
            .finish_non_exhaustive()
    }
}

fn failed(action: &'static str, path: &Path) -> impl Fn(io::Error) -> DelegateError {
    let path = path.to_owned();
    move |source| DelegateError::Io {
        action,
        path: path.clone(),
        source,
    }
}

fn read(path: &Path) -> Result<Key, DelegateError> {
    let metadata = fs::metadata(path).map_err(failed("read", path))?;
    refuse_exposed(path, &metadata)?;
    private::check_planted(path, &metadata)?;
    let pem = fs::read_to_string(path)
        .map(Zeroizing::new)
        .map_err(failed("read", path))?;
    Key::from_pem(&pem).ok_or_else(|| DelegateError::NotAKey(path.to_owned()))
}

#[cfg(unix)]
fn refuse_exposed(path: &Path, metadata: &fs::Metadata) -> Result<(), DelegateError> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(DelegateError::Exposed {
        path: path.to_owned(),
        mode,
    })
}

#[cfg(not(unix))]
fn refuse_exposed(_path: &Path, _metadata: &fs::Metadata) -> Result<(), DelegateError> {
    Ok(())
}

/// A new key, as PEM.
fn fresh() -> Result<Zeroizing<String>, DelegateError> {
    let der = Ed25519KeyPair::generate_pkcs8v1(&aws_lc_rs::rand::SystemRandom::new())
        .map_err(|_| DelegateError::NoRandomness)?;
    let body = Zeroizing::new(STANDARD.encode(der.as_ref()));
    Ok(Zeroizing::new(format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        body.as_str()
    )))
}

/// Makes a key and puts it in place whole: a full disk leaves no half a key behind, and of two shims that start at
/// once one wins and both use its key.
fn create(path: &Path) -> Result<(), DelegateError> {
    let pem = fresh()?;
    let draft = path.with_extension(format!("{}.draft", std::process::id()));
    let written =
        private::write(&draft, pem.as_bytes()).and_then(|()| match fs::hard_link(&draft, path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        });
    let _ = fs::remove_file(&draft);
    written.map_err(failed("write", path))
}

const KEY_FILE: &str = "delegate.key";
/// Empty, and there from `scope-shim unpair` until the shim is switched on again.
const RETIRED_FILE: &str = "retired";

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;
    use crate::identity::proof::{ProofRules, verify};

    #[test]
    fn the_key_is_made_once_and_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("new/data");
        let first = Delegate::load_or_create(&data).unwrap();
        let second = Delegate::load_or_create(&data).unwrap();
        assert_eq!(first.device_id(), second.device_id());
        assert_eq!(
            fs::read_dir(&data).unwrap().count(),
            1,
            "only the key is left behind"
        );
    }

    #[test]
    fn what_the_delegate_signs_passes_the_gateways_checks() {
        let dir = tempfile::tempdir().unwrap();
        let delegate = Delegate::load_or_create(dir.path()).unwrap();
        let claims = Claims {
            scopes: vec!["operator.read".into()],
            ..Claims::default()
        };
        let device = delegate.prove(&claims, "nonce", 1_000);
        let rules = ProofRules {
            skew_ms: 0,
            allow_v1: false,
            allow_v3: true,
        };
        assert_eq!(
            verify(&claims, &device, "nonce", 1_000, rules),
            Ok(PayloadVersion::V2)
        );
    }

    #[test]
    fn a_renewed_delegate_is_another_device_for_good() {
        let dir = tempfile::tempdir().unwrap();
        let delegate = Delegate::load_or_create(dir.path()).unwrap();
        let old = delegate.device_id();
        assert_eq!(delegate.renew().unwrap(), old);
        assert_ne!(delegate.device_id(), old);
        let again = Delegate::load_or_create(dir.path()).unwrap();
        assert_eq!(again.device_id(), delegate.device_id());
    }

    #[test]
    fn a_discarded_delegate_leaves_no_key_and_comes_back_as_another_device() {
        let dir = tempfile::tempdir().unwrap();
        let delegate = Delegate::load_or_create(dir.path()).unwrap();
        let first = delegate.renew().unwrap();
        let second = delegate.device_id();
        assert_eq!(delegate.former(), [first]);
        delegate.discard().unwrap();
        delegate.discard().unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        delegate.restore().unwrap();
        assert_ne!(delegate.device_id(), second);
        assert!(delegate.former().is_empty());
        let again = Delegate::load_or_create(dir.path()).unwrap();
        assert_eq!(again.device_id(), delegate.device_id());
    }

    #[test]
    fn whoever_has_loaded_a_key_sees_that_it_was_retired_or_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let one = Delegate::load_or_create(dir.path()).unwrap();
        let other = Delegate::load_or_create(dir.path()).unwrap();
        one.retire().unwrap();
        one.retire().unwrap();
        assert!(other.is_retired());
        one.discard().unwrap();
        let before = other.device_id();
        other.look_again().unwrap();
        assert_eq!(other.device_id(), before, "there is none to become");
        one.reinstate().unwrap();
        one.restore().unwrap();
        assert!(!other.is_retired());
        other.look_again().unwrap();
        assert_eq!(other.device_id(), one.device_id());
        assert_ne!(other.device_id(), before);
    }

    #[test]
    fn a_claim_that_is_not_kept_leaves_everything_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let dreamt = || Arc::new(Delegate::load_or_dream(dir.path()).unwrap());
        let there = |name: &str| dir.path().join(name).exists();
        let delegate = dreamt();
        delegate.retire().unwrap();
        drop(delegate.claim().unwrap());
        assert_eq!((there(KEY_FILE), there(RETIRED_FILE)), (false, true));
        delegate.claim().unwrap().keep();
        assert_eq!((there(KEY_FILE), there(RETIRED_FILE)), (true, false));
        let before = delegate.device_id();
        drop(dreamt().claim().unwrap());
        assert_eq!((there(KEY_FILE), there(RETIRED_FILE)), (true, false));
        assert_eq!(dreamt().device_id(), before, "a key that was there stays");
    }

    #[cfg(unix)]
    #[test]
    fn a_key_that_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        Delegate::load_or_create(dir.path()).unwrap();
        let path = dir.path().join(KEY_FILE);
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = Delegate::load_or_create(dir.path()).unwrap_err();
        assert!(
            matches!(error, DelegateError::Exposed { mode: 0o640, .. }),
            "{error}"
        );
    }

    #[test]
    fn a_broken_key_is_not_replaced_in_silence() {
        let dir = tempfile::tempdir().unwrap();
        private::write(&dir.path().join(KEY_FILE), b"garbage").unwrap();
        let error = Delegate::load_or_create(dir.path()).unwrap_err();
        assert!(matches!(error, DelegateError::NotAKey(_)), "{error}");
        assert_eq!(fs::read(dir.path().join(KEY_FILE)).unwrap(), b"garbage");
    }
}
