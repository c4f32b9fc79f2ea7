//! The world `service` in Rust: a connection to a chat that stays open as long as its worker lives.
//!
//! `gateway` has the state of the connection and decides when to connect, and `recent_messages` has what was received. Both
//! are tested natively, like `config` and `tool`. `glue` calls the host.

mod config;
mod gateway;
mod glue;
mod recent_messages;
mod tool;
