//! The handshake: challenge, `connect` request, answer.

pub mod message;
