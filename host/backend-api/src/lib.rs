//! Vocabulary of the Backend: the types that its server and its client share.
//!
//! A type is here if it crosses a process boundary. No type can hold the address or the token of a Runtime, a path, or a text
//! that a Runtime wrote.

pub mod audit;
pub mod body;
pub mod desired;
pub mod fleet;
pub mod placement;
pub mod policy;
pub mod pull;
pub mod refusal;
pub mod session;
pub mod token;
pub mod worker;
