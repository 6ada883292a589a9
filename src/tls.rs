//! TLS on both sides: towards clients ([`Listening`]) and towards the gateway ([`Dialing`]).
//!
//! TLS 1.2 and 1.3, HTTP/1.1 only, sessions are resumed. Gateways themselves speak 1.3 alone, on every version.

mod accept;
mod dialing;
mod expiry;
mod fingerprint;
mod listening;
mod pair;
mod renewal;
mod verifier;

use std::sync::{Arc, LazyLock};

use rustls::crypto::{CryptoProvider, aws_lc_rs};

pub(crate) use accept::REASONS;
pub use accept::{Accepted, TurnedAway, accept};
pub use dialing::{Dialing, Failure, Trust};
pub use expiry::Expiry;
pub use fingerprint::Fingerprint;
pub use listening::{Listening, Renewed};
pub use pair::{Files, Pair, PairError};

/// The one implementation of the algorithms, whatever another library may have installed for the process.
fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));
    Arc::clone(&PROVIDER)
}

/// Browsers would choose HTTP/2 where it is offered, which carries no upgrade that a gateway knows.
fn protocols() -> Vec<Vec<u8>> {
    vec![b"http/1.1".to_vec()]
}
