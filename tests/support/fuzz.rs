//! Bodies of the fuzz targets
#[path = "fuzz/seeds.rs"]
pub mod seeds;
