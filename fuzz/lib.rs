//! What the targets share with the tests, and how labels are read from the fuzzer's text.

use interlock_core::labels::PREFIX;
use interlock_core::swarm::Labels;

#[path = "../tests/claims/mod.rs"]
pub mod claims;
#[path = "../tests/claims/reader.rs"]
pub mod reader;

/// Labels from a text: one a line, `key=value`, in which `\n` is written for a line's end. A key that begins with a dot stands for one with
/// interlock's prefix in front. Nothing stands in the way of a fuzzer that puts lines together.
pub fn labels(text: &str) -> Labels {
    let label = |line: &str| {
        let (key, value) = line.split_once('=')?;
        let key = key.strip_prefix('.').map_or(key.to_owned(), |key| format!("{PREFIX}{key}"));
        Some((key, value.replace("\\n", "\n")))
    };
    text.split('\n').filter_map(label).collect()
}
