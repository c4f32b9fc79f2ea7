//! The world `tool` in Rust: two functions that send one HTTP request each.
//!
//! A fresh instance answers each call, so nothing is kept between calls. `exchange` has the logic, which is tested natively,
//! and `glue` sends the request.

mod exchange;
mod glue;
