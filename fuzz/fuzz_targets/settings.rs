//! The settings file.
#![no_main]

use interlock_fuzz::claims;

libfuzzer_sys::fuzz_target!(|text: &str| claims::settings::any_text(text));
