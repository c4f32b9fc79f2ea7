//! A plugin package, and a `plugin.toml`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| yoi_fuzz::plugin(data));
