//! Who a session is, and what its device was approved for.
//!
//! [`identify`] says whose session it is; [`Resolver`] answers what its device was approved for, from one cache over
//! one [`store::DeviceStore`].

pub mod host;
pub mod identify;
pub mod proof;
pub mod resolver;
pub mod store;
pub mod watch;

pub use identify::{Circumstances, Credential, Identity, Unidentified};
pub use resolver::{CacheSettings, Resolver};
pub use watch::Watch;
