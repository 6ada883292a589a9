//! Who a session is, and what its device was approved for.
//!
//! [`Resolver`] answers from one cache over one [`store::DeviceStore`].
