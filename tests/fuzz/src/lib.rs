//! The bodies of the fuzz targets. They stand in `tests/support/fuzz.rs`, where ordinary tests run them too.

#[path = "../../support/fuzz.rs"]
mod fuzz;

pub use fuzz::*;
