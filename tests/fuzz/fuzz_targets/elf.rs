//! See `fuzz::elf_file`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::elf_file(bytes));
