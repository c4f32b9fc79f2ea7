//! Every grammar of names and references.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| yoi_fuzz::refs(data));
