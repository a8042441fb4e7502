//! What core does on a Swarm, against the fake one of `interlock-testkit`, with real peers over gRPC.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

#[path = "../support/mod.rs"]
mod support;

mod certificates;
mod control;
mod convergence;
mod core_name;
mod cores;
mod faults;
mod hitless;
mod identities;
mod install;
mod lifecycle;
mod networks;
mod peers;
mod rogue_extension;
mod rolls;
mod shortages;
mod silence;
