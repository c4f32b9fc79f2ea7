//! A component, before any compiler sees it.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| yoi_fuzz::component(data));
