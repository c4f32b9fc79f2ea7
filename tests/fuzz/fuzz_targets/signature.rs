//! An envelope, a key of either kind, and what judges them.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| yoi_fuzz::signature(data));
