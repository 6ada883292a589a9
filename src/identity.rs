//! Who a session is, and what its device was approved for.

pub mod identify;
pub mod proof;

pub use identify::{Circumstances, Credential, GatewayAuth, Identity, Unidentified};
