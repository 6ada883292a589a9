//! What somebody at a terminal has the shim's own session do: approve what waits, and widen what is too narrow.
//!
//! Everything goes through the gateway's own methods. What was looked at is what is done: a request or record that
//! changed meanwhile is left alone, and afterwards the gateway is asked what the device really holds.

mod approval;
mod listing;
mod plan;
mod rotation;

pub use approval::{Approved, Candidate, NotApproved, Objection, approve};
pub use listing::{Listing, LookError, Waiting, look};
pub use plan::{Left, Note, Plan, Reason, Step, plan};
pub use rotation::{Carried, carry_out};
