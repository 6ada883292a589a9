//! The handshake: challenge, `connect` request, answer.

pub mod drive;
pub mod message;
pub mod object;
