//! A manifest, a bundle as one file, and the JSON below both.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| yoi_fuzz::manifest(data));
