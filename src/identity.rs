//! Who a session is, and what its device was approved for.

pub mod proof;
