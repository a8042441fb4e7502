//! A text as core's reader and as nginx itself reads it.
#![no_main]

use interlock_fuzz::claims;

libfuzzer_sys::fuzz_target!(|text: &str| claims::reader::any_text(text));
