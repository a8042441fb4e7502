//! The agent of a proxy, with the real nginx and a core on the loopback.

mod connections;
mod lives;
mod revisions;

use std::time::Duration;

/// How long core's first word is waited for where it does not come.
const SOON: Duration = Duration::from_millis(200);
