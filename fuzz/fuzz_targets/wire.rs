//! Messages between core, extensions and proxies.
#![no_main]

use interlock_fuzz::claims;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| claims::wire::any_bytes(bytes));
