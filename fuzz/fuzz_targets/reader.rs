//! A text as core's reader and as nginx itself reads it.
#![no_main]

use interlock_fuzz::reader;

libfuzzer_sys::fuzz_target!(|text: &str| reader::any_text(text));
