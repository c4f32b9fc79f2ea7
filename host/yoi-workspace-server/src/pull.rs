//! Runtimes that the Backend cannot reach: they poll the Backend for operations.
//!
//! - [`PulledRuntime`] is the side of the Backend: a [`RuntimeLink`](crate::runtime_link::RuntimeLink) that queues each
//!   operation until the Runtime takes it.
//! - [`agent`] is the side of the Runtime: it performs the operations with the same code as an embedded Runtime.
//!
//! An operation arrives once: each poll names the operations that the Runtime holds, and one that is missing there was lost and
//! is sent again. A blob can be fetched only while an operation that needs it is in progress.

pub mod agent;
mod link;
mod queue;

pub use link::PulledRuntime;
pub use queue::{PullLimits, Superseded};
