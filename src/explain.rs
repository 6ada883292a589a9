//! Why a session was treated as it was, or would be.
//!
//! A session leaves its [`SessionTrace`] in a file, where `scope-shim explain` finds it. Without a session, [`asked`]
//! walks the same code with a device and scopes, or with a saved handshake. [`page()`] puts either into words.

pub mod asked;
mod directly;
mod page;
mod trace;
mod traces;

pub use page::{Page, page};
pub use trace::{
    CaseTrace, ClaimsTrace, Explanation, FindingTrace, GatewayTrace, Origin, Outcome, RecordTrace,
    SessionTrace, Taken,
};
pub use traces::{Kept, Traces};
