//! A file of a proxy.
#![no_main]

use interlock_fuzz::claims;

libfuzzer_sys::fuzz_target!(|text: &str| claims::files::any_text(text));
