//! The library in someone else's program: a value in, a plan out, no Docker anywhere.
//!
//! `cargo run -p interlock-core --no-default-features --example embed`

use interlock_core::reconcile::{Inputs, reconcile_embedded};
use interlock_core::settings::Settings;
use interlock_core::swarm::state::State;

const STATE: &str = r#"
snapshot:
  observed_at: 2026-01-01T12:00:00Z
  networks:
    - { id: n1, name: demo, driver: overlay }
  services:
    - id: s1
      version: 10
      created_at: 2026-01-01T10:00:00Z
      spec:
        name: shop
        networks: [n1]
        labels: { com.docker.lb.hosts: shop.example.com, com.docker.lb.port: "8080" }
  tasks:
    - { id: t1, service: s1, desired: running, state: running, networks: [{ network: n1, addresses: [10.0.1.3] }] }
"#;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let State { settings: _, snapshot } = State::parse(STATE)?;
    let inputs = Inputs::new(snapshot, Settings::default());
    let (outcome, renderings) = reconcile_embedded(&inputs);

    let mut report = outcome.plan.to_string();
    for rendering in renderings.values() {
        for file in rendering.result.as_ref().map_err(Clone::clone)? {
            report += &format!("{}: {} bytes\n", file.path, file.content.len());
        }
    }
    for problem in &outcome.problems {
        report += &format!("{problem}\n");
    }
    write(&report)?;

    assert_eq!(outcome.plan.steps.len(), 2, "a config object and the proxy service");
    assert!(outcome.problems.is_empty());
    Ok(())
}

fn write(report: &str) -> std::io::Result<()> {
    use std::io::Write;
    std::io::stdout().write_all(report.as_bytes())
}
