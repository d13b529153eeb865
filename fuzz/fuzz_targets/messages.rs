#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| distcomp::fuzzing::messages(bytes));
