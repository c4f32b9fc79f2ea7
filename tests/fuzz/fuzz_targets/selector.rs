//! Selectors of profiles and subjects of explanations.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| yoi_fuzz::selector(data));
