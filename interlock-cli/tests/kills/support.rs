//! What the tests of the whole need, too.
#![expect(dead_code, unreachable_pub, reason = "this test binary uses a part of it")]

#[path = "../../../tests/support/agent.rs"]
pub mod agent;
#[path = "../../../tests/support/checker.rs"]
pub mod checker;
#[path = "../../../tests/support/gate.rs"]
pub mod gate;
#[path = "../../../tests/support/http.rs"]
pub mod http;
#[path = "../../../tests/support/processes.rs"]
pub mod processes;
#[path = "../../../tests/support/site.rs"]
pub mod site;
#[path = "../../../tests/support/world.rs"]
pub mod world;
