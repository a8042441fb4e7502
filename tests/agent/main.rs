//! The agent of a proxy, with the real nginx and a core on the loopback.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

#[path = "../support/mod.rs"]
mod support;

mod connections;
mod lives;
mod revisions;

use std::time::Duration;

/// How long core's first word is waited for where it does not come.
const SOON: Duration = Duration::from_millis(200);
