//! See `fuzz::bus_arguments`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::bus_arguments(bytes));
