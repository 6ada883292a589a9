#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| scope_shim::fuzz::proxy(data));
