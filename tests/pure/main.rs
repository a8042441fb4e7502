//! What needs neither a Swarm nor NGINX: scenarios, laws, claims about any input, connections on the loopback, and rules about the repository.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

#[path = "../claims/mod.rs"]
#[expect(unreachable_pub, reason = "the targets in fuzz/ include it, too")]
mod claims;
#[path = "../support/mod.rs"]
mod support;

mod budgets;
mod contract;
mod deploy;
mod docs;
mod fixtures;
mod laws;
mod memo;
mod properties;
mod protection;
mod reachability;
mod remedies;
mod rooms;
mod scenarios;
mod tidy;
mod trust;
