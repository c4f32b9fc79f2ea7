//! The Backend: which bundle revision should be on which Runtime.
//!
//! It keeps to the vocabulary of [`worker_runtime`], which it will steer; there is nothing to steer
//! yet, so this package holds no code.

#[doc(no_inline)]
pub use worker_runtime::Digests;
