//! WebSocket frames as bytes, without sockets (RFC 6455).
//!
//! The shim reads a handful of frames at the start of a session and copies bytes afterwards, so it needs less than
//! a WebSocket library gives and one thing more: nothing that was read ahead may get lost.

pub mod close;
pub mod frame;
pub mod scan;

pub use close::Close;
pub use frame::{Header, Opcode};
pub use scan::{Item, Scanner};
