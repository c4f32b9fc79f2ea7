//! The TOML that authors and operators write.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| yoi_fuzz::toml_front(data));
