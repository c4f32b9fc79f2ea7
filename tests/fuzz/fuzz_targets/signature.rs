//! An envelope, a key of either kind, and a signature posture.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| yoi_fuzz::signature(data));
