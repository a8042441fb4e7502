//! A fake Swarm to try things on: `cargo run -p interlock-testkit --example fake_swarm -- DIR`, then
//! `DOCKER_HOST=unix://DIR/docker.sock docker service ls`. Time passes as fast as outside.

use interlock_testkit::{Swarm, server};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let dir = std::env::args_os().nth(1).map_or_else(|| PathBuf::from("."), PathBuf::from);
    let handle = server::serve(Arc::new(Mutex::new(Swarm::three_nodes())), &dir)?.with_clock(1.0);
    tokio::signal::ctrl_c().await?;
    handle.stop();
    Ok(())
}
