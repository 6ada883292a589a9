//! Who a session is, and what its device was approved for.
//!
//! [`Resolver`] answers from one cache over one [`store::DeviceStore`].

pub mod host;
pub mod resolver;
pub mod store;
pub mod watch;

pub use resolver::{CacheSettings, Resolver};
pub use watch::Watch;
