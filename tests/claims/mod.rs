//! What holds whatever comes in: for tests that draw inputs, and for the targets in `fuzz/`, which find their own. Each claim takes an
//! input and panics when it does not hold.

pub mod files;
pub mod labels;
pub mod pipeline;
pub mod settings;
pub mod values;
pub mod wire;
