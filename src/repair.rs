//! Repairing what earlier versions left behind: devices whose records or tokens name less than was approved.
//!
//! First a plan, of what is listed and nothing else; then, on somebody's command, its steps. A device that changed
//! meanwhile is left alone, and afterwards the gateway is asked what the device really holds.

mod plan;
mod rotation;

pub use plan::{Left, Note, Plan, Reason, Step, plan};
pub use rotation::{Carried, carry_out};
