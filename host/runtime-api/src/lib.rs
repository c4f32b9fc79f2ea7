//! Vocabulary of the Runtime: the types that its library, its service and its client share.
//!
//! A type is here if it crosses a process boundary or names something in the API of the library. The package has no
//! behaviour beyond parsing, and a program that only speaks to a service needs nothing else of the Runtime.
//!
//! ```
//! use runtime_api::worker::{CreateWorkerRequest, WorkerId};
//!
//! let id: WorkerId = "build-7".parse().unwrap();
//! let request: CreateWorkerRequest = serde_json::from_str(r#"{"profile":"builtin:coder"}"#).unwrap();
//! assert_eq!((id.as_str(), request.bundle), ("build-7", None));
//! ```

pub mod body;
pub mod bundle;
pub mod call;
pub mod comparison;
pub mod desired;
pub mod event;
mod hex_id;
pub mod history;
pub mod ingress;
pub mod limit;
pub mod log;
pub mod referrer;
pub mod resolver;
pub mod runtime;
pub mod service;
pub mod token;
pub mod worker;

pub use error_code::{Class, Code, UnknownCode};
