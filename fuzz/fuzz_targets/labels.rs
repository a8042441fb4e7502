//! Labels of a service, and each line as a value of each type.
#![no_main]

use interlock_fuzz::{claims, labels};

libfuzzer_sys::fuzz_target!(|text: &str| {
    claims::labels::any(&labels(text));
    text.split('\n').for_each(claims::values::any_text);
});
