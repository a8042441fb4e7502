//! What the label sets of `tests/support/bombs.rs` cost, each in a process of its own: processor time and the most memory.
//!
//! `core` is `reconcile`, what core does whose extensions render. `whole` is `reconcile_embedded`: rendering and its proof, too. What a
//! process has with an honest service alone is taken off. A process that needs more than 4 GB of address space or 60 s is ended.
#![expect(clippy::print_stdout, reason = "what it finds out is for a terminal")]

use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::measurement::Measurement;
use interlock_core::reconcile::{Inputs, reconcile, reconcile_embedded};
use interlock_core::swarm::Secret;

#[path = "../tests/support/bombs.rs"]
#[expect(unreachable_pub, dead_code, reason = "tests include it, too")]
mod bombs;
#[path = "support/cpu.rs"]
mod cpu;
mod support;

use bombs::{BOMBS, Bomb, SECRETS};
use cpu::CpuTime;

const LIMITS: &str = "ulimit -v 4194304; exec timeout 60 \"$0\" \"$@\"";

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [name, percent, stage] = &arguments[..] {
        return child(name, percent.parse().unwrap_or(100), stage);
    }
    let percent = arguments.first().map_or("100", String::as_str);
    let Ok(program) = std::env::current_exe() else { return ExitCode::FAILURE };
    println!("{:32} {:>8} {:>34} {:>34}", "bomb", "bytes", "core", "whole");
    for bomb in BOMBS {
        let size: usize =
            bomb.of(percent.parse().unwrap_or(100)).iter().map(|(key, value)| key.len() + value.len()).sum();
        let run = |stage: &str| {
            let ran = Command::new("sh").args(["-c", LIMITS]).arg(&program).args([bomb.name, percent, stage]).output();
            match ran {
                Ok(ran) if ran.status.success() => String::from_utf8_lossy(&ran.stdout).trim().to_owned(),
                Ok(ran) => format!("ended: {}", ran.status),
                Err(error) => error.to_string(),
            }
        };
        println!("{:32} {size:8} {:>34} {:>34}", bomb.name, run("core"), run("whole"));
    }
    ExitCode::SUCCESS
}

fn child(name: &str, percent: usize, stage: &str) -> ExitCode {
    let Some(bomb) = BOMBS.iter().find(|bomb| bomb.name == name) else { return ExitCode::FAILURE };
    let honest = support::inputs(1, 3);
    drop(reconcile_embedded(&honest));
    let inputs = with(bomb, percent);
    let (before, cpu, wall) = (peak(), CpuTime.start(), Instant::now());
    let served = match stage {
        "core" => reconcile(&inputs).proxy_configs.values().any(|config| !config.virtual_hosts.is_empty()),
        _ => reconcile_embedded(&inputs).1.values().all(|rendering| rendering.result.is_ok()),
    };
    let told = if served { "" } else { " FAILS" };
    let (cpu, wall) = (Duration::from_nanos(CpuTime.end(cpu) as u64), wall.elapsed());
    println!(
        "{:.3} s ({:.3}) {:.1} MB{told}",
        cpu.as_secs_f64(),
        wall.as_secs_f64(),
        (peak() - before) as f64 / 1024.0
    );
    ExitCode::SUCCESS
}

fn with(bomb: &Bomb, percent: usize) -> Inputs {
    let mut inputs = support::inputs(2, 3);
    Arc::make_mut(&mut inputs.snapshot.services[1]).spec.labels = bomb.of(percent).into_iter().collect();
    inputs.snapshot.secrets = SECRETS
        .map(|name| Secret {
            id: name.into(),
            name: name.to_owned(),
            labels: Default::default(),
            created_at: None,
            identity: None,
        })
        .to_vec();
    inputs
}

/// In KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}
