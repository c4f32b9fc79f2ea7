//! The bodies of the fuzz targets. They are in `tests/support/fuzz.rs`, because ordinary tests run them too.

#[path = "../../support/fuzz.rs"]
mod fuzz;

pub use fuzz::*;
