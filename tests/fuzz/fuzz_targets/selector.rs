//! What names a profile or asks about a resolution.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| yoi_fuzz::selector(data));
