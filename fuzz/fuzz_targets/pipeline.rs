//! Labels of a service, up to the proxies' files, beside a neighbour.
#![no_main]

use interlock_fuzz::{claims, labels};

libfuzzer_sys::fuzz_target!(|text: &str| claims::pipeline::any_labels(&labels(text)));
